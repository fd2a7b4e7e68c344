SELECT
    agent_id, user_id, AVG(gap) / 1e6 AS mean_gap, STDDEV_SAMP(gap) / 1e6 AS stddev_gap, COUNT(gap) AS sample_size
FROM (
    SELECT agent_id, user_id, tx_time - LAG(tx_time) OVER (
        PARTITION BY user_id, agent_id ORDER BY tx_time, tx_id
    ) AS gap
    FROM transactions
    WHERE NOT late
)
GROUP BY agent_id, user_id
HAVING COUNT(gap) >= 10 AND STDDEV_SAMP(gap) < 1e6 AND AVG(gap) < 30e6
