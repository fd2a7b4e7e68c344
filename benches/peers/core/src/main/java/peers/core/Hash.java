package peers.core;

/** 64-bit hashes of names, so that windows hold numbers and not texts. Never 0, which stands for none. */
public final class Hash {
    private Hash() {}

    public static long of(String text) {
        long hash = 0x9E3779B97F4A7C15L ^ text.length();
        int at = 0;
        int length = text.length();
        for (; at + 4 <= length; at += 4) {
            long four = text.charAt(at) | (long) text.charAt(at + 1) << 16 | (long) text.charAt(at + 2) << 32
                    | (long) text.charAt(at + 3) << 48;
            hash = (hash ^ four) * 0xBF58476D1CE4E5B9L;
            hash ^= hash >>> 29;
        }
        for (; at < length; at++) {
            hash = (hash ^ text.charAt(at)) * 0x94D049BB133111EBL;
            hash ^= hash >>> 31;
        }
        return finish(hash);
    }

    public static long pair(long a, long b) {
        return finish((a ^ Long.rotateLeft(b, 31)) * 0xBF58476D1CE4E5B9L + b);
    }

    private static long finish(long hash) {
        hash = (hash ^ (hash >>> 30)) * 0xBF58476D1CE4E5B9L;
        hash = (hash ^ (hash >>> 27)) * 0x94D049BB133111EBL;
        hash ^= hash >>> 31;
        return hash == 0 ? 1 : hash;
    }
}
