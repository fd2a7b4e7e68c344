-- Pairs of payments by two agents of one user, close in time and in amount. Amounts are in the base
-- currency; a payment whose currency has no rate is in no pair.
WITH priced AS (
    SELECT
        user_id,
        agent_id,
        tx_time,
        to_base(amount, currency) AS amount
    FROM transactions
    WHERE NOT late
      AND to_base(amount, currency) IS NOT NULL
),
-- The buckets only spare the join of all payments of a user with all others: a bucket is wider than
-- the gap, so two payments within the gap lie in one bucket or in adjacent ones.
bucketed AS (
    SELECT *, tx_time / ($collusion_max_gap_us + 1) AS bucket
    FROM priced
),
reachable AS (
    SELECT b.user_id, b.agent_id, b.tx_time, b.amount, b.bucket + side.step AS bucket
    FROM bucketed AS b
    CROSS JOIN (VALUES (-1), (0), (1)) AS side (step)
)
SELECT
    a.user_id,
    a.agent_id AS agent_a,
    b.agent_id AS agent_b,
    COUNT(*) AS coordinated_pair_count,
    -- Summed wider than it is given, because a sum that passes the end of its type does so unseen.
    CAST(SUM(CAST(a.amount + b.amount AS DECIMAL(76, 8))) AS DECIMAL(38, 8)) AS coordinated_total_amount
FROM bucketed AS a
JOIN reachable AS b ON b.user_id = a.user_id AND b.bucket = a.bucket
WHERE a.agent_id < b.agent_id
  AND b.tx_time - a.tx_time BETWEEN -$collusion_max_gap_us AND $collusion_max_gap_us
  AND b.amount - a.amount > -$collusion_max_amount_difference
  AND b.amount - a.amount < $collusion_max_amount_difference
GROUP BY a.user_id, a.agent_id, b.agent_id
HAVING COUNT(*) >= $collusion_min_pairs
