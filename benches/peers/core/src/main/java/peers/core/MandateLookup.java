package peers.core;

/** What the engine asks of the mandates. */
public interface MandateLookup {
    /** The mandate of this id, or null. */
    Mandate byId(String mandateId);

    /** Of the agent's mandates that are active and in date at this time the one of least id, or null. */
    Mandate usableOf(String userId, String agentId, long timeUs);
}
