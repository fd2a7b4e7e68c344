package peers.flink;

import java.nio.charset.StandardCharsets;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import peers.core.Decision;
import peers.core.DecisionEncoder;
import peers.core.Engine;
import peers.core.MandateTable;
import peers.core.Transaction;
import peers.core.UserState;

/** Decides the transactions of a user. */
final class Decide extends KeyedProcessFunction<String, Transaction, Tuple2<byte[], byte[]>> {
    private final String brokers;
    private final String topic;
    private transient ValueState<UserState> state;
    private transient MandateTable mandates;
    private transient Engine engine;
    private transient DecisionEncoder encoder;

    Decide(String brokers, String topic) {
        this.brokers = brokers;
        this.topic = topic;
    }

    @Override
    public void open(OpenContext context) {
        state = getRuntimeContext().getState(new ValueStateDescriptor<>("user", new Type<>(UserState.class, UserStateSerializer.INSTANCE)));
        mandates = Mandates.of(brokers, topic);
        engine = new Engine();
        encoder = new DecisionEncoder();
    }

    @Override
    public void processElement(Transaction tx, Context context, Collector<Tuple2<byte[], byte[]>> out) throws Exception {
        UserState user = state.value();
        if (user == null) {
            user = new UserState();
        }
        Decision decision = engine.decide(user, tx, mandates, tx.watermarkUs);
        if (decision == Engine.DUPLICATE || decision == Engine.TOO_OLD) {
            Main.STATS.dropped(decision);
            return;
        }
        state.update(user);
        out.collect(Tuple2.of(tx.userId.getBytes(StandardCharsets.UTF_8), encoder.encode(decision)));
        Main.STATS.decided(decision);
    }
}
