package peers.core;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** A byte buffer that grows; writes from {@code pos}, and reads from {@code pos} up to {@code limit}. */
public final class Buf {
    public byte[] bytes;
    public int pos;
    public int limit;

    public Buf(int capacity) {
        bytes = new byte[capacity];
    }

    private Buf(byte[] bytes, int pos, int limit) {
        this.bytes = bytes;
        this.pos = pos;
        this.limit = limit;
    }

    public static Buf reading(byte[] bytes) {
        return new Buf(bytes, 0, bytes.length);
    }

    public static Buf reading(byte[] bytes, int from, int to) {
        return new Buf(bytes, from, to);
    }

    public Buf clear() {
        pos = 0;
        return this;
    }

    public byte[] toBytes() {
        return Arrays.copyOf(bytes, pos);
    }

    public void room(int more) {
        if (bytes.length - pos < more) {
            bytes = Arrays.copyOf(bytes, Math.max(bytes.length * 2, pos + more));
        }
    }

    public void u8(int value) {
        room(1);
        bytes[pos++] = (byte) value;
    }

    public int u8() {
        return bytes[pos++] & 0xff;
    }

    public void bool(boolean value) {
        u8(value ? 1 : 0);
    }

    public boolean bool() {
        return u8() != 0;
    }

    public void i64(long value) {
        room(8);
        for (int at = 0; at < 8; at++) {
            bytes[pos++] = (byte) (value >>> (at * 8));
        }
    }

    public long i64() {
        long value = 0;
        for (int at = 0; at < 8; at++) {
            value |= (bytes[pos++] & 0xffL) << (at * 8);
        }
        return value;
    }

    /** Unsigned, seven bits a byte. */
    public void uv(long value) {
        room(10);
        while ((value & ~0x7fL) != 0) {
            bytes[pos++] = (byte) (value | 0x80);
            value >>>= 7;
        }
        bytes[pos++] = (byte) value;
    }

    public long uv() {
        long value = 0;
        for (int shift = 0; ; shift += 7) {
            byte next = bytes[pos++];
            value |= (next & 0x7fL) << shift;
            if (next >= 0) {
                return value;
            }
        }
    }

    public int uvInt() {
        return (int) uv();
    }

    /** Signed, small values short. */
    public void sv(long value) {
        uv((value << 1) ^ (value >> 63));
    }

    public long sv() {
        long value = uv();
        return (value >>> 1) ^ -(value & 1);
    }

    /** Text or null. Latin-1 where that is possible: the JDK copies that without a look at each char. */
    @SuppressWarnings("deprecation")
    public void text(String text) {
        if (text == null) {
            uv(0);
            return;
        }
        int length = text.length();
        boolean ascii = true;
        for (int at = 0; at < length; at++) {
            if (text.charAt(at) >= 0x80) {
                ascii = false;
                break;
            }
        }
        if (ascii) {
            uv(length * 2L + 1);
            room(length);
            text.getBytes(0, length, bytes, pos);
            pos += length;
        } else {
            byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
            uv(utf8.length * 2L + 2);
            room(utf8.length);
            System.arraycopy(utf8, 0, bytes, pos, utf8.length);
            pos += utf8.length;
        }
    }

    public String text() {
        long head = uv();
        if (head == 0) {
            return null;
        }
        boolean ascii = (head & 1) == 1;
        int length = (int) ((head - 1) / 2);
        String text = new String(bytes, pos, length, ascii ? StandardCharsets.ISO_8859_1 : StandardCharsets.UTF_8);
        pos += length;
        return text;
    }
}
