package peers.core;

/** A detector's finding, with its evidence already as the inside of a JSON object. */
public final class Signal {
    public final Tier tier;
    public final long points;
    public final String evidence;
    public final String reason;

    public Signal(Tier tier, long points, String evidence, String reason) {
        this.tier = tier;
        this.points = points;
        this.evidence = evidence;
        this.reason = reason;
    }
}
