package peers.flink;

import peers.core.Args;
import peers.core.Stats;

/** The peers on Flink: --job process or --job sql. */
public final class Main {
    static final Stats STATS = new Stats();

    private Main() {}

    public static void main(String[] argv) throws Exception {
        Args args = new Args(argv);
        switch (args.get("job", "process")) {
            case "process" -> ProcessJob.run(args);
            case "sql" -> SqlJob.run(args);
            default -> throw new IllegalArgumentException("--job is process or sql");
        }
    }
}
