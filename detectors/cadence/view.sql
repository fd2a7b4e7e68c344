-- Agents whose payments follow one another as regularly as a clock. Of n gaps with sum S and sum of
-- squares Q, in microseconds, the mean is S / n and the sample variance (n Q - S S) / (n (n - 1)).
-- Conditions compare these as whole numbers; a float is only the last step of a printed figure.
WITH gaps AS (
    SELECT
        agent_id,
        user_id,
        tx_time - LAG(tx_time) OVER (
            PARTITION BY user_id, agent_id
            ORDER BY tx_time, tx_id
        ) AS gap_us
    FROM transactions
    WHERE NOT late
),
sums AS (
    SELECT
        agent_id,
        user_id,
        COUNT(gap_us) AS n,
        CAST(COUNT(gap_us) AS DECIMAL(76, 0)) AS gaps,
        CAST(SUM(gap_us) AS DECIMAL(76, 0)) AS total,
        CAST(SUM(CAST(gap_us AS DECIMAL(19, 0)) * CAST(gap_us AS DECIMAL(19, 0))) AS DECIMAL(76, 0)) AS squares
    FROM gaps
    GROUP BY agent_id, user_id
    HAVING COUNT(gap_us) >= $cadence_min_gaps
),
spreads AS (
    SELECT
        agent_id,
        user_id,
        n,
        gaps,
        total,
        gaps * squares - total * total AS spread,
        gaps * (gaps - CAST(1 AS DECIMAL(76, 0))) AS pairs
    FROM sums
)
SELECT
    agent_id,
    user_id,
    CAST(total AS DOUBLE) / CAST(n AS DOUBLE) / 1e6 AS mean_gap,
    SQRT(CAST(spread AS DOUBLE) / CAST(pairs AS DOUBLE)) / 1e6 AS stddev_gap,
    n AS sample_size
FROM spreads
WHERE spread < pairs
        * CAST($cadence_max_stddev_us AS DECIMAL(76, 0))
        * CAST($cadence_max_stddev_us AS DECIMAL(76, 0))
  AND total < gaps * CAST($cadence_max_mean_us AS DECIMAL(76, 0))
