package peers.core;

/** The outcome of one transaction. */
public final class Decision {
    static final Signal[] NO_SIGNALS = {};

    public Transaction tx;
    public Action action = Action.ALLOW;
    public String decidedBy = "none";
    public String level = "normal";
    public long composite;
    public int score;
    public boolean late;
    /** Strongest first. */
    public Signal[] signals = NO_SIGNALS;
    public Mandate mandate;
    public long spentBefore;

    public boolean flagged() {
        return signals.length > 0;
    }
}
