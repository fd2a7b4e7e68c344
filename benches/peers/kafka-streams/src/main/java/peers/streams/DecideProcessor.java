package peers.streams;

import org.apache.kafka.streams.processor.StateStore;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import peers.core.Decision;
import peers.core.DecisionEncoder;
import peers.core.Engine;
import peers.core.MandateTable;
import peers.core.Stats;
import peers.core.Transaction;
import peers.core.UserState;
import peers.core.Watermark;

/** Decides the transactions of one partition. */
final class DecideProcessor implements Processor<byte[], Transaction, byte[], byte[]> {
    static final String STORE = "users";

    private final Stats stats;
    private final Engine engine = new Engine();
    private final DecisionEncoder encoder = new DecisionEncoder();
    private final Watermark watermark = new Watermark();
    private ProcessorContext<byte[], byte[]> context;
    private MandateTable mandates;
    private UserStore users;

    DecideProcessor(Stats stats) {
        this.stats = stats;
    }

    @Override
    public void init(ProcessorContext<byte[], byte[]> processorContext) {
        context = processorContext;
        mandates = processorContext.<MandateStore>getStateStore(MandateStore.NAME).table;
        StateStore store = processorContext.getStateStore(STORE);
        users = store instanceof HeapUserStore heap ? heap : bytes(processorContext);
        // Streams keeps the partition's time in the metadata of the committed offset, so the watermark survives.
        long restored = processorContext.currentStreamTimeMs();
        if (restored >= 0) {
            watermark.restore(restored * 1000);
        }
    }

    private static UserStore bytes(ProcessorContext<byte[], byte[]> context) {
        KeyValueStore<byte[], UserState> store = context.getStateStore(STORE);
        return new UserStore() {
            @Override
            public UserState get(byte[] key, String userId) {
                UserState user = store.get(key);
                return user == null ? new UserState() : user;
            }

            @Override
            public void changed(byte[] key, String userId, UserState user) {
                store.put(key, user);
            }
        };
    }

    @Override
    public void process(Record<byte[], Transaction> record) {
        Transaction tx = record.value();
        byte[] key = record.key();
        if (tx == null || tx.error != null || !isKey(key, tx.userId)) {
            stats.rejected();
            return;
        }
        UserState user = users.get(key, tx.userId);
        Decision decision = engine.decide(user, tx, mandates, watermark.observe(tx.countingUs()));
        if (decision == Engine.DUPLICATE || decision == Engine.TOO_OLD) {
            stats.dropped(decision);
            return;
        }
        users.changed(key, tx.userId, user);
        context.forward(new Record<>(key, encoder.encode(decision), context.currentSystemTimeMs()));
        stats.decided(decision);
    }

    /** Whether the key is the user's id; by bytes where it is ASCII. */
    private static boolean isKey(byte[] key, String userId) {
        if (key == null) {
            return false;
        }
        if (key.length == userId.length()) {
            int at = 0;
            while (at < key.length && key[at] == userId.charAt(at)) {
                at++;
            }
            return at == key.length;
        }
        return java.util.Arrays.equals(key, userId.getBytes(java.nio.charset.StandardCharsets.UTF_8));
    }
}
