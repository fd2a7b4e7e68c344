package peers.core;

/** Decimals as a long of 1e-8 units, up to about 92 billion. */
public final class Money {
    public static final int SCALE = 8;
    public static final long UNIT = 100_000_000L;
    public static final long NONE = -1;
    private static final long MAX_WHOLE = Long.MAX_VALUE / UNIT / 10;

    private Money() {}

    /** Reads a positive decimal, with exponent if need be; {@link #NONE} when it is not one that fits. */
    public static long parse(char[] text, int from, int length) {
        int end = from + length;
        long whole = 0;
        long fraction = 0;
        int decimals = 0;
        int at = from;
        boolean digits = false;
        for (; at < end; at++) {
            int digit = text[at] - '0';
            if (digit < 0 || digit > 9) {
                break;
            }
            whole = whole * 10 + digit;
            digits = true;
            if (whole > MAX_WHOLE) {
                return NONE;
            }
        }
        if (at < end && text[at] == '.') {
            for (at++; at < end; at++) {
                int digit = text[at] - '0';
                if (digit < 0 || digit > 9) {
                    break;
                }
                digits = true;
                if (decimals == SCALE) {
                    if (digit != 0) {
                        return NONE;
                    }
                } else {
                    fraction = fraction * 10 + digit;
                    decimals++;
                }
            }
        }
        if (!digits) {
            return NONE;
        }
        if (at < end) {
            return slow(new String(text, from, length));
        }
        for (; decimals < SCALE; decimals++) {
            fraction *= 10;
        }
        return whole * UNIT + fraction;
    }

    private static long slow(String text) {
        try {
            return new java.math.BigDecimal(text).setScale(SCALE, java.math.RoundingMode.UNNECESSARY).unscaledValue().longValueExact();
        } catch (ArithmeticException | NumberFormatException e) {
            return NONE;
        }
    }

    public static long parse(String text) {
        return parse(text.toCharArray(), 0, text.length());
    }

    /** Plain decimal without trailing zeros. */
    public static String text(long amount) {
        StringBuilder out = new StringBuilder(24);
        long rest = amount;
        if (rest < 0) {
            out.append('-');
            rest = -rest;
        }
        out.append(rest / UNIT);
        long fraction = rest % UNIT;
        if (fraction != 0) {
            out.append('.');
            for (long unit = UNIT / 10; fraction != 0; unit /= 10) {
                out.append((char) ('0' + fraction / unit));
                fraction %= unit;
            }
        }
        return out.toString();
    }
}
