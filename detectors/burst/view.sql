-- Agents that made at least $burst_min_count payments within one window. The window of a payment
-- is inclusive at both ends and holds the payment itself and every other one of the same instant.
WITH counted AS (
    SELECT
        agent_id,
        user_id,
        tx_time,
        COUNT(*) OVER (
            PARTITION BY user_id, agent_id
            ORDER BY tx_time
            RANGE BETWEEN $burst_window_us PRECEDING AND CURRENT ROW
        ) AS burst_count
    FROM transactions
    WHERE NOT late
)
SELECT
    agent_id,
    user_id,
    MAX(burst_count) AS peak_burst_count,
    MIN(tx_time) AS burst_start,
    MAX(tx_time) AS burst_end
FROM counted
WHERE burst_count >= $burst_min_count
GROUP BY agent_id, user_id
