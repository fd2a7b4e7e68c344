package peers.core;

/**
 * The watermark of a stream of transactions. A clock more than a day ahead is set aside, until a hundred in a row
 * say the same; simpler than Weir's, which judges those again in order of time.
 */
public final class Watermark {
    public static final long MAX_LATENESS = 5 * Time.MINUTE;
    private static final int SET_ASIDE_MAX = 100;

    private long greatest = Long.MIN_VALUE;
    private int setAside;

    /** Takes a transaction's time in; gives the watermark. */
    public long observe(long countingUs) {
        if (countingUs > greatest) {
            if (greatest == Long.MIN_VALUE || countingUs - greatest <= Time.DAY || ++setAside >= SET_ASIDE_MAX) {
                greatest = countingUs;
                setAside = 0;
            }
        } else {
            setAside = 0;
        }
        return get();
    }

    public void restore(long greatestUs) {
        greatest = Math.max(greatest, greatestUs);
    }

    public long greatest() {
        return greatest;
    }

    public long get() {
        return greatest == Long.MIN_VALUE ? greatest : greatest - MAX_LATENESS;
    }
}
