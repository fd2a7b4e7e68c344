package peers.core;

import java.nio.charset.StandardCharsets;

/**
 * Decisions as JSON. Written by hand into a buffer that is used again, because the shape is fixed and this is the
 * largest cost after parsing; not thread-safe, one per thread.
 */
public final class DecisionEncoder {
    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.ISO_8859_1);
    private static final byte[] START = ascii("{\"schema_version\":1,\"tx_id\":");
    private static final byte[] PAYMENT = ascii(",\"payment_id\":");
    private static final byte[] AGENT = ascii(",\"agent_id\":");
    private static final byte[] USER = ascii(",\"user_id\":");
    private static final byte[] MANDATE_ID = ascii(",\"mandate_id\":");
    private static final byte[] MERCHANT = ascii(",\"merchant\":");
    private static final byte[] CATEGORY = ascii(",\"merchant_category\":");
    private static final byte[] AMOUNT = ascii(",\"amount\":");
    private static final byte[] CURRENCY = ascii(",\"currency\":");
    private static final byte[] COUNTRY = ascii(",\"country\":");
    private static final byte[] TIME = ascii(",\"tx_time\":\"");
    private static final byte[] ACTION = ascii("\",\"action\":\"");
    private static final byte[] FLAGGED = ascii("\",\"flagged\":true,\"risk_score\":");
    private static final byte[] NOT_FLAGGED = ascii("\",\"flagged\":false,\"risk_score\":");
    private static final byte[] LEVEL = ascii(",\"risk_level\":\"");
    private static final byte[] COMPOSITE = ascii("\",\"composite_risk\":");
    private static final byte[] DECIDED_BY = ascii(",\"decided_by\":\"");
    private static final byte[] SIGNALS = ascii("\",\"signals\":[");
    private static final byte[] DETECTOR = ascii("{\"detector\":\"");
    private static final byte[] TIER = ascii("\",\"tier\":\"");
    private static final byte[] POINTS = ascii("\",\"points\":");
    private static final byte[] EVIDENCE = ascii(",\"evidence\":{");
    private static final byte[] REASONS = ascii("],\"reasons\":[");
    private static final byte[] CODE = ascii("{\"code\":\"");
    private static final byte[] TEXT = ascii("\",\"text\":");
    private static final byte[] NO_MANDATE = ascii("],\"mandate\":null");
    private static final byte[] MANDATE = ascii("],\"mandate\":{\"status\":\"");
    private static final byte[] MAX_AMOUNT = ascii("\",\"max_amount\":");
    private static final byte[] SPENT = ascii(",\"spent_before\":");
    private static final byte[] REMAINING = ascii(",\"remaining\":");
    private static final byte[] LATE = ascii(",\"late\":true,\"config_digest\":\"peers\"}");
    private static final byte[] ON_TIME = ascii(",\"late\":false,\"config_digest\":\"peers\"}");
    private static final byte[] NULL = ascii("null");
    private static final byte[][] STATUS = {ascii("active"), ascii("paused"), ascii("revoked")};

    private final Buf out = new Buf(4096);

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.ISO_8859_1);
    }

    public byte[] encode(Decision decision) {
        Transaction tx = decision.tx;
        out.clear();
        put(START);
        text(tx.txId);
        put(PAYMENT);
        text(tx.paymentId);
        put(AGENT);
        text(tx.agentId);
        put(USER);
        text(tx.userId);
        put(MANDATE_ID);
        text(tx.mandateId);
        put(MERCHANT);
        text(tx.merchant);
        put(CATEGORY);
        text(tx.category);
        put(AMOUNT);
        decimal(tx.amount);
        put(CURRENCY);
        text(tx.currency);
        put(COUNTRY);
        text(tx.country);
        put(TIME);
        out.room(27);
        Time.write(tx.timeUs, out.bytes, out.pos);
        out.pos += 27;
        put(ACTION);
        plain(decision.action.label);
        put(decision.flagged() ? FLAGGED : NOT_FLAGGED);
        number(decision.score);
        put(LEVEL);
        plain(decision.level);
        put(COMPOSITE);
        decimal(decision.composite);
        put(DECIDED_BY);
        plain(decision.decidedBy);
        put(SIGNALS);
        for (int at = 0; at < decision.signals.length; at++) {
            Signal signal = decision.signals[at];
            if (at > 0) {
                out.u8(',');
            }
            put(DETECTOR);
            plain(signal.tier.detector);
            put(TIER);
            plain(signal.tier.tier);
            put(POINTS);
            decimal(signal.points);
            put(EVIDENCE);
            put(signal.evidence.getBytes(StandardCharsets.UTF_8));
            out.u8('}');
            out.u8('}');
        }
        put(REASONS);
        for (int at = 0; at < decision.signals.length; at++) {
            Signal signal = decision.signals[at];
            if (at > 0) {
                out.u8(',');
            }
            put(CODE);
            plain(signal.tier.code);
            put(TEXT);
            text(signal.reason);
            out.u8('}');
        }
        Mandate mandate = decision.mandate;
        if (mandate == null) {
            put(NO_MANDATE);
        } else {
            put(MANDATE);
            put(STATUS[mandate.status.ordinal()]);
            put(MAX_AMOUNT);
            if (mandate.maxAmount == Money.NONE) {
                put(NULL);
            } else {
                decimal(mandate.maxAmount);
            }
            put(SPENT);
            decimal(decision.spentBefore);
            put(REMAINING);
            if (mandate.maxAmount == Money.NONE) {
                put(NULL);
            } else {
                decimal(Math.max(0, mandate.maxAmount - decision.spentBefore));
            }
            out.u8('}');
        }
        put(decision.late ? LATE : ON_TIME);
        return out.toBytes();
    }

    private void put(byte[] bytes) {
        out.room(bytes.length);
        System.arraycopy(bytes, 0, out.bytes, out.pos, bytes.length);
        out.pos += bytes.length;
    }

    @SuppressWarnings("deprecation")
    private void plain(String text) {
        int length = text.length();
        out.room(length);
        text.getBytes(0, length, out.bytes, out.pos);
        out.pos += length;
    }

    @SuppressWarnings("deprecation")
    private void text(String text) {
        if (text == null) {
            put(NULL);
            return;
        }
        int length = text.length();
        boolean plain = true;
        for (int at = 0; at < length; at++) {
            char c = text.charAt(at);
            if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') {
                plain = false;
                break;
            }
        }
        out.room(length + 2);
        out.bytes[out.pos++] = '"';
        if (plain) {
            text.getBytes(0, length, out.bytes, out.pos);
            out.pos += length;
        } else {
            escaped(text);
        }
        out.u8('"');
    }

    private void escaped(String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        out.room(utf8.length * 6);
        for (byte b : utf8) {
            if (b == '"' || b == '\\') {
                out.bytes[out.pos++] = '\\';
                out.bytes[out.pos++] = b;
            } else if (b >= 0 && b < 0x20) {
                plain("\\u00");
                out.bytes[out.pos++] = HEX[b >> 4];
                out.bytes[out.pos++] = HEX[b & 15];
            } else {
                out.bytes[out.pos++] = b;
            }
        }
    }

    private void number(long value) {
        out.room(20);
        if (value < 0) {
            out.bytes[out.pos++] = '-';
            value = -value;
        }
        int digits = 1;
        for (long rest = value; rest >= 10; rest /= 10) {
            digits++;
        }
        for (int at = out.pos + digits - 1; at >= out.pos; at--) {
            out.bytes[at] = (byte) ('0' + value % 10);
            value /= 10;
        }
        out.pos += digits;
    }

    private void decimal(long amount) {
        out.u8('"');
        if (amount < 0) {
            out.u8('-');
            amount = -amount;
        }
        number(amount / Money.UNIT);
        long fraction = amount % Money.UNIT;
        if (fraction != 0) {
            out.room(10);
            out.bytes[out.pos++] = '.';
            for (long unit = Money.UNIT / 10; fraction != 0; unit /= 10) {
                out.bytes[out.pos++] = (byte) ('0' + fraction / unit);
                fraction %= unit;
            }
        }
        out.u8('"');
    }
}
