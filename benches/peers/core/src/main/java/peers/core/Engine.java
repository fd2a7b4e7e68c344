package peers.core;

import java.util.Arrays;
import java.util.Comparator;

/**
 * Decides transactions. Holds nothing but scratch space, so one per thread; the state is the user's.
 */
public final class Engine {
    /** What {@link #decide} gives for a repeat, and for what is too old to be told from one. */
    public static final Decision DUPLICATE = new Decision();
    public static final Decision TOO_OLD = new Decision();

    private static final long DEDUP = 24 * Time.HOUR;
    private static final long MAX_SKEW = 5 * Time.MINUTE;

    private static final long BURST_WINDOW = Time.MINUTE;
    private static final int BURST_MIN = 5;
    private static final long PACE_WINDOW = 8 * Time.SECOND;
    private static final int PACE_MIN = 10;
    private static final int MACHINE_MIN = 6;
    private static final int MACHINE_MIN_EQUAL = 5;

    private static final long CROSS_WINDOW = 5 * Time.MINUTE;
    private static final int CROSS_MIN = 4;
    private static final int NOVEL_MIN = 3;
    private static final int NOVEL_MIN_LEARNED = 10;
    private static final long LEARNING_DELAY = Time.HOUR;

    private static final long PAIR_GAP = 10 * Time.SECOND;
    private static final long PAIR_DIFFERENCE = 10 * Money.UNIT;
    private static final int PAIR_PERCENT = 7;
    private static final long COLLUSION_WINDOW = 10 * Time.MINUTE;
    private static final int MIN_PAIRED = 2;
    private static final int MIN_SHARE_PERCENT = 60;

    private static final int MIN_GAPS = 10;
    private static final long MEAN_GAP = 30 * Time.SECOND;
    private static final double MAX_STDDEV = 1e6;
    private static final double MAX_VARIATION = 0.15;
    private static final long CADENCE_RUN = MEAN_GAP * (AgentState.CADENCE_TIMES - 1);

    private static final double RADIUS_KM = 250;
    private static final double EARTH_KM = 6371.0088;

    private static final double SCALE = 72.13;
    private static final Comparator<Signal> STRONGEST_FIRST = (a, b) -> {
        int order = b.tier.floor.compareTo(a.tier.floor);
        order = order != 0 ? order : Long.compare(b.points, a.points);
        return order != 0 ? order : a.tier.compareTo(b.tier);
    };
    private static final String[] FLOORS = new String[Tier.values().length];

    static {
        for (Tier tier : Tier.values()) {
            FLOORS[tier.ordinal()] = "floor:" + tier.code;
        }
    }

    private final Signal[] signals = new Signal[16];
    private int signalCount;
    /** Measure of the burst signal; 0: none. */
    private int burstCount;

    // The tiers of one detector that hold.
    private final Tier[] held = new Tier[12];
    private final long[] points = new long[12];
    private int heldCount;

    private final long[] inWindow = new long[64];
    private long[] ours = new long[32];
    private long[] oursAmount = new long[32];
    private long[] theirs = new long[32];
    private long[] theirsAmount = new long[32];
    private int[] partners = new int[8];

    /**
     * Decides a transaction and takes it into the user's state.
     *
     * @param watermark the shard's, with this transaction counted
     */
    public Decision decide(UserState user, Transaction tx, MandateLookup mandates, long watermark) {
        long id = Hash.of(tx.txId);
        if (user.has(id)) {
            return DUPLICATE;
        }
        if (tx.countingUs() < watermark - DEDUP) {
            return TOO_OLD;
        }
        long time = tx.timeUs;
        boolean skewed = isSkewed(tx);
        boolean late = isLate(tx, watermark);
        boolean rated = "USD".equals(tx.currency);
        int agentAt = user.agent(tx.agentId);
        AgentState agent = user.agents.get(agentAt);
        user.prune(watermark - DEDUP);
        user.add(time, id, late ? UserState.LATE : agentAt, rated ? tx.amount : Money.NONE);

        Decision decision = new Decision();
        decision.tx = tx;
        decision.late = late;
        signalCount = 0;
        burstCount = 0;

        Mandate mandate = tx.mandateId == null ? null : mandates.byId(tx.mandateId);
        Ledger ledger = tx.mandateId == null ? null : user.ledger(tx.mandateId);
        Mandate usable = null;
        if (mandate != null) {
            boolean own = mandate.heldBy(tx);
            usable = own && mandate.usableAt(time) ? mandate : null;
            decision.mandate = mandate;
            decision.spentBefore = ledger.spentBefore(mandate, time);
            scope(tx, mandate);
            replay(tx, mandate, ledger, own, decision.spentBefore, rated);
        } else {
            presence(tx, mandates);
        }
        boolean crossed = false;
        if (!late) {
            long group = Groups.of(tx.category);
            agent.add(time, group, equalKey(tx), watermark - CROSS_WINDOW);
            burst(agent, time, usable, watermark);
            if (rated && user.agents.size() > 1) {
                collusion(user, agentAt, time, tx.amount);
            }
            crossed = crossMerchant(agent, time, watermark);
            learn(agent, time, group, crossed);
            cadence(agent, time);
        }
        if (tx.located) {
            geo(agent, tx);
        }
        if (skewed || late || !rated) {
            input(tx, skewed, watermark, rated);
        }
        conclude(decision);
        if (!late && (burstCount > 0 || agent.bursts != null && agent.bursts.isRunning())) {
            settleBurst(agent, time, usable, decision);
        }
        if (ledger != null && decision.action != Action.BLOCK) {
            ledger.reserve(mandate, tx, watermark);
        }
        return decision;
    }

    private static boolean isSkewed(Transaction tx) {
        return tx.recordUs != Time.NONE && tx.timeUs - tx.recordUs > MAX_SKEW;
    }

    public static boolean isLate(Transaction tx, long watermark) {
        return tx.timeUs < watermark || isSkewed(tx);
    }

    private void conclude(Decision decision) {
        if (signalCount == 0) {
            return;
        }
        Signal[] found = Arrays.copyOf(signals, signalCount);
        if (signalCount > 1) {
            Arrays.sort(found, STRONGEST_FIRST);
        }
        decision.signals = found;
        long composite = 0;
        for (Signal signal : found) {
            composite += signal.points;
        }
        decision.composite = composite;
        Action byScore = Action.ALLOW;
        if (composite > 0) {
            double score = 100 * (1 - Math.exp(-((double) composite / Money.UNIT) / SCALE));
            decision.score = (int) Math.floor(score + 0.5);
            if (score >= 75) {
                decision.level = "highest";
                byScore = Action.BLOCK;
            } else if (score >= 60) {
                decision.level = "elevated";
                byScore = Action.REVIEW;
            }
        }
        Tier strongest = found[0].tier;
        if (strongest.floor.compareTo(byScore) >= 0) {
            decision.action = strongest.floor;
            decision.decidedBy = strongest.floor == Action.ALLOW ? "none" : FLOORS[strongest.ordinal()];
        } else {
            decision.action = byScore;
            decision.decidedBy = byScore == Action.BLOCK ? "score:highest" : "score:elevated";
        }
    }

    private void hold(Tier tier, long tierPoints) {
        held[heldCount] = tier;
        points[heldCount++] = tierPoints;
    }

    /** Of the tiers that hold the strongest; -1 for none. */
    private int strongest() {
        int best = heldCount - 1;
        for (int at = heldCount - 2; at >= 0; at--) {
            int order = held[at].floor.compareTo(held[best].floor);
            order = order != 0 ? order : Long.compare(points[at], points[best]);
            order = order != 0 ? order : held[best].compareTo(held[at]);
            if (order > 0) {
                best = at;
            }
        }
        return best;
    }

    private void raise(int best, Evidence evidence, String reason) {
        signals[signalCount++] = new Signal(held[best], points[best], evidence.also(held, heldCount, held[best]).toString(), reason);
    }

    // ---- scope

    private void scope(Transaction tx, Mandate mandate) {
        heldCount = 0;
        if (!mandate.allowsMerchant(tx.merchant)) {
            hold(Tier.SCOPE_STRICT, Tier.SCOPE_STRICT.points(1));
        }
        if (!mandate.allowsCategory(tx.category)) {
            hold(Tier.SCOPE_CATEGORY_NOT_ALLOWED, Tier.SCOPE_CATEGORY_NOT_ALLOWED.points(1));
        }
        if (heldCount == 0) {
            return;
        }
        int best = strongest();
        Evidence evidence = new Evidence().number("measure", 1).number("threshold", 1).text("actual_merchant", tx.merchant);
        if (mandate.merchants != null) {
            evidence.texts("allowed_merchants", mandate.merchants);
        }
        if (mandate.categories != null) {
            evidence.texts("allowed_categories", mandate.categories);
        }
        if (tx.category != null) {
            evidence.text("actual_category", tx.category);
        }
        raise(best, evidence, held[best] == Tier.SCOPE_STRICT
                ? "The agent tried to pay " + tx.merchant + ", which the mandate does not allow."
                : tx.category != null
                ? "The agent tried to pay " + tx.merchant + " for " + tx.category + ", a kind of purchase that the mandate does not allow."
                : "The agent tried to pay " + tx.merchant
                        + " without saying what for, and the mandate allows only certain kinds of purchase.");
    }

    // ---- replay

    private void replay(Transaction tx, Mandate mandate, Ledger ledger, boolean own, long spent, boolean rated) {
        heldCount = 0;
        if (!own) {
            hold(Tier.REPLAY_NOT_HELD, Tier.REPLAY_NOT_HELD.points(1));
        }
        if (mandate.status == Mandate.Status.REVOKED) {
            hold(Tier.REPLAY_REVOKED, Tier.REPLAY_REVOKED.points(1));
        }
        if (mandate.isExpired(tx.timeUs)) {
            hold(Tier.REPLAY_EXPIRED, Tier.REPLAY_EXPIRED.points(1));
        }
        if (mandate.isEarly(tx.timeUs)) {
            hold(Tier.REPLAY_NOT_YET_VALID, Tier.REPLAY_NOT_YET_VALID.points(1));
        }
        if (mandate.maxUses >= 0 && ledger.uses >= mandate.maxUses) {
            hold(Tier.REPLAY_OVER_USES, Tier.REPLAY_OVER_USES.points(1));
        }
        if (mandate.status == Mandate.Status.PAUSED) {
            hold(Tier.REPLAY_PAUSED, Tier.REPLAY_PAUSED.points(1));
        }
        long over = 0;
        if (!mandate.currency.equals(tx.currency)) {
            hold(Tier.REPLAY_WRONG_CURRENCY, Tier.REPLAY_WRONG_CURRENCY.points(1));
        } else {
            if (mandate.perTransactionMax != Money.NONE && tx.amount > mandate.perTransactionMax) {
                hold(Tier.REPLAY_OVER_PER_TRANSACTION, Tier.REPLAY_OVER_PER_TRANSACTION.points(1));
            }
            if (mandate.maxAmount != Money.NONE) {
                over = Math.addExact(spent, tx.amount) - mandate.maxAmount;
                if (over > 0) {
                    hold(Tier.REPLAY_OVER_CAP, rated ? Tier.REPLAY_OVER_CAP.pointsOfOverage(over) : 0);
                }
            }
        }
        if (heldCount == 0) {
            return;
        }
        int best = strongest();
        Evidence evidence = new Evidence();
        String reason;
        switch (held[best]) {
            case REPLAY_NOT_HELD -> {
                evidence.text("holder_agent_id", mandate.agentId);
                reason = "The agent used a mandate that was given to another.";
            }
            case REPLAY_REVOKED -> reason = "The mandate was revoked before this payment was decided.";
            case REPLAY_EXPIRED -> {
                evidence.text("measure", Time.text(tx.timeUs)).text("threshold", Time.text(mandate.validTo));
                reason = "The mandate had expired when the payment was made.";
            }
            case REPLAY_NOT_YET_VALID -> {
                evidence.text("measure", Time.text(tx.timeUs)).text("threshold", Time.text(mandate.validFrom));
                reason = "The mandate was not yet valid when the payment was made.";
            }
            case REPLAY_OVER_CAP -> {
                evidence.decimal("measure", over).decimal("threshold", 0).decimal("max_amount", mandate.maxAmount)
                        .decimal("spent_before", spent).text("currency", mandate.currency);
                reason = "The payment would bring the mandate to " + Money.text(spent + tx.amount) + " " + mandate.currency
                        + ", " + Money.text(over) + " " + mandate.currency + " over its limit of " + Money.text(mandate.maxAmount)
                        + " " + mandate.currency + ".";
            }
            case REPLAY_OVER_USES -> {
                evidence.number("measure", ledger.uses + 1).number("threshold", mandate.maxUses);
                reason = "The mandate allows " + mandate.maxUses + " payments and they have been made.";
            }
            case REPLAY_OVER_PER_TRANSACTION -> {
                evidence.decimal("measure", tx.amount).decimal("threshold", mandate.perTransactionMax);
                reason = "The payment of " + Money.text(tx.amount) + " " + mandate.currency + " is above the "
                        + Money.text(mandate.perTransactionMax) + " " + mandate.currency + " that the mandate allows at a time.";
            }
            case REPLAY_WRONG_CURRENCY -> {
                evidence.text("measure", tx.currency).text("threshold", mandate.currency);
                reason = "The payment is in " + tx.currency + ", the mandate in " + mandate.currency + ".";
            }
            default -> reason = "The mandate is paused.";
        }
        raise(best, evidence, reason);
    }

    private void presence(Transaction tx, MandateLookup mandates) {
        heldCount = 0;
        Evidence evidence = new Evidence().number("measure", 1).number("threshold", 1);
        if (tx.mandateId != null) {
            hold(Tier.MANDATE_UNKNOWN, 0);
            raise(0, evidence, "The agent named a mandate that is not on record.");
            return;
        }
        Mandate omitted = mandates.usableOf(tx.userId, tx.agentId, tx.timeUs);
        if (omitted != null) {
            hold(Tier.MANDATE_OMITTED, 0);
            raise(0, evidence.text("held_mandate_id", omitted.mandateId), "The agent holds a mandate and paid without naming it.");
        } else {
            hold(Tier.MANDATE_NONE, 0);
            raise(0, evidence, "The agent paid without a mandate.");
        }
    }

    // ---- burst

    private static long equalKey(Transaction tx) {
        return Hash.pair(Hash.of(tx.merchant), tx.amount ^ (long) tx.currency.hashCode() << 40);
    }

    private static final Bursts NO_BURSTS = new Bursts();

    private void settleBurst(AgentState agent, long time, Mandate usable, Decision decision) {
        boolean harmless = usable != null && usable.binds();
        for (Signal signal : decision.signals) {
            harmless &= signal.tier == Tier.BURST_RATE_BOUNDED;
        }
        if (agent.bursts == null) {
            agent.bursts = new Bursts();
        }
        agent.bursts.settle(time, burstCount, harmless);
    }

    private void burst(AgentState agent, long time, Mandate usable, long watermark) {
        Bursts bursts = agent.bursts == null ? NO_BURSTS : agent.bursts;
        if (bursts != NO_BURSTS) {
            bursts.learn(time, watermark, BURST_WINDOW, BURST_MIN);
        }
        int first = agent.from(time);
        boolean newest = agent.times[agent.count - 1] == time;
        if (newest && agent.count - agent.from(time - BURST_WINDOW) < BURST_MIN) {
            return;
        }
        int baseline = Math.max(BURST_MIN, bursts.learned);
        int threshold = Math.max(baseline, authorized(usable, BURST_WINDOW));
        int paceThreshold = Math.max(PACE_MIN, authorized(usable, PACE_WINDOW));
        Tier rate = usable != null && usable.binds() ? Tier.BURST_RATE_BOUNDED : Tier.BURST_RATE;
        int machine = 0;
        int equal = 0;
        int pace = 0;
        int paceCount = 0;
        int rated = 0;
        // Every window that holds the payment: one, unless it came out of order.
        for (int at = first; at < agent.count && agent.times[at] <= time + BURST_WINDOW; at++) {
            long end = agent.times[at];
            if (at + 1 < agent.count && agent.times[at + 1] == end) {
                continue;
            }
            int start = agent.from(end - BURST_WINDOW);
            int in = at + 1 - start;
            if (end - time <= PACE_WINDOW && in >= paceThreshold) {
                int within = at + 1 - agent.from(end - PACE_WINDOW);
                pace = Math.max(pace, within);
                if (within >= paceThreshold) {
                    paceCount = Math.max(paceCount, in);
                }
            }
            if (in >= MACHINE_MIN) {
                int alike = alike(agent, start, at + 1);
                if (alike >= MACHINE_MIN_EQUAL && alike * 100 >= in * 80) {
                    machine = Math.max(machine, in);
                    equal = Math.max(equal, alike);
                }
            }
            if (in >= threshold) {
                rated = Math.max(rated, in);
            }
        }
        heldCount = 0;
        if (machine > 0) {
            hold(Tier.BURST_MACHINE, Tier.BURST_MACHINE.points(machine));
        }
        if (paceCount > 0) {
            hold(Tier.BURST_PACE, Tier.BURST_PACE.points(paceCount));
        }
        if (rated > 0) {
            hold(rate, rate.points(rated));
        }
        if (heldCount == 0) {
            return;
        }
        int best = strongest();
        Evidence evidence = new Evidence();
        String reason;
        switch (held[best]) {
            case BURST_MACHINE -> {
                evidence.number("measure", machine).number("equal", equal).number("threshold", MACHINE_MIN);
                reason = "The agent made " + machine + " payments within 60 seconds, and " + equal
                        + " of them were for the same amount at the same merchant.";
            }
            case BURST_PACE -> {
                evidence.number("measure", pace).number("threshold", paceThreshold).number("count", paceCount);
                reason = "The agent made " + pace + " payments within 8 seconds.";
            }
            case BURST_RATE -> {
                evidence.number("measure", rated).number("threshold", threshold);
                reason = "The agent made " + rated + " payments within 60 seconds; fewer than " + threshold + " are usual for it.";
            }
            default -> {
                evidence.number("measure", rated).number("threshold", threshold);
                reason = "The agent made " + rated + " payments within 60 seconds, inside a mandate that limits "
                        + (usable.maxAmount != Money.NONE ? "what it can spend." : "where it can pay.");
            }
        }
        burstCount = held[best] == Tier.BURST_MACHINE ? machine : held[best] == Tier.BURST_PACE ? paceCount : rated;
        raise(best, evidence.number("baseline", baseline).number("window_seconds", 60), reason);
    }

    private static int authorized(Mandate usable, long window) {
        if (usable == null || usable.authorizedTps == Money.NONE) {
            return 0;
        }
        return (int) Math.min(1_000_000, usable.authorizedTps * (window / Time.SECOND) / Money.UNIT) + 1;
    }

    /** The number of the payments equal to the majority's, if there is a majority. */
    private static int alike(AgentState agent, int from, int to) {
        long candidate = 0;
        int lead = 0;
        for (int at = from; at < to; at++) {
            if (lead == 0) {
                candidate = agent.equal[at];
                lead = 1;
            } else {
                lead += agent.equal[at] == candidate ? 1 : -1;
            }
        }
        int count = 0;
        for (int at = from; at < to; at++) {
            count += agent.equal[at] == candidate ? 1 : 0;
        }
        return count;
    }

    // ---- collusion

    private static boolean match(long a, long b) {
        long apart = Math.abs(a - b);
        return apart < PAIR_DIFFERENCE && apart * 100 <= Math.max(a, b) * PAIR_PERCENT;
    }

    private void collusion(UserState user, int agent, long time, long amount) {
        int count = 0;
        for (int at = user.from(time - PAIR_GAP); at < user.count && user.times[at] <= time + PAIR_GAP; at++) {
            int other = user.agentOf[at];
            if (other == agent || other == UserState.LATE || user.amounts[at] == Money.NONE || !match(amount, user.amounts[at])) {
                continue;
            }
            boolean known = false;
            for (int one = 0; one < count; one++) {
                known |= partners[one] == other;
            }
            if (!known) {
                if (count == partners.length) {
                    partners = Arrays.copyOf(partners, count * 2);
                }
                partners[count++] = other;
            }
        }
        if (count == 0) {
            return;
        }
        boolean ring = false;
        int paired = 0;
        int share = 0;
        int with = 0;
        for (int at = user.from(time); at < user.count && user.times[at] <= time + COLLUSION_WINDOW; at++) {
            long end = user.times[at];
            if (at + 1 < user.count && user.times[at + 1] == end) {
                continue;
            }
            int windowPaired = 0;
            int windowShare = 0;
            int windowWith = 0;
            for (int one = 0; one < count; one++) {
                long judged = judge(user, agent, partners[one], end, time, amount);
                if (judged > 0) {
                    windowPaired = Math.max(windowPaired, (int) (judged >>> 32));
                    windowShare = Math.max(windowShare, (int) judged);
                    windowWith++;
                }
            }
            boolean windowRing = windowWith > 1;
            // The strongest window: ring, then measure, share and partners.
            int order = Boolean.compare(windowRing, ring);
            order = order != 0 ? order : Integer.compare(windowPaired, paired);
            order = order != 0 ? order : Integer.compare(windowShare, share);
            order = order != 0 ? order : Integer.compare(windowWith, with);
            if (windowWith > 0 && order > 0) {
                ring = windowRing;
                paired = windowPaired;
                share = windowShare;
                with = windowWith;
            }
        }
        if (with == 0) {
            return;
        }
        heldCount = 0;
        Tier tier = ring ? Tier.COLLUSION_RING : Tier.COLLUSION_PAIRS;
        hold(tier, tier.points(paired - 1L));
        Evidence evidence = new Evidence().number("measure", paired).number("threshold", MIN_PAIRED).number("partners", with)
                .number("paired_percent", share);
        spending(user, time, COLLUSION_WINDOW, "10m", evidence);
        spending(user, time, Time.DAY, "24h", evidence);
        raise(0, evidence, (ring ? with + 1 + " agents" : "Two agents")
                + " of this person paid nearly the same amounts within seconds of each other, " + paired + " times in ten minutes.");
    }

    /** Paired transactions and share of a partner in the window up to {@code end}; 0 where they do not collude. */
    private long judge(UserState user, int agent, int partner, long end, long time, long amount) {
        int our = 0;
        int their = 0;
        for (int at = user.from(end - COLLUSION_WINDOW); at < user.count && user.times[at] <= end; at++) {
            if (user.agentOf[at] == agent) {
                if (our == ours.length) {
                    ours = Arrays.copyOf(ours, our * 2);
                    oursAmount = Arrays.copyOf(oursAmount, our * 2);
                }
                ours[our] = user.times[at];
                oursAmount[our++] = user.amounts[at];
            } else if (user.agentOf[at] == partner) {
                if (their == theirs.length) {
                    theirs = Arrays.copyOf(theirs, their * 2);
                    theirsAmount = Arrays.copyOf(theirsAmount, their * 2);
                }
                theirs[their] = user.times[at];
                theirsAmount[their++] = user.amounts[at];
            }
        }
        boolean self = false;
        for (int at = 0; at < their && !self; at++) {
            self = Math.abs(theirs[at] - time) <= PAIR_GAP && theirsAmount[at] != Money.NONE && match(theirsAmount[at], amount);
        }
        if (!self) {
            return 0;
        }
        int paired = Math.min(paired(ours, oursAmount, our, theirs, theirsAmount, their),
                paired(theirs, theirsAmount, their, ours, oursAmount, our));
        int fewer = Math.min(our, their);
        if (paired < MIN_PAIRED || paired * 100 < fewer * MIN_SHARE_PERCENT) {
            return 0;
        }
        return (long) paired << 32 | paired * 100 / fewer;
    }

    /** How many of one side are in a pair with one of the other; both in order of time. */
    private static int paired(long[] side, long[] sideAmount, int sides, long[] other, long[] otherAmount, int others) {
        int count = 0;
        int from = 0;
        for (int at = 0; at < sides; at++) {
            if (sideAmount[at] == Money.NONE) {
                continue;
            }
            while (from < others && other[from] < side[at] - PAIR_GAP) {
                from++;
            }
            for (int one = from; one < others && other[one] <= side[at] + PAIR_GAP; one++) {
                if (otherAmount[one] != Money.NONE && match(sideAmount[at], otherAmount[one])) {
                    count++;
                    break;
                }
            }
        }
        return count;
    }

    private static void spending(UserState user, long time, long window, String name, Evidence evidence) {
        java.util.BitSet agents = new java.util.BitSet();
        long spend = 0;
        for (int at = user.from(time - window); at < user.count && user.times[at] <= time; at++) {
            if (user.agentOf[at] != UserState.LATE) {
                agents.set(user.agentOf[at]);
                spend += Math.max(0, user.amounts[at]);
            }
        }
        evidence.number("active_agents_" + name, agents.cardinality()).decimal("spend_" + name, spend);
    }

    // ---- cross-merchant

    private boolean crossMerchant(AgentState agent, long time, long watermark) {
        int first = agent.from(time);
        int since = agent.from(time - CROSS_WINDOW);
        // Two payments cannot be of three kinds.
        if (agent.count - since < NOVEL_MIN) {
            return false;
        }
        long before = watermark - LEARNING_DELAY;
        int usual = agent.usual(before);
        boolean enough = agent.learned >= NOVEL_MIN_LEARNED && agent.learnedUs < before;
        int risky = 0;
        int novel = 0;
        int broad = 0;
        int mostNovel = 0;
        String risk = null;
        for (int at = first; at < agent.count && agent.times[at] <= time + CROSS_WINDOW; at++) {
            long end = agent.times[at];
            if (at + 1 < agent.count && agent.times[at + 1] == end) {
                continue;
            }
            int kinds = kinds(agent, agent.from(end - CROSS_WINDOW), at + 1);
            if (kinds < NOVEL_MIN) {
                continue;
            }
            int fresh = 0;
            boolean hasRisk = false;
            for (int one = 0; one < kinds; one++) {
                if (!agent.knows(inWindow[one], before)) {
                    fresh++;
                    if (Groups.isRisk(inWindow[one])) {
                        hasRisk = true;
                        String name = Groups.name(inWindow[one]);
                        risk = risk == null || name.compareTo(risk) < 0 ? name : risk;
                    }
                }
            }
            boolean isBroad = kinds >= CROSS_MIN && kinds > usual;
            boolean isNovel = enough && fresh >= NOVEL_MIN;
            risky = (isBroad || isNovel) && hasRisk ? Math.max(risky, kinds) : risky;
            novel = isNovel ? Math.max(novel, kinds) : novel;
            broad = isBroad ? Math.max(broad, kinds) : broad;
            mostNovel = Math.max(mostNovel, fresh);
        }
        heldCount = 0;
        if (risky > 0) {
            hold(Tier.CROSS_MERCHANT_RISK_CLASS, Tier.CROSS_MERCHANT_RISK_CLASS.points(risky));
        }
        if (novel > 0) {
            hold(Tier.CROSS_MERCHANT_NOVEL, Tier.CROSS_MERCHANT_NOVEL.points(novel));
        }
        if (broad > 0) {
            hold(Tier.CROSS_MERCHANT_BREADTH, Tier.CROSS_MERCHANT_BREADTH.points(broad));
        }
        if (heldCount == 0) {
            return false;
        }
        int best = strongest();
        Tier tier = held[best];
        int measure = tier == Tier.CROSS_MERCHANT_RISK_CLASS ? risky : tier == Tier.CROSS_MERCHANT_NOVEL ? novel : broad;
        Evidence evidence = new Evidence().number("measure", measure)
                .number("threshold", tier == Tier.CROSS_MERCHANT_NOVEL ? NOVEL_MIN : CROSS_MIN).number("baseline", usual)
                .number("new_groups", mostNovel);
        if (risk != null) {
            evidence.text("risk_group", risk);
        }
        raise(best, evidence, switch (tier) {
            case CROSS_MERCHANT_RISK_CLASS -> "The agent bought " + measure + " different kinds of things within 5 minutes, among them "
                    + risk.replace('_', ' ') + ", which it never bought before.";
            case CROSS_MERCHANT_NOVEL -> "The agent bought " + mostNovel + " kinds of things within 5 minutes that it never bought before.";
            default -> "The agent bought " + measure + " different kinds of things within 5 minutes, more than usual for it.";
        });
        return tier != Tier.CROSS_MERCHANT_BREADTH;
    }

    /** The distinct groups of some payments, into {@code inWindow}. */
    private int kinds(AgentState agent, int from, int to) {
        int kinds = 0;
        for (int at = from; at < to; at++) {
            long group = agent.groups[at];
            boolean known = group == 0;
            for (int one = 0; one < kinds && !known; one++) {
                known = inWindow[one] == group;
            }
            if (!known && kinds < inWindow.length) {
                inWindow[kinds++] = group;
            }
        }
        return kinds;
    }

    private void learn(AgentState agent, long time, long group, boolean crossed) {
        if (agent.learned < NOVEL_MIN_LEARNED) {
            agent.learned++;
            agent.learnedUs = Math.max(agent.learnedUs, time);
        }
        if (crossed) {
            return;
        }
        agent.learnGroup(group, time);
        if (agent.usual < 8) {
            agent.learnBreadth(time, kinds(agent, agent.from(time - CROSS_WINDOW), agent.after(time)));
        }
    }

    // ---- cadence

    private void cadence(AgentState agent, long time) {
        noteLatest(agent, time);
        int count = agent.latestCount;
        if (count <= MIN_GAPS || agent.latest[count - 1] - agent.latest[count - 1 - MIN_GAPS] >= MEAN_GAP * (MIN_GAPS * 2)) {
            return;
        }
        // The longest run of the latest gaps that is regular: sums for every length, the last that holds.
        long last = agent.latest[count - 1];
        double squares = 0;
        int run = 0;
        double runMean = 0;
        double runDeviation = 0;
        for (int gaps = 1; gaps < count; gaps++) {
            double gap = agent.latest[count - gaps] - agent.latest[count - 1 - gaps];
            squares += gap * gap;
            if (gaps < MIN_GAPS) {
                continue;
            }
            double sum = last - agent.latest[count - 1 - gaps];
            double mean = sum / gaps;
            double variance = Math.max(0, (gaps * squares - sum * sum) / (gaps * (gaps - 1.0)));
            double deviation = Math.sqrt(variance);
            if (mean < MEAN_GAP && deviation < MAX_STDDEV && deviation <= MAX_VARIATION * mean) {
                run = gaps;
                runMean = mean;
                runDeviation = deviation;
            }
        }
        if (run == 0) {
            return;
        }
        heldCount = 0;
        hold(Tier.CADENCE_REGULAR, Tier.CADENCE_REGULAR.points(1));
        Evidence evidence = new Evidence().figure("measure", runDeviation / 1e6).figure("threshold", 1)
                .figure("mean_seconds", runMean / 1e6).number("gaps", run);
        raise(0, evidence, "The agent's last " + (run + 1) + " payments came about " + tenths(runMean / 1e6)
                + " seconds apart, as regular as a clock.");
    }

    private static String tenths(double value) {
        long tenths = Math.round(value * 10);
        return tenths / 10 + "." + tenths % 10;
    }

    private static void noteLatest(AgentState agent, long time) {
        int count = agent.latestCount;
        long[] latest = agent.latest;
        long last = count == 0 ? Long.MIN_VALUE : latest[count - 1];
        long before = Math.max(last, time) - CADENCE_RUN;
        if (time > last) {
            int gone = Math.max(0, count - (AgentState.CADENCE_TIMES - 1));
            while (gone < count && latest[gone] <= before) {
                gone++;
            }
            count -= gone;
            if (gone > 0) {
                System.arraycopy(latest, gone, latest, 0, count);
            }
            if (count == latest.length) {
                latest = agent.latest = Arrays.copyOf(latest, Math.min(AgentState.CADENCE_TIMES, count * 2));
            }
            latest[count++] = time;
        } else if (time > before) {
            int at = Arrays.binarySearch(latest, 0, count, time);
            if (at < 0) {
                at = -at - 1;
                if (count < AgentState.CADENCE_TIMES) {
                    if (count == latest.length) {
                        latest = agent.latest = Arrays.copyOf(latest, Math.min(AgentState.CADENCE_TIMES, count * 2));
                    }
                    System.arraycopy(latest, at, latest, at + 1, count - at);
                    latest[at] = time;
                    count++;
                } else if (at > 0) {
                    System.arraycopy(latest, 1, latest, 0, at - 1);
                    latest[at - 1] = time;
                }
            }
        }
        agent.latestCount = count;
    }

    // ---- geo-stationarity

    private void geo(AgentState agent, Transaction tx) {
        if (!tx.ownLocation) {
            return;
        }
        if (agent.located < AgentState.HOME_PAYMENTS) {
            if (agent.firstLat == null) {
                agent.firstLat = new int[AgentState.HOME_PAYMENTS];
                agent.firstLng = new int[AgentState.HOME_PAYMENTS];
            }
            agent.firstLat[agent.located] = tx.latE7;
            agent.firstLng[agent.located++] = tx.lngE7;
            if (agent.located < AgentState.HOME_PAYMENTS) {
                return;
            }
            Arrays.sort(agent.firstLat);
            agent.homeLat = agent.firstLat[AgentState.HOME_PAYMENTS / 2];
            agent.homeLng = circularMedian(agent.firstLng);
            agent.firstLat = null;
            agent.firstLng = null;
        }
        if (tx.latE7 == agent.homeLat && tx.lngE7 == agent.homeLng) {
            return;
        }
        double km = Math.rint(distance(agent.homeLat, agent.homeLng, tx.latE7, tx.lngE7) * 1000) / 1000;
        if (km <= RADIUS_KM) {
            return;
        }
        heldCount = 0;
        hold(Tier.GEO_MOVED, Tier.GEO_MOVED.points(1));
        raise(0, new Evidence().figure("measure", km).figure("threshold", RADIUS_KM),
                "The agent paid from about " + (long) km + " kilometres away from where it always runs.");
    }

    static double distance(int latA, int lngA, int latB, int lngB) {
        double a = Math.toRadians(latA / 1e7);
        double b = Math.toRadians(latB / 1e7);
        double halfLat = Math.sin((b - a) / 2);
        double halfLng = Math.sin(Math.toRadians((lngB / 1e7 - lngA / 1e7)) / 2);
        double haversine = halfLat * halfLat + Math.cos(a) * Math.cos(b) * halfLng * halfLng;
        return 2 * EARTH_KM * Math.asin(Math.sqrt(Math.min(1, haversine)));
    }

    private static int circularMedian(int[] longitudes) {
        long least = Long.MAX_VALUE;
        int median = 0;
        for (int candidate : longitudes) {
            long total = 0;
            for (int other : longitudes) {
                long apart = Math.abs((long) candidate - other);
                total += Math.min(apart, 3_600_000_000L - apart);
            }
            if (total < least || total == least && candidate < median) {
                least = total;
                median = candidate;
            }
        }
        return median;
    }

    // ---- input

    private void input(Transaction tx, boolean skewed, long watermark, boolean rated) {
        heldCount = 0;
        if (skewed) {
            hold(Tier.INPUT_CLOCK_SKEW, 0);
        }
        if (tx.timeUs < watermark) {
            hold(Tier.INPUT_LATE, 0);
        }
        if (!rated) {
            hold(Tier.INPUT_NO_RATE, 0);
        }
        int best = strongest();
        Evidence evidence = new Evidence();
        String reason = switch (held[best]) {
            case INPUT_CLOCK_SKEW -> {
                evidence.decimal("measure", (tx.timeUs - tx.recordUs) * 100);
                yield "The payment is dated later than the time it was recorded.";
            }
            case INPUT_LATE -> {
                evidence.decimal("measure", (watermark - tx.timeUs) * 100);
                yield "The payment arrived too late to be compared with those made around it.";
            }
            default -> {
                evidence.text("currency", tx.currency);
                yield "There is no exchange rate for the payment's currency.";
            }
        };
        raise(best, evidence, reason);
    }
}
