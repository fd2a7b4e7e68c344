package peers.core;

import java.util.Arrays;

/** What is kept of one agent of a user: columns in primitive arrays, sorted by time. */
public final class AgentState {
    static final int CADENCE_TIMES = 21;
    static final int HOME_PAYMENTS = 5;

    public final String id;

    // On-time payments of the last minutes, ties in order of arrival.
    int count;
    long[] times = new long[4];
    long[] groups = new long[4];
    long[] equal = new long[4];

    // The latest distinct times.
    int latestCount;
    long[] latest = new long[4];

    // The first located payments until they fix the home.
    int located;
    int[] firstLat;
    int[] firstLng;
    int homeLat;
    int homeLng;

    // Groups ever used with their first use.
    int known;
    long[] knownGroups = new long[2];
    long[] knownFirst = new long[2];
    /** Payments, up to ten, and the latest time among them. */
    int learned;
    long learnedUs = Long.MIN_VALUE;
    /** The breadth learned; and breadths not yet ripe, times and breadths both rising. */
    int usual;
    int rising;
    long[] risingUs = new long[0];
    int[] risingBreadth = new int[0];

    /** Null for the many that never had a burst. */
    Bursts bursts;

    public AgentState(String id) {
        this.id = id;
    }

    /** First payment not before a time. */
    int from(long timeUs) {
        int at = count;
        // Nearly always near the end.
        while (at > 0 && at > count - 8 && times[at - 1] >= timeUs) {
            at--;
        }
        if (at > 0 && times[at - 1] >= timeUs) {
            int low = 0;
            while (low < at) {
                int middle = (low + at) >>> 1;
                if (times[middle] < timeUs) {
                    low = middle + 1;
                } else {
                    at = middle;
                }
            }
            return low;
        }
        return at;
    }

    /** First payment after a time. */
    int after(long timeUs) {
        return timeUs == Long.MAX_VALUE ? count : from(timeUs + 1);
    }

    /** Puts a payment where it belongs, and drops what no window can hold any more. */
    void add(long timeUs, long group, long equalKey, long horizonUs) {
        if (count > 0 && times[0] < horizonUs) {
            int gone = from(horizonUs);
            count -= gone;
            System.arraycopy(times, gone, times, 0, count);
            System.arraycopy(groups, gone, groups, 0, count);
            System.arraycopy(equal, gone, equal, 0, count);
        }
        if (count == times.length) {
            int more = count * 2;
            times = Arrays.copyOf(times, more);
            groups = Arrays.copyOf(groups, more);
            equal = Arrays.copyOf(equal, more);
        }
        int at = after(timeUs);
        if (at < count) {
            System.arraycopy(times, at, times, at + 1, count - at);
            System.arraycopy(groups, at, groups, at + 1, count - at);
            System.arraycopy(equal, at, equal, at + 1, count - at);
        }
        times[at] = timeUs;
        groups[at] = group;
        equal[at] = equalKey;
        count++;
    }

    boolean knows(long group, long beforeUs) {
        for (int at = 0; at < known; at++) {
            if (knownGroups[at] == group) {
                return knownFirst[at] < beforeUs;
            }
        }
        return false;
    }

    void learnGroup(long group, long timeUs) {
        if (group == 0) {
            return;
        }
        for (int at = 0; at < known; at++) {
            if (knownGroups[at] == group) {
                knownFirst[at] = Math.min(knownFirst[at], timeUs);
                return;
            }
        }
        if (known == knownGroups.length) {
            knownGroups = Arrays.copyOf(knownGroups, known * 2);
            knownFirst = Arrays.copyOf(knownFirst, known * 2);
        }
        knownGroups[known] = group;
        knownFirst[known++] = timeUs;
    }

    /** The breadth learned from payments before a time. */
    int usual(long beforeUs) {
        int ripe = 0;
        while (ripe < rising && risingUs[ripe] < beforeUs) {
            usual = Math.max(usual, risingBreadth[ripe++]);
        }
        if (ripe > 0) {
            rising -= ripe;
            System.arraycopy(risingUs, ripe, risingUs, 0, rising);
            System.arraycopy(risingBreadth, ripe, risingBreadth, 0, rising);
        }
        return usual;
    }

    void learnBreadth(long timeUs, int breadth) {
        breadth = Math.min(breadth, 8);
        if (breadth <= usual) {
            return;
        }
        int at = rising;
        while (at > 0 && risingUs[at - 1] > timeUs) {
            at--;
        }
        if (at > 0 && risingBreadth[at - 1] >= breadth) {
            return;
        }
        int end = at;
        while (end < rising && risingBreadth[end] <= breadth) {
            end++;
        }
        int left = rising - end;
        long[] us = new long[at + 1 + left];
        int[] breadths = new int[at + 1 + left];
        System.arraycopy(risingUs, 0, us, 0, at);
        System.arraycopy(risingBreadth, 0, breadths, 0, at);
        System.arraycopy(risingUs, end, us, at + 1, left);
        System.arraycopy(risingBreadth, end, breadths, at + 1, left);
        us[at] = timeUs;
        breadths[at] = breadth;
        risingUs = us;
        risingBreadth = breadths;
        rising = us.length;
    }

    void write(Buf out) {
        out.text(id);
        out.uv(count);
        long before = 0;
        for (int at = 0; at < count; at++) {
            out.sv(times[at] - before);
            before = times[at];
            number(out, groups[at]);
            out.i64(equal[at]);
        }
        out.uv(latestCount);
        before = 0;
        for (int at = 0; at < latestCount; at++) {
            out.sv(latest[at] - before);
            before = latest[at];
        }
        out.uv(located);
        if (located >= HOME_PAYMENTS) {
            out.sv(homeLat);
            out.sv(homeLng);
        } else {
            for (int at = 0; at < located; at++) {
                out.sv(firstLat[at]);
                out.sv(firstLng[at]);
            }
        }
        out.uv(known);
        for (int at = 0; at < known; at++) {
            number(out, knownGroups[at]);
            out.sv(knownFirst[at]);
        }
        out.uv(learned);
        if (learned > 0) {
            out.sv(learnedUs);
        }
        out.uv(usual);
        out.uv(rising);
        for (int at = 0; at < rising; at++) {
            out.sv(risingUs[at]);
            out.uv(risingBreadth[at]);
        }
        out.bool(bursts != null);
        if (bursts != null) {
            bursts.write(out);
        }
    }

    static AgentState read(Buf in) {
        AgentState agent = new AgentState(in.text());
        agent.count = in.uvInt();
        int room = Math.max(4, agent.count);
        agent.times = new long[room];
        agent.groups = new long[room];
        agent.equal = new long[room];
        long before = 0;
        for (int at = 0; at < agent.count; at++) {
            before += in.sv();
            agent.times[at] = before;
            agent.groups[at] = number(in);
            agent.equal[at] = in.i64();
        }
        agent.latestCount = in.uvInt();
        agent.latest = new long[Math.max(4, agent.latestCount)];
        before = 0;
        for (int at = 0; at < agent.latestCount; at++) {
            before += in.sv();
            agent.latest[at] = before;
        }
        agent.located = in.uvInt();
        if (agent.located >= HOME_PAYMENTS) {
            agent.homeLat = (int) in.sv();
            agent.homeLng = (int) in.sv();
        } else if (agent.located > 0) {
            agent.firstLat = new int[HOME_PAYMENTS];
            agent.firstLng = new int[HOME_PAYMENTS];
            for (int at = 0; at < agent.located; at++) {
                agent.firstLat[at] = (int) in.sv();
                agent.firstLng[at] = (int) in.sv();
            }
        }
        agent.known = in.uvInt();
        agent.knownGroups = new long[Math.max(2, agent.known)];
        agent.knownFirst = new long[Math.max(2, agent.known)];
        for (int at = 0; at < agent.known; at++) {
            agent.knownGroups[at] = number(in);
            agent.knownFirst[at] = in.sv();
        }
        agent.learned = in.uvInt();
        if (agent.learned > 0) {
            agent.learnedUs = in.sv();
        }
        agent.usual = in.uvInt();
        agent.rising = in.uvInt();
        agent.risingUs = new long[agent.rising];
        agent.risingBreadth = new int[agent.rising];
        for (int at = 0; at < agent.rising; at++) {
            agent.risingUs[at] = in.sv();
            agent.risingBreadth[at] = in.uvInt();
        }
        agent.bursts = in.bool() ? Bursts.read(in) : null;
        return agent;
    }

    /** A group: a small number, or a hash with the high bit set. */
    private static void number(Buf out, long group) {
        if (group >= 0) {
            out.u8((int) group);
        } else {
            out.u8(255);
            out.i64(group);
        }
    }

    private static long number(Buf in) {
        int small = in.u8();
        return small == 255 ? in.i64() : small;
    }
}
