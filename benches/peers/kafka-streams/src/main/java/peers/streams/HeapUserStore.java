package peers.streams;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.StateStoreContext;
import org.apache.kafka.streams.processor.internals.InternalProcessorContext;
import org.apache.kafka.streams.processor.internals.RecordBatchingStateRestoreCallback;
import org.apache.kafka.streams.query.Position;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.internals.CacheFlushListener;
import org.apache.kafka.streams.state.internals.CachedStateStore;
import peers.core.Buf;
import peers.core.UserState;

/**
 * Users as objects on the heap. The library's in-memory key-value store would serialise a user at every put; this one
 * does so once per commit and user that changed. It writes its changelog when Streams flushes the caches, which it
 * does before each commit and inside the same transaction, just as the library's suppression buffer does.
 */
final class HeapUserStore implements StateStore, CachedStateStore<String, UserState>, UserStore {
    private static final class Entry {
        final Bytes key;
        final UserState user;
        boolean dirty;

        Entry(Bytes key, UserState user) {
            this.key = key;
            this.user = user;
        }
    }

    private final String name;
    private final boolean logged;
    private final Map<String, Entry> users = new HashMap<>();
    private final List<Entry> dirty = new ArrayList<>();
    private final Buf scratch = new Buf(4096);
    private final Position position = Position.emptyPosition();
    private InternalProcessorContext<?, ?> context;
    private Entry latest;
    private boolean open;

    HeapUserStore(String name, boolean logged) {
        this.name = name;
        this.logged = logged;
    }

    @Override
    public UserState get(byte[] key, String userId) {
        Entry entry = users.get(userId);
        if (entry == null) {
            entry = new Entry(Bytes.wrap(key), new UserState());
            users.put(userId, entry);
        }
        latest = entry;
        return entry.user;
    }

    @Override
    public void changed(byte[] key, String userId, UserState user) {
        if (logged && !latest.dirty) {
            latest.dirty = true;
            dirty.add(latest);
        }
    }

    @Override
    public void flushCache() {
        long now = System.currentTimeMillis();
        for (Entry entry : dirty) {
            entry.dirty = false;
            context.logChange(name, entry.key, entry.user.toBytes(scratch), now, new RecordHeaders(), position);
        }
        dirty.clear();
    }

    @Override
    public void clearCache() {
        dirty.clear();
    }

    @Override
    public boolean setFlushListener(CacheFlushListener<String, UserState> listener, boolean sendOldValues) {
        return false;
    }

    @Override
    public void init(StateStoreContext stateStoreContext, StateStore root) {
        context = (InternalProcessorContext<?, ?>) stateStoreContext;
        if (logged) {
            stateStoreContext.register(root, (RecordBatchingStateRestoreCallback) records -> {
                for (ConsumerRecord<byte[], byte[]> record : records) {
                    String userId = new String(record.key(), StandardCharsets.UTF_8);
                    users.put(userId, new Entry(Bytes.wrap(record.key()), UserState.read(Buf.reading(record.value()))));
                }
            });
        } else {
            stateStoreContext.register(root, (RecordBatchingStateRestoreCallback) records -> { });
        }
        open = true;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public Position getPosition() {
        return position;
    }

    @Override
    public void close() {
        open = false;
        users.clear();
        dirty.clear();
    }

    @Override
    public boolean persistent() {
        return false;
    }

    @Override
    public boolean isOpen() {
        return open;
    }

    /** Builds it, with or without a changelog. */
    static final class Builder implements StoreBuilder<HeapUserStore> {
        private final String name;
        private boolean logged;
        private Map<String, String> logConfig = Map.of();

        Builder(String name) {
            this.name = name;
        }

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
            logged = true;
            logConfig = config;
            return this;
        }

        @Override
        public Builder withLoggingDisabled() {
            logged = false;
            return this;
        }

        @Override
        public HeapUserStore build() {
            return new HeapUserStore(name, logged);
        }

        @Override
        public Map<String, String> logConfig() {
            return logConfig;
        }

        @Override
        public boolean loggingEnabled() {
            return logged;
        }

        @Override
        public String name() {
            return name;
        }
    }
}
