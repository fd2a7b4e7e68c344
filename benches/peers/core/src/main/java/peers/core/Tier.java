package peers.core;

/** Every tier of every detector, in the order of the specification's table. Points are in 1e-8. */
public enum Tier {
    SCOPE_STRICT("scope", "strict", Action.BLOCK, 50, 50),
    SCOPE_CATEGORY_NOT_ALLOWED("scope", "category_not_allowed", Action.BLOCK, 50, 50),
    REPLAY_NOT_HELD("replay", "not_held", Action.BLOCK),
    REPLAY_REVOKED("replay", "revoked", Action.BLOCK),
    REPLAY_EXPIRED("replay", "expired", Action.BLOCK),
    REPLAY_NOT_YET_VALID("replay", "not_yet_valid", Action.BLOCK),
    REPLAY_OVER_CAP("replay", "over_cap", Action.BLOCK, 0, 100),
    REPLAY_OVER_USES("replay", "over_uses", Action.BLOCK),
    REPLAY_OVER_PER_TRANSACTION("replay", "over_per_transaction", Action.BLOCK),
    REPLAY_WRONG_CURRENCY("replay", "wrong_currency", Action.BLOCK),
    REPLAY_PAUSED("replay", "paused", Action.REVIEW),
    MANDATE_UNKNOWN("mandate", "unknown", Action.REVIEW),
    MANDATE_OMITTED("mandate", "omitted", Action.CHALLENGE),
    MANDATE_NONE("mandate", "none", Action.ALLOW),
    BURST_MACHINE("burst", "machine", Action.REVIEW, 5, 50),
    BURST_PACE("burst", "pace", Action.CHALLENGE, 5, 50),
    BURST_RATE("burst", "rate", Action.CHALLENGE, 5, 50),
    BURST_RATE_BOUNDED("burst", "rate_bounded", Action.ALLOW, 5, 20),
    COLLUSION_RING("collusion", "ring", Action.REVIEW, 30, 120),
    COLLUSION_PAIRS("collusion", "pairs", Action.REVIEW, 30, 120),
    CROSS_MERCHANT_RISK_CLASS("cross_merchant", "risk_class", Action.REVIEW, 10, 60),
    CROSS_MERCHANT_NOVEL("cross_merchant", "novel", Action.CHALLENGE, 10, 60),
    CROSS_MERCHANT_BREADTH("cross_merchant", "breadth", Action.ALLOW, 10, 30),
    CADENCE_REGULAR("cadence", "regular", Action.CHALLENGE, 40, 40),
    GEO_MOVED("geo_stationarity", "moved", Action.CHALLENGE, 50, 50),
    INPUT_CLOCK_SKEW("input", "clock_skew", Action.ALLOW),
    INPUT_LATE("input", "late", Action.ALLOW),
    INPUT_NO_RATE("input", "no_rate", Action.ALLOW);

    public final String detector;
    public final String tier;
    public final String code;
    public final Action floor;
    private final long weight;
    private final long cap;

    Tier(String detector, String tier, Action floor, long weight, long cap) {
        this.detector = detector;
        this.tier = tier;
        this.code = detector + "." + tier;
        this.floor = floor;
        this.weight = weight;
        this.cap = cap * Money.UNIT;
    }

    /** Points by the floor alone. */
    Tier(String detector, String tier, Action floor) {
        this(detector, tier, floor, floor == Action.BLOCK ? 50 : 0, 50);
    }

    /** Points of a measure that is a count. */
    public long points(long measure) {
        return Math.min(cap, weight * measure * Money.UNIT);
    }

    /** Points of an overage in 1e-8: a tenth of it. */
    public long pointsOfOverage(long over) {
        return Math.min(cap, over / 10);
    }
}
