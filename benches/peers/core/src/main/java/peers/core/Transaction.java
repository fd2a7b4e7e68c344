package peers.core;

/** A parsed transaction; {@code error} is set, and little else, where the record cannot be used. */
public final class Transaction {
    public String txId;
    public String agentId;
    public String userId;
    public String mandateId;
    public String merchant;
    public String category;
    public String paymentId;
    public String currency;
    public String country;
    public long amount = Money.NONE;
    public long timeUs = Time.NONE;
    public long recordUs = Time.NONE;
    public boolean located;
    /** The position is the agent's own, or it is not said whose it is. */
    public boolean ownLocation = true;
    public int latE7;
    public int lngE7;
    public String error;
    /** Its partition's watermark with it counted, where the reader of the partition keeps that. */
    public long watermarkUs = Long.MIN_VALUE;
    /** Its place in its partition or file. */
    public long seq;

    /** The time by which it moves the watermark and by which it is remembered. */
    public long countingUs() {
        return recordUs == Time.NONE ? timeUs : Math.min(timeUs, recordUs);
    }

    /** For Flink's shuffle; of a transaction without error. */
    public void write(Buf out) {
        out.text(txId);
        out.text(agentId);
        out.text(userId);
        out.text(mandateId);
        out.text(merchant);
        out.text(category);
        out.text(paymentId);
        out.text(currency);
        out.text(country);
        out.sv(amount);
        out.i64(timeUs);
        out.i64(recordUs);
        out.i64(watermarkUs);
        out.uv(seq);
        out.u8((located ? 1 : 0) | (ownLocation ? 2 : 0));
        if (located) {
            out.sv(latE7);
            out.sv(lngE7);
        }
    }

    public static Transaction read(Buf in) {
        Transaction tx = new Transaction();
        tx.txId = in.text();
        tx.agentId = in.text();
        tx.userId = in.text();
        tx.mandateId = in.text();
        tx.merchant = in.text();
        tx.category = in.text();
        tx.paymentId = in.text();
        tx.currency = shared(in.text());
        tx.country = in.text();
        tx.amount = in.sv();
        tx.timeUs = in.i64();
        tx.recordUs = in.i64();
        tx.watermarkUs = in.i64();
        tx.seq = in.uv();
        int flags = in.u8();
        tx.located = (flags & 1) != 0;
        tx.ownLocation = (flags & 2) != 0;
        if (tx.located) {
            tx.latE7 = (int) in.sv();
            tx.lngE7 = (int) in.sv();
        }
        return tx;
    }

    private static String shared(String currency) {
        return "USD".equals(currency) ? "USD" : currency;
    }
}
