package peers.flink;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The plain views of the specification as Flink SQL. Over {@code transactions} (accepted, repeats removed; times in
 * microseconds, amounts in 1e-8, degrees in 1e-7, all BIGINT) and {@code mandates} (newest of each id). Without
 * configured currency rates and merchant categories, as is the default: other currencies than USD are in no pair, and
 * every row of scope is strict.
 */
final class Views {
    static final Map<String, String> ALL = new LinkedHashMap<>();

    static {
        ALL.put("burst", """
                SELECT agent_id, user_id, MAX(n) AS peak_burst_count, MIN(tx_us) AS burst_start, MAX(tx_us) AS burst_end
                FROM (
                    SELECT agent_id, user_id, tx_us, COUNT(*) OVER (
                        PARTITION BY user_id, agent_id ORDER BY tx_us RANGE BETWEEN 60000000 PRECEDING AND CURRENT ROW) AS n
                    FROM transactions WHERE NOT late)
                WHERE n >= 5
                GROUP BY agent_id, user_id""");
        ALL.put("replay", """
                SELECT m.mandate_id, t.agent_id, t.user_id, m.max_amount, COUNT(*) AS use_count,
                    SUM(t.amount) AS cumulative_spend, SUM(t.amount) - m.max_amount AS over_amount
                FROM transactions AS t JOIN mandates AS m ON m.mandate_id = t.mandate_id
                WHERE m.max_amount IS NOT NULL AND m.cap_period = 'lifetime' AND t.currency = m.currency
                GROUP BY m.mandate_id, t.agent_id, t.user_id, m.max_amount
                HAVING SUM(t.amount) > m.max_amount""");
        ALL.put("replay_window", """
                SELECT t.tx_id, t.mandate_id, t.agent_id, t.user_id, t.tx_us, m.valid_from, m.valid_to
                FROM transactions AS t JOIN mandates AS m ON m.mandate_id = t.mandate_id
                WHERE t.tx_us < m.valid_from OR t.tx_us > m.valid_to""");
        ALL.put("scope", """
                SELECT t.tx_id, t.agent_id, t.user_id, t.mandate_id, m.scope_merchant AS allowed_merchant,
                    t.merchant AS actual_merchant, t.amount, t.tx_us, 'strict' AS tier
                FROM transactions AS t JOIN mandates AS m ON m.mandate_id = t.mandate_id
                WHERE t.merchant <> m.scope_merchant""");
        ALL.put("collusion", """
                SELECT a.user_id, a.agent_id AS agent_a, b.agent_id AS agent_b, COUNT(*) AS coordinated_pair_count,
                    SUM(a.amount + b.amount) AS coordinated_total_amount
                FROM (SELECT user_id, agent_id, tx_us, amount, tx_us / 10000001 AS bucket
                      FROM transactions WHERE NOT late AND currency = 'USD') AS a
                JOIN (SELECT user_id, agent_id, tx_us, amount, tx_us / 10000001 + side.step AS bucket
                      FROM transactions CROSS JOIN (VALUES (-1), (0), (1)) AS side (step)
                      WHERE NOT late AND currency = 'USD') AS b
                    ON b.user_id = a.user_id AND b.bucket = a.bucket
                WHERE a.agent_id < b.agent_id
                  AND b.tx_us - a.tx_us BETWEEN -10000000 AND 10000000
                  AND b.amount - a.amount > -1000000000 AND b.amount - a.amount < 1000000000
                GROUP BY a.user_id, a.agent_id, b.agent_id
                HAVING COUNT(*) >= 2""");
        ALL.put("cross_merchant", """
                WITH shown AS (
                    SELECT DISTINCT agent_id, user_id, category, tx_us FROM transactions WHERE NOT late AND category IS NOT NULL),
                followed AS (
                    SELECT agent_id, user_id, tx_us,
                        LEAD(tx_us) OVER (PARTITION BY user_id, agent_id, category ORDER BY tx_us) AS next_us
                    FROM shown),
                changes AS (
                    SELECT agent_id, user_id, tx_us AS changed_us, 1 AS change FROM followed
                    UNION ALL
                    SELECT agent_id, user_id,
                        CASE WHEN next_us <= tx_us + 300000000 THEN next_us ELSE tx_us + 300000001 END AS changed_us, -1 AS change
                    FROM followed),
                counted AS (
                    SELECT agent_id, user_id, SUM(change) OVER (
                        PARTITION BY user_id, agent_id ORDER BY changed_us RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS n
                    FROM changes)
                SELECT agent_id, user_id, MAX(n) AS peak_categories
                FROM counted
                GROUP BY agent_id, user_id
                HAVING MAX(n) >= 4""");
        ALL.put("cadence", """
                WITH gaps AS (
                    SELECT agent_id, user_id, CAST(tx_us - LAG(tx_us) OVER (
                        PARTITION BY user_id, agent_id ORDER BY tx_us, tx_id) AS DOUBLE) / 1e6 AS gap
                    FROM transactions WHERE NOT late),
                sums AS (
                    SELECT agent_id, user_id, COUNT(gap) AS n, SUM(gap) AS total, SUM(gap * gap) AS squares
                    FROM gaps GROUP BY agent_id, user_id)
                SELECT agent_id, user_id, total / n AS mean_gap, SQRT((n * squares - total * total) / (n * (n - 1e0))) AS stddev_gap,
                    n AS sample_size
                FROM sums
                WHERE n >= 10 AND n * squares - total * total < n * (n - 1e0) AND total < 30 * n""");
        ALL.put("geo_stationarity", """
                SELECT agent_id, user_id, COUNT(*) AS tx_count,
                    STDDEV_SAMP(CAST(lat_e7 AS DOUBLE)) / 1e7 AS lat_stddev, STDDEV_SAMP(CAST(lng_e7 AS DOUBLE)) / 1e7 AS lng_stddev,
                    CAST(MAX(lat_e7) - MIN(lat_e7) AS DOUBLE) / 1e7 AS lat_range,
                    CAST(MAX(lng_e7) - MIN(lng_e7) AS DOUBLE) / 1e7 AS lng_range
                FROM transactions WHERE lat_e7 IS NOT NULL
                GROUP BY agent_id, user_id
                HAVING COUNT(*) >= 5
                   AND (MAX(lat_e7) - MIN(lat_e7) > 10000000 OR MAX(lng_e7) - MIN(lng_e7) > 10000000)""");
    }

    private Views() {}
}
