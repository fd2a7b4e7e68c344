package peers.flink;

import java.io.IOException;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;
import peers.core.Buf;

/** Length and bytes, through one buffer per thread. */
final class Blocks {
    private static final ThreadLocal<Buf> OUT = ThreadLocal.withInitial(() -> new Buf(4096));
    private static final ThreadLocal<Buf> IN = ThreadLocal.withInitial(() -> new Buf(4096));

    private Blocks() {}

    static Buf scratch() {
        return OUT.get();
    }

    static void write(Buf from, DataOutputView target) throws IOException {
        target.writeInt(from.pos);
        target.write(from.bytes, 0, from.pos);
    }

    static Buf read(DataInputView source) throws IOException {
        Buf in = IN.get();
        int length = source.readInt();
        in.clear();
        in.room(length);
        source.readFully(in.bytes, 0, length);
        return in;
    }

    static void copy(DataInputView source, DataOutputView target) throws IOException {
        int length = source.readInt();
        target.writeInt(length);
        target.write(source, length);
    }
}
