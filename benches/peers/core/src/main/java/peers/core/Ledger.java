package peers.core;

import java.util.Arrays;

/** What a user's unblocked attempts have reserved under one mandate. */
public final class Ledger {
    public final String mandateId;
    long uses;
    /** Lifetime spend by currency; nearly always one. */
    String[] currencies = new String[1];
    long[] spend = new long[1];
    int currencyCount;
    /** Spend by calendar period of the mandate's kind. */
    int periodCount;
    int[] firstDay = new int[0];
    byte[] kind = new byte[0];
    long[] periodSpend = new long[0];

    Ledger(String mandateId) {
        this.mandateId = mandateId;
    }

    long spentBefore(Mandate mandate, long timeUs) {
        if (mandate.period == Mandate.Period.LIFETIME) {
            for (int at = 0; at < currencyCount; at++) {
                if (currencies[at].equals(mandate.currency)) {
                    return spend[at];
                }
            }
            return 0;
        }
        int at = find(mandate.period, firstDay(mandate.period, timeUs));
        return at < 0 ? 0 : periodSpend[at];
    }

    void reserve(Mandate mandate, Transaction tx, long watermarkUs) {
        uses++;
        addLifetime(tx.currency, tx.amount);
        if (mandate == null || mandate.period == Mandate.Period.LIFETIME || !mandate.currency.equals(tx.currency)) {
            return;
        }
        int day = firstDay(mandate.period, tx.timeUs);
        int at = find(mandate.period, day);
        if (at >= 0) {
            periodSpend[at] = Math.addExact(periodSpend[at], tx.amount);
            return;
        }
        // No accepted transaction is a day behind the watermark, so what ended before that is done with.
        int keepFrom = (int) Math.floorDiv(watermarkUs - Time.DAY, Time.DAY);
        int kept = 0;
        for (int one = 0; one < periodCount; one++) {
            if (firstDay[one] + 31 >= keepFrom) {
                firstDay[kept] = firstDay[one];
                kind[kept] = kind[one];
                periodSpend[kept++] = periodSpend[one];
            }
        }
        periodCount = kept;
        if (kept == firstDay.length) {
            int more = Math.max(2, kept * 2);
            firstDay = Arrays.copyOf(firstDay, more);
            kind = Arrays.copyOf(kind, more);
            periodSpend = Arrays.copyOf(periodSpend, more);
        }
        firstDay[kept] = day;
        kind[kept] = (byte) mandate.period.ordinal();
        periodSpend[kept] = tx.amount;
        periodCount++;
    }

    private void addLifetime(String currency, long amount) {
        for (int at = 0; at < currencyCount; at++) {
            if (currencies[at].equals(currency)) {
                spend[at] = Math.addExact(spend[at], amount);
                return;
            }
        }
        if (currencyCount == currencies.length) {
            currencies = Arrays.copyOf(currencies, currencyCount + 1);
            spend = Arrays.copyOf(spend, currencyCount + 1);
        }
        currencies[currencyCount] = currency;
        spend[currencyCount++] = amount;
    }

    private int find(Mandate.Period period, int day) {
        for (int at = 0; at < periodCount; at++) {
            if (firstDay[at] == day && kind[at] == period.ordinal()) {
                return at;
            }
        }
        return -1;
    }

    /** The first day of the calendar period, UTC, ISO weeks. */
    static int firstDay(Mandate.Period period, long timeUs) {
        int day = (int) Math.floorDiv(timeUs, Time.DAY);
        return switch (period) {
            case DAY, LIFETIME -> day;
            case WEEK -> day - Math.floorMod(day + 3, 7);
            case MONTH -> {
                java.time.LocalDate date = java.time.LocalDate.ofEpochDay(day);
                yield day - date.getDayOfMonth() + 1;
            }
        };
    }

    void write(Buf out) {
        out.text(mandateId);
        out.uv(uses);
        out.uv(currencyCount);
        for (int at = 0; at < currencyCount; at++) {
            out.text(currencies[at]);
            out.uv(spend[at]);
        }
        out.uv(periodCount);
        for (int at = 0; at < periodCount; at++) {
            out.u8(kind[at]);
            out.sv(firstDay[at]);
            out.uv(periodSpend[at]);
        }
    }

    static Ledger read(Buf in) {
        Ledger ledger = new Ledger(in.text());
        ledger.uses = in.uv();
        ledger.currencyCount = in.uvInt();
        ledger.currencies = new String[Math.max(1, ledger.currencyCount)];
        ledger.spend = new long[ledger.currencies.length];
        for (int at = 0; at < ledger.currencyCount; at++) {
            ledger.currencies[at] = in.text();
            ledger.spend[at] = in.uv();
        }
        ledger.periodCount = in.uvInt();
        ledger.kind = new byte[ledger.periodCount];
        ledger.firstDay = new int[ledger.periodCount];
        ledger.periodSpend = new long[ledger.periodCount];
        for (int at = 0; at < ledger.periodCount; at++) {
            ledger.kind[at] = (byte) in.u8();
            ledger.firstDay[at] = (int) in.sv();
            ledger.periodSpend[at] = in.uv();
        }
        return ledger;
    }
}
