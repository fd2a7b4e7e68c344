package peers.core;

/** Builds the inside of an evidence object. Signals are rare, so a StringBuilder serves. */
final class Evidence {
    private final StringBuilder out = new StringBuilder(128);

    private void name(String name) {
        if (out.length() > 0) {
            out.append(',');
        }
        out.append('"').append(name).append("\":");
    }

    Evidence number(String name, long value) {
        name(name);
        out.append(value);
        return this;
    }

    Evidence decimal(String name, long amount) {
        name(name);
        out.append('"').append(Money.text(amount)).append('"');
        return this;
    }

    Evidence figure(String name, double value) {
        name(name);
        long micros = Math.round(value * 1e6);
        out.append('"').append(micros / 1_000_000).append('.');
        String fraction = Long.toString(micros % 1_000_000);
        out.append("000000", 0, 6 - fraction.length()).append(fraction).append('"');
        return this;
    }

    Evidence text(String name, String value) {
        name(name);
        quote(value);
        return this;
    }

    Evidence texts(String name, String[] values) {
        return text(name, String.join(", ", values));
    }

    Evidence also(Tier[] held, int count, Tier strongest) {
        if (count > 1) {
            name("also");
            char before = '[';
            for (int at = 0; at < count; at++) {
                if (held[at] != strongest) {
                    out.append(before).append('"').append(held[at].tier).append('"');
                    before = ',';
                }
            }
            out.append(']');
        }
        return this;
    }

    private void quote(String value) {
        out.append('"');
        for (int at = 0; at < value.length(); at++) {
            char c = value.charAt(at);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    @Override
    public String toString() {
        return out.toString();
    }
}
