package peers.core;

import java.util.Locale;
import java.util.Set;

/** A mandate as it is looked up: what is compared at every payment is worked out once. */
public final class Mandate {
    public enum Status { ACTIVE, PAUSED, REVOKED }

    public enum Period { LIFETIME, DAY, WEEK, MONTH }

    public String mandateId;
    public String agentId;
    public String userId;
    /** As sent, for evidence: scope_merchant, then allowed_merchants; null: any. */
    public String[] merchants;
    public String[] categories;
    /** scope_merchant alone, as sent; what the view of scope compares. */
    public String scopeMerchant;
    /** Normalized. */
    Set<String> merchantSet;
    Set<String> categorySet;
    public long maxAmount = Money.NONE;
    public Period period = Period.LIFETIME;
    public long perTransactionMax = Money.NONE;
    public long maxUses = -1;
    public String currency = "USD";
    /** 1e-8 per second; {@link Money#NONE} where there is none. */
    public long authorizedTps = Money.NONE;
    public long validFrom = Time.NONE;
    public long validTo = Time.NONE;
    public Status status = Status.ACTIVE;
    /** Where it was read, so that an older version never replaces a newer one. */
    public long offset = -1;
    public boolean deleted;

    public boolean heldBy(Transaction tx) {
        return agentId.equals(tx.agentId) && userId.equals(tx.userId);
    }

    public boolean inDate(long timeUs) {
        return !isExpired(timeUs) && !isEarly(timeUs);
    }

    public boolean isExpired(long timeUs) {
        return validTo != Time.NONE && timeUs > validTo;
    }

    public boolean isEarly(long timeUs) {
        return validFrom != Time.NONE && timeUs < validFrom;
    }

    public boolean usableAt(long timeUs) {
        return status == Status.ACTIVE && inDate(timeUs);
    }

    /** Whether it has a merchant scope, a category list or a cap. */
    public boolean binds() {
        return merchantSet != null || categorySet != null || maxAmount != Money.NONE;
    }

    public boolean allowsMerchant(String merchant) {
        return merchantSet == null || merchantSet.contains(normalize(merchant));
    }

    public boolean allowsCategory(String category) {
        return categorySet == null || category != null && categorySet.contains(category.trim().toLowerCase(Locale.ROOT));
    }

    /** Trimmed, lower case, without leading www.; the same object where it already is. */
    public static String normalize(String merchant) {
        String lowered = merchant.trim().toLowerCase(Locale.ROOT);
        return lowered.startsWith("www.") ? lowered.substring(4) : lowered;
    }
}
