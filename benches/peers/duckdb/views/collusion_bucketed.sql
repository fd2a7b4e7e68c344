-- A bucket is wider than the gap, so two payments within the gap lie in one bucket or in adjacent ones.
WITH priced AS (
    SELECT user_id, agent_id, tx_time, amount, tx_time // 10000001 AS bucket
    FROM transactions
    WHERE NOT late AND currency = 'USD'
),
reachable AS (
    SELECT user_id, agent_id, tx_time, amount, bucket + step AS bucket
    FROM priced, (VALUES (-1), (0), (1)) AS side (step)
)
SELECT
    a.user_id, a.agent_id AS agent_a, b.agent_id AS agent_b,
    COUNT(*) AS coordinated_pair_count, SUM(a.amount + b.amount) AS coordinated_total_amount
FROM priced AS a
JOIN reachable AS b ON b.user_id = a.user_id AND b.bucket = a.bucket
WHERE a.agent_id < b.agent_id
  AND b.tx_time - a.tx_time BETWEEN -10000000 AND 10000000
  AND ABS(b.amount - a.amount) < 10
GROUP BY a.user_id, a.agent_id, b.agent_id
HAVING COUNT(*) >= 2
