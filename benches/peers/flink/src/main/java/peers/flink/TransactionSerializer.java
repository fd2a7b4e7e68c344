package peers.flink;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import peers.core.Buf;
import peers.core.Transaction;

/** Transactions between tasks: a length and the compact form of core. */
public final class TransactionSerializer extends TypeSerializerSingleton<Transaction> {
    public static final TransactionSerializer INSTANCE = new TransactionSerializer();

    @Override
    public boolean isImmutableType() {
        return true;
    }

    @Override
    public Transaction createInstance() {
        return new Transaction();
    }

    @Override
    public Transaction copy(Transaction from) {
        return from;
    }

    @Override
    public Transaction copy(Transaction from, Transaction reuse) {
        return from;
    }

    @Override
    public int getLength() {
        return -1;
    }

    @Override
    public void serialize(Transaction record, DataOutputView target) throws IOException {
        Buf scratch = Blocks.scratch();
        record.write(scratch.clear());
        Blocks.write(scratch, target);
    }

    @Override
    public Transaction deserialize(DataInputView source) throws IOException {
        return Transaction.read(Blocks.read(source));
    }

    @Override
    public Transaction deserialize(Transaction reuse, DataInputView source) throws IOException {
        return deserialize(source);
    }

    @Override
    public void copy(DataInputView source, DataOutputView target) throws IOException {
        Blocks.copy(source, target);
    }

    @Override
    public TypeSerializerSnapshot<Transaction> snapshotConfiguration() {
        return new Snapshot();
    }

    /** There is one version. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<Transaction> {
        public Snapshot() {
            super(() -> INSTANCE);
        }
    }
}
