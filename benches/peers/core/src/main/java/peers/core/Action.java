package peers.core;

/** From weakest to strongest. */
public enum Action {
    ALLOW("allow"), CHALLENGE("challenge"), REVIEW("review"), BLOCK("block");

    public final String label;

    Action(String label) {
        this.label = label;
    }
}
