SELECT agent_id, user_id, MAX(n) AS peak_burst_count, MIN(tx_time) AS burst_start, MAX(tx_time) AS burst_end
FROM (
    SELECT agent_id, user_id, tx_time, COUNT(*) OVER (
        PARTITION BY user_id, agent_id ORDER BY tx_time RANGE BETWEEN 60000000 PRECEDING AND CURRENT ROW
    ) AS n
    FROM transactions
    WHERE NOT late
)
WHERE n >= 5
GROUP BY agent_id, user_id
