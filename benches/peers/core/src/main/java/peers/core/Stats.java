package peers.core;

import java.util.Locale;
import java.util.concurrent.atomic.LongAdder;

/** What was done with the records, for the line a second and the last one. */
public final class Stats {
    private static final Action[] ACTIONS = Action.values();

    private final LongAdder[] actions = new LongAdder[ACTIONS.length];
    private final LongAdder duplicates = new LongAdder();
    private final LongAdder tooOld = new LongAdder();
    private final LongAdder read = new LongAdder();
    private final LongAdder rejects = new LongAdder();
    private final long begunNs = System.nanoTime();

    public Stats() {
        for (int at = 0; at < actions.length; at++) {
            actions[at] = new LongAdder();
        }
    }

    public void decided(Decision decision) {
        actions[decision.action.ordinal()].increment();
    }

    public void dropped(Decision why) {
        (why == Engine.DUPLICATE ? duplicates : tooOld).increment();
    }

    /** A record that was read and is not decided. */
    public void read() {
        read.increment();
    }

    public void rejected() {
        rejects.increment();
    }

    public long records() {
        long sum = duplicates.sum() + tooOld.sum() + rejects.sum() + read.sum();
        for (LongAdder action : actions) {
            sum += action.sum();
        }
        return sum;
    }

    private String start() {
        return String.format(Locale.ROOT, "{\"records\":%d,\"elapsed_s\":%.3f", records(), (System.nanoTime() - begunNs) / 1e9);
    }

    public String progress() {
        return start() + "}";
    }

    public String summary() {
        StringBuilder out = new StringBuilder(start());
        for (Action action : ACTIONS) {
            out.append(",\"").append(action.label).append("\":").append(actions[action.ordinal()].sum());
        }
        return out.append(",\"duplicates\":").append(duplicates.sum()).append(",\"too_old\":").append(tooOld.sum())
                .append(",\"rejects\":").append(rejects.sum()).append(",\"final\":true}").toString();
    }

    /** Prints the progress every second from a thread of its own. */
    public void print() {
        Thread thread = new Thread(() -> {
            while (true) {
                try {
                    Thread.sleep(1000);
                } catch (InterruptedException e) {
                    return;
                }
                System.out.println(progress());
            }
        }, "progress");
        thread.setDaemon(true);
        thread.start();
    }

    /** On SIGTERM: runs {@code stop} before any shutdown hook does anything; for a library that has hooks of its own. */
    public static void onTerm(Runnable stop) {
        sun.misc.Signal.handle(new sun.misc.Signal("TERM"), signal -> new Thread(stop, "stop").start());
    }

    /** On SIGTERM: runs {@code close}, prints the summary and ends the JVM with 0. */
    public void closeOnTerm(Runnable close) {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            int code = 0;
            try {
                close.run();
            } catch (RuntimeException e) {
                e.printStackTrace();
                code = 1;
            }
            System.out.println(summary());
            System.out.flush();
            Runtime.getRuntime().halt(code);
        }, "shutdown"));
    }
}
