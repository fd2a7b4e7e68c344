package peers.streams;

import java.nio.charset.StandardCharsets;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import peers.core.Json;
import peers.core.Mandate;
import peers.core.MandateTable;

/** Keeps the global store of mandates. */
final class MandateProcessor implements Processor<byte[], byte[], Void, Void> {
    private ProcessorContext<Void, Void> context;
    private MandateTable table;

    @Override
    public void init(ProcessorContext<Void, Void> processorContext) {
        context = processorContext;
        table = processorContext.<MandateStore>getStateStore(MandateStore.NAME).table;
    }

    @Override
    public void process(Record<byte[], byte[]> record) {
        long offset = context.recordMetadata().map(RecordMetadata::offset).orElse(0L);
        if (record.value() == null || record.value().length == 0) {
            table.remove(new String(record.key(), StandardCharsets.UTF_8), offset);
            return;
        }
        Mandate mandate = Json.mandate(record.value());
        if (mandate != null) {
            mandate.offset = offset;
            table.put(mandate);
        }
    }
}
