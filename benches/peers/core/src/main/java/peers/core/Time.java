package peers.core;

/** RFC 3339 to and from microseconds since 1970. */
public final class Time {
    public static final long NONE = Long.MIN_VALUE;
    public static final long SECOND = 1_000_000L;
    public static final long MINUTE = 60 * SECOND;
    public static final long HOUR = 60 * MINUTE;
    public static final long DAY = 24 * HOUR;

    private Time() {}

    public static long parse(char[] text, int from, int length) {
        if (length < 20 || text[from + 4] != '-' || text[from + 7] != '-' || text[from + 10] != 'T'
                || text[from + 13] != ':' || text[from + 16] != ':') {
            return NONE;
        }
        int year = digits(text, from, 4);
        int month = digits(text, from + 5, 2);
        int day = digits(text, from + 8, 2);
        int hour = digits(text, from + 11, 2);
        int minute = digits(text, from + 14, 2);
        int second = digits(text, from + 17, 2);
        if (year < 2000 || year > 2099 || month < 1 || month > 12 || day < 1 || day > days(year, month)
                || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) {
            return NONE;
        }
        int at = from + 19;
        int end = from + length;
        long micros = 0;
        if (text[at] == '.') {
            int count = 0;
            for (at++; at < end; at++) {
                int digit = text[at] - '0';
                if (digit < 0 || digit > 9) {
                    break;
                }
                if (count < 6) {
                    micros = micros * 10 + digit;
                }
                count++;
            }
            if (count == 0) {
                return NONE;
            }
            for (; count < 6; count++) {
                micros *= 10;
            }
        }
        long offset;
        if (at + 1 == end && text[at] == 'Z') {
            offset = 0;
        } else if (at + 6 == end && (text[at] == '+' || text[at] == '-') && text[at + 3] == ':') {
            int hours = digits(text, at + 1, 2);
            int minutes = digits(text, at + 4, 2);
            if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
                return NONE;
            }
            offset = (hours * 60L + minutes) * 60;
            if (text[at] == '-') {
                offset = -offset;
            }
        } else {
            return NONE;
        }
        long seconds = epochDay(year, month, day) * 86_400 + hour * 3600L + minute * 60L + second - offset;
        return seconds * SECOND + micros;
    }

    public static long parse(String text) {
        return parse(text.toCharArray(), 0, text.length());
    }

    private static int digits(char[] text, int from, int count) {
        int value = 0;
        for (int at = from; at < from + count; at++) {
            int digit = text[at] - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            value = value * 10 + digit;
        }
        return value;
    }

    private static int days(int year, int month) {
        return switch (month) {
            case 2 -> year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
            case 4, 6, 9, 11 -> 30;
            default -> 31;
        };
    }

    /** Days since 1970-01-01 (Howard Hinnant's formula). */
    public static long epochDay(int year, int month, int day) {
        int y = month <= 2 ? year - 1 : year;
        int era = y / 400;
        int yearOfEra = y - era * 400;
        int dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
        int dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear;
        return era * 146_097L + dayOfEra - 719_468;
    }

    /** Writes 2026-05-05T14:01:00.000000Z: 27 bytes. */
    public static void write(long micros, byte[] out, int at) {
        long days = Math.floorDiv(micros, DAY);
        long rest = Math.floorMod(micros, DAY);
        long z = days + 719_468;
        long era = z / 146_097;
        int dayOfEra = (int) (z - era * 146_097);
        int yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365;
        int dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
        int shifted = (5 * dayOfYear + 2) / 153;
        int day = dayOfYear - (153 * shifted + 2) / 5 + 1;
        int month = shifted < 10 ? shifted + 3 : shifted - 9;
        int year = (int) (yearOfEra + era * 400) + (month <= 2 ? 1 : 0);
        put(out, at, year, 4);
        out[at + 4] = '-';
        put(out, at + 5, month, 2);
        out[at + 7] = '-';
        put(out, at + 8, day, 2);
        out[at + 10] = 'T';
        int seconds = (int) (rest / SECOND);
        put(out, at + 11, seconds / 3600, 2);
        out[at + 13] = ':';
        put(out, at + 14, seconds / 60 % 60, 2);
        out[at + 16] = ':';
        put(out, at + 17, seconds % 60, 2);
        out[at + 19] = '.';
        put(out, at + 20, (int) (rest % SECOND), 6);
        out[at + 26] = 'Z';
    }

    public static String text(long micros) {
        byte[] out = new byte[27];
        write(micros, out, 0);
        return new String(out, java.nio.charset.StandardCharsets.ISO_8859_1);
    }

    private static void put(byte[] out, int at, int value, int count) {
        for (int place = at + count - 1; place >= at; place--) {
            out[place] = (byte) ('0' + value % 10);
            value /= 10;
        }
    }
}
