package peers.core;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Everything that is kept of a user: the agents, the ledgers of the mandates, and the payments of the last 24 hours,
 * which are both the memory of repeats and what collusion looks at.
 */
public final class UserState {
    private static final int VERSION = 1;
    /** Past this many remembered payments repeats are looked up in a hash table instead of by a scan. */
    private static final int SCAN_MAX = 64;
    /** Agent number of a payment that is remembered as a repeat only: a late one. */
    static final int LATE = -1;

    final List<AgentState> agents = new ArrayList<>(2);
    final List<Ledger> ledgers = new ArrayList<>(2);

    // Payments of the last 24 hours, sorted by time.
    int count;
    long[] times = new long[4];
    long[] txs = new long[4];
    int[] agentOf = new int[4];
    /** Base currency; {@link Money#NONE} without a rate. */
    long[] amounts = new long[4];

    /** Open addressing over {@code txs}; built when first needed and never stored. */
    private long[] seen;
    private int seenCount;

    int agent(String id) {
        for (int at = 0; at < agents.size(); at++) {
            if (agents.get(at).id.equals(id)) {
                return at;
            }
        }
        agents.add(new AgentState(id));
        return agents.size() - 1;
    }

    Ledger ledger(String mandateId) {
        for (int at = 0; at < ledgers.size(); at++) {
            if (ledgers.get(at).mandateId.equals(mandateId)) {
                return ledgers.get(at);
            }
        }
        Ledger ledger = new Ledger(mandateId);
        ledgers.add(ledger);
        return ledger;
    }

    /** First payment not before a time. */
    int from(long timeUs) {
        int high = count;
        int low = 0;
        // Nearly always near the end.
        for (int step = 4; high > 0; step *= 4) {
            int at = Math.max(0, count - step);
            if (times[at] < timeUs) {
                low = at + 1;
                break;
            }
            high = at;
        }
        while (low < high) {
            int middle = (low + high) >>> 1;
            if (times[middle] < timeUs) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }

    void prune(long horizonUs) {
        if (count == 0 || times[0] >= horizonUs) {
            return;
        }
        int gone = from(horizonUs);
        // Moved at once for many; that times[0] is stale costs nothing but the memory.
        if (gone * 4 < count) {
            return;
        }
        count -= gone;
        System.arraycopy(times, gone, times, 0, count);
        System.arraycopy(txs, gone, txs, 0, count);
        System.arraycopy(agentOf, gone, agentOf, 0, count);
        System.arraycopy(amounts, gone, amounts, 0, count);
        seen = null;
    }

    /** Whether a transaction was seen; one that is only still in the array, past its time, does not matter. */
    boolean has(long tx) {
        if (count <= SCAN_MAX) {
            for (int at = count - 1; at >= 0; at--) {
                if (txs[at] == tx) {
                    return true;
                }
            }
            return false;
        }
        if (seen == null) {
            rebuild(Math.max(256, Integer.highestOneBit(count) * 4));
        }
        int mask = seen.length - 1;
        for (int at = (int) tx & mask; seen[at] != 0; at = (at + 1) & mask) {
            if (seen[at] == tx) {
                return true;
            }
        }
        return false;
    }

    private void rebuild(int size) {
        seen = new long[size];
        seenCount = 0;
        for (int at = 0; at < count; at++) {
            enter(txs[at]);
        }
    }

    private void enter(long tx) {
        int mask = seen.length - 1;
        int at = (int) tx & mask;
        while (seen[at] != 0) {
            at = (at + 1) & mask;
        }
        seen[at] = tx;
        seenCount++;
    }

    void add(long timeUs, long tx, int agent, long amount) {
        if (count == times.length) {
            int more = count * 2;
            times = Arrays.copyOf(times, more);
            txs = Arrays.copyOf(txs, more);
            agentOf = Arrays.copyOf(agentOf, more);
            amounts = Arrays.copyOf(amounts, more);
        }
        int at = from(timeUs + 1);
        if (at < count) {
            System.arraycopy(times, at, times, at + 1, count - at);
            System.arraycopy(txs, at, txs, at + 1, count - at);
            System.arraycopy(agentOf, at, agentOf, at + 1, count - at);
            System.arraycopy(amounts, at, amounts, at + 1, count - at);
        }
        times[at] = timeUs;
        txs[at] = tx;
        agentOf[at] = agent;
        amounts[at] = amount;
        count++;
        if (seen != null) {
            if (seenCount * 2 >= seen.length) {
                rebuild(seen.length * 2);
            } else {
                enter(tx);
            }
        }
    }

    public void write(Buf out) {
        out.u8(VERSION);
        out.uv(count);
        long before = 0;
        for (int at = 0; at < count; at++) {
            out.sv(times[at] - before);
            before = times[at];
            out.i64(txs[at]);
            out.uv(agentOf[at] + 1);
            out.sv(amounts[at]);
        }
        out.uv(agents.size());
        for (int at = 0; at < agents.size(); at++) {
            agents.get(at).write(out);
        }
        out.uv(ledgers.size());
        for (int at = 0; at < ledgers.size(); at++) {
            ledgers.get(at).write(out);
        }
    }

    public byte[] toBytes(Buf scratch) {
        write(scratch.clear());
        return scratch.toBytes();
    }

    public static UserState read(Buf in) {
        int version = in.u8();
        if (version != VERSION) {
            throw new IllegalStateException("state of version " + version);
        }
        UserState user = new UserState();
        user.count = in.uvInt();
        int room = Math.max(4, user.count + (user.count >> 2));
        user.times = new long[room];
        user.txs = new long[room];
        user.agentOf = new int[room];
        user.amounts = new long[room];
        long before = 0;
        for (int at = 0; at < user.count; at++) {
            before += in.sv();
            user.times[at] = before;
            user.txs[at] = in.i64();
            user.agentOf[at] = in.uvInt() - 1;
            user.amounts[at] = in.sv();
        }
        int agents = in.uvInt();
        for (int at = 0; at < agents; at++) {
            user.agents.add(AgentState.read(in));
        }
        int ledgers = in.uvInt();
        for (int at = 0; at < ledgers; at++) {
            user.ledgers.add(Ledger.read(in));
        }
        return user;
    }
}
