package peers.streams;

import java.util.Map;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.processor.internals.RecordBatchingStateRestoreCallback;
import org.apache.kafka.streams.state.StoreBuilder;
import peers.core.MandateTable;

/** The mandates as a global store: parsed once, by id and by holder, read by every thread. */
final class MandateStore implements StateStore {
    static final String NAME = "mandates";

    final MandateTable table = new MandateTable();
    private boolean open;

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public void init(StateStoreContext context, StateStore root) {
        // Streams restores a global store with a processor through that processor.
        context.register(root, (RecordBatchingStateRestoreCallback) records -> {
            throw new IllegalStateException("restored past the processor");
        });
        open = true;
    }

    @Override
    public void close() {
        open = false;
    }

    @Override
    public boolean persistent() {
        return false;
    }

    @Override
    public boolean isOpen() {
        return open;
    }

    /** Builds it. */
    static final class Builder implements StoreBuilder<MandateStore> {
        @Override
        public Builder withCachingEnabled() {
            return this;
        }

        @Override
        public Builder withCachingDisabled() {
            return this;
        }

        @Override
        public Builder withLoggingEnabled(Map<String, String> config) {
            throw new UnsupportedOperationException("the topic is the log");
        }

        @Override
        public Builder withLoggingDisabled() {
            return this;
        }

        @Override
        public MandateStore build() {
            return new MandateStore();
        }

        @Override
        public Map<String, String> logConfig() {
            return Map.of();
        }

        @Override
        public boolean loggingEnabled() {
            return false;
        }

        @Override
        public String name() {
            return NAME;
        }
    }
}
