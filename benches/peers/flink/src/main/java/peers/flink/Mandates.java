package peers.flink;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import peers.core.Json;
import peers.core.Mandate;
import peers.core.MandateTable;

/**
 * The mandates of this JVM: read to the end of the topic before the first decision, then kept up to date by a thread
 * of their own. Flink's broadcast state gives no such start: transactions could come before the mandates they name.
 */
final class Mandates {
    private static Mandates instance;

    final MandateTable table = new MandateTable();

    private Mandates() {}

    /** One for all tasks. */
    static synchronized MandateTable of(String brokers, String topic) {
        if (instance == null) {
            Mandates mandates = new Mandates();
            mandates.start(brokers, topic);
            instance = mandates;
        }
        return instance.table;
    }

    private void start(String brokers, String topic) {
        Map<String, Object> config = Map.of(ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, brokers, ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
                ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest", ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 5_000);
        KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        List<TopicPartition> partitions = consumer.partitionsFor(topic).stream().map(one -> new TopicPartition(topic, one.partition())).toList();
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        Map<TopicPartition, Long> ends = new HashMap<>(consumer.endOffsets(partitions));
        while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
            poll(consumer);
        }
        Thread thread = new Thread(() -> {
            while (true) {
                poll(consumer);
            }
        }, "mandates");
        thread.setDaemon(true);
        thread.start();
    }

    private void poll(KafkaConsumer<byte[], byte[]> consumer) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
            if (record.value() == null || record.value().length == 0) {
                table.remove(new String(record.key(), StandardCharsets.UTF_8), record.offset());
                continue;
            }
            Mandate mandate = Json.mandate(record.value());
            if (mandate != null) {
                mandate.offset = record.offset();
                table.put(mandate);
            }
        }
    }
}
