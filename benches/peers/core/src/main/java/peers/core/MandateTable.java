package peers.core;

import java.util.Arrays;
import java.util.concurrent.ConcurrentHashMap;

/** The mandates of a JVM by id and by holder; one writer or several, read by every processing thread. */
public final class MandateTable implements MandateLookup {
    private record Holder(String userId, String agentId) {}

    private static final Mandate[] NONE = {};

    private final ConcurrentHashMap<String, Mandate> byId = new ConcurrentHashMap<>();
    private final ConcurrentHashMap<Holder, Mandate[]> byHolder = new ConcurrentHashMap<>();

    @Override
    public Mandate byId(String mandateId) {
        Mandate mandate = byId.get(mandateId);
        return mandate == null || mandate.deleted ? null : mandate;
    }

    @Override
    public Mandate usableOf(String userId, String agentId, long timeUs) {
        for (Mandate mandate : byHolder.getOrDefault(new Holder(userId, agentId), NONE)) {
            if (mandate.usableAt(timeUs)) {
                return mandate;
            }
        }
        return null;
    }

    /** Takes a version in unless a newer one of the id is known. */
    public synchronized void put(Mandate mandate) {
        Mandate old = byId.get(mandate.mandateId);
        if (old != null && old.offset > mandate.offset) {
            return;
        }
        byId.put(mandate.mandateId, mandate);
        if (old != null && !old.deleted) {
            byHolder.computeIfPresent(new Holder(old.userId, old.agentId), (holder, held) -> {
                Mandate[] left = Arrays.stream(held).filter(one -> one != old).toArray(Mandate[]::new);
                return left.length == 0 ? null : left;
            });
        }
        if (!mandate.deleted) {
            byHolder.merge(new Holder(mandate.userId, mandate.agentId), new Mandate[] {mandate}, (held, one) -> {
                Mandate[] more = Arrays.copyOf(held, held.length + 1);
                more[held.length] = one[0];
                Arrays.sort(more, (a, b) -> a.mandateId.compareTo(b.mandateId));
                return more;
            });
        }
    }

    /** A tombstone. */
    public void remove(String mandateId, long offset) {
        Mandate gone = new Mandate();
        gone.mandateId = mandateId;
        gone.offset = offset;
        gone.deleted = true;
        put(gone);
    }

    public int size() {
        return byId.size();
    }
}
