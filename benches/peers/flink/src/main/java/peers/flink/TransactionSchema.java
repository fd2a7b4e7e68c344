package peers.flink;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import peers.core.Json;
import peers.core.Transaction;
import peers.core.Watermark;

/**
 * Parses transactions where they are read. There they still stand in the order of their partition, so each gets its
 * partition's watermark here: exact, and not behind by Flink's watermark interval or by the slowest partition.
 */
final class TransactionSchema implements KafkaRecordDeserializationSchema<Transaction> {
    private transient Map<Integer, Watermark> watermarks;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Transaction> out) {
        Transaction tx = Json.transaction(record.value());
        if (tx.error != null || !Arrays.equals(record.key(), tx.userId.getBytes(StandardCharsets.UTF_8))) {
            Main.STATS.rejected();
            return;
        }
        if (watermarks == null) {
            watermarks = new HashMap<>();
        }
        tx.watermarkUs = watermarks.computeIfAbsent(record.partition(), partition -> new Watermark()).observe(tx.countingUs());
        tx.seq = record.offset();
        out.collect(tx);
    }

    @Override
    public TypeInformation<Transaction> getProducedType() {
        return new Type<>(Transaction.class, TransactionSerializer.INSTANCE);
    }
}
