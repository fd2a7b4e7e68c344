package peers.streams;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.processor.TimestampExtractor;
import peers.core.Buf;
import peers.core.Json;
import peers.core.Time;
import peers.core.Transaction;
import peers.core.UserState;

/** Bytes to objects and back. */
final class Serdes {
    private static final ThreadLocal<Buf> SCRATCH = ThreadLocal.withInitial(() -> new Buf(4096));

    private Serdes() {}

    /** Parses on the way in, so that the time and the decision share one parse. */
    static final class TransactionDeserializer implements Deserializer<Transaction> {
        @Override
        public Transaction deserialize(String topic, byte[] data) {
            return Json.transaction(data);
        }
    }

    /** For the byte stores. */
    static Serde<UserState> user() {
        Serializer<UserState> out = (topic, user) -> user == null ? null : user.toBytes(SCRATCH.get());
        Deserializer<UserState> in = (topic, data) -> data == null ? null : UserState.read(Buf.reading(data));
        return org.apache.kafka.common.serialization.Serdes.serdeFrom(out, in);
    }

    /** Event time, for the partition's time that Streams commits; a clock a day ahead moves nothing. */
    static final class EventTime implements TimestampExtractor {
        @Override
        public long extract(ConsumerRecord<Object, Object> record, long partitionTime) {
            long known = Math.max(partitionTime, 0);
            if (!(record.value() instanceof Transaction tx) || tx.error != null) {
                return known;
            }
            long time = tx.countingUs() / 1000;
            return partitionTime >= 0 && time > partitionTime + Time.DAY / 1000 ? known : time;
        }
    }
}
