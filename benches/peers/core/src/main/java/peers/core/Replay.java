package peers.core;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;

/** Decides recorded files in one thread, to compare with `weir replay`: TRANSACTIONS MANDATES [OUT]. */
public final class Replay {
    private Replay() {}

    public static void main(String[] args) throws Exception {
        MandateTable mandates = new MandateTable();
        long offset = 0;
        for (byte[] line : lines(Path.of(args[1]))) {
            Mandate mandate = Json.mandate(line);
            if (mandate != null) {
                mandate.offset = offset++;
                mandates.put(mandate);
            }
        }
        Map<String, UserState> users = new HashMap<>();
        Map<String, Integer> counts = new TreeMap<>();
        Engine engine = new Engine();
        DecisionEncoder encoder = new DecisionEncoder();
        Watermark watermark = new Watermark();
        byte[][] transactions = lines(Path.of(args[0]));
        long begun = System.nanoTime();
        try (OutputStream out = args.length > 2
                ? new BufferedOutputStream(Files.newOutputStream(Path.of(args[2])), 1 << 20) : OutputStream.nullOutputStream()) {
            for (byte[] line : transactions) {
                Transaction tx = Json.transaction(line);
                if (tx.error != null) {
                    counts.merge("reject." + tx.error, 1, Integer::sum);
                    continue;
                }
                UserState user = users.computeIfAbsent(tx.userId, id -> new UserState());
                Decision decision = engine.decide(user, tx, mandates, watermark.observe(tx.countingUs()));
                if (decision == Engine.DUPLICATE || decision == Engine.TOO_OLD) {
                    counts.merge(decision == Engine.DUPLICATE ? "duplicate" : "too_old", 1, Integer::sum);
                    continue;
                }
                counts.merge("action." + decision.action.label, 1, Integer::sum);
                for (Signal signal : decision.signals) {
                    counts.merge(signal.tier.code, 1, Integer::sum);
                }
                out.write(encoder.encode(decision));
                out.write('\n');
            }
        }
        double seconds = (System.nanoTime() - begun) / 1e9;
        counts.forEach((name, count) -> System.out.println(name + " " + count));
        System.out.printf("%d records in %.2f s, %.0f per second%n", transactions.length, seconds, transactions.length / seconds);
    }

    private static byte[][] lines(Path path) throws Exception {
        try (BufferedInputStream in = new BufferedInputStream(Files.newInputStream(path))) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().filter(line -> !line.isBlank())
                    .map(line -> line.getBytes(StandardCharsets.UTF_8)).toArray(byte[][]::new);
        }
    }
}
