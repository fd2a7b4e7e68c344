package peers.flink;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import peers.core.Buf;
import peers.core.UserState;

/** Users in state and in checkpoints: a length and the compact form of core. */
public final class UserStateSerializer extends TypeSerializerSingleton<UserState> {
    public static final UserStateSerializer INSTANCE = new UserStateSerializer();

    @Override
    public boolean isImmutableType() {
        return false;
    }

    @Override
    public UserState createInstance() {
        return new UserState();
    }

    /** For the heap backend, when a user changes while a checkpoint still writes it. */
    @Override
    public UserState copy(UserState from) {
        Buf scratch = Blocks.scratch();
        from.write(scratch.clear());
        return UserState.read(Buf.reading(scratch.bytes, 0, scratch.pos));
    }

    @Override
    public UserState copy(UserState from, UserState reuse) {
        return copy(from);
    }

    @Override
    public int getLength() {
        return -1;
    }

    @Override
    public void serialize(UserState record, DataOutputView target) throws IOException {
        Buf scratch = Blocks.scratch();
        record.write(scratch.clear());
        Blocks.write(scratch, target);
    }

    @Override
    public UserState deserialize(DataInputView source) throws IOException {
        return UserState.read(Blocks.read(source));
    }

    @Override
    public UserState deserialize(UserState reuse, DataInputView source) throws IOException {
        return deserialize(source);
    }

    @Override
    public void copy(DataInputView source, DataOutputView target) throws IOException {
        Blocks.copy(source, target);
    }

    @Override
    public TypeSerializerSnapshot<UserState> snapshotConfiguration() {
        return new Snapshot();
    }

    /** There is one version. */
    public static final class Snapshot extends SimpleTypeSerializerSnapshot<UserState> {
        public Snapshot() {
            super(() -> INSTANCE);
        }
    }
}
