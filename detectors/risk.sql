-- Every agent seen, with what the other views report of it and the weighted sum. What a view does
-- not report is 0.
WITH agents AS (
    SELECT DISTINCT agent_id, user_id
    FROM transactions
),
-- Overages stand in the mandate's currency; without a rate into the base currency they weigh nothing.
-- Summed wider than they are given, because a sum that passes the end of its type does so unseen.
overages AS (
    SELECT
        r.agent_id,
        r.user_id,
        CAST(SUM(CAST(COALESCE(to_base(r.over_amount, m.currency), 0) AS DECIMAL(76, 8))) AS DECIMAL(38, 8))
            AS over_amount
    FROM replay AS r
    JOIN mandates AS m ON m.mandate_id = r.mandate_id
    GROUP BY r.agent_id, r.user_id
),
violations AS (
    SELECT agent_id, user_id, COUNT(*) AS violations
    FROM scope
    GROUP BY agent_id, user_id
),
-- A pair counts for both of its agents.
sides AS (
    SELECT agent_a AS agent_id, user_id, coordinated_pair_count AS pairs
    FROM collusion
    UNION ALL
    SELECT agent_b AS agent_id, user_id, coordinated_pair_count AS pairs
    FROM collusion
),
coordination AS (
    SELECT agent_id, user_id, SUM(pairs) AS pairs
    FROM sides
    GROUP BY agent_id, user_id
),
measures AS (
    SELECT
        a.agent_id,
        a.user_id,
        COALESCE(b.peak_burst_count, 0) AS burst_score,
        COALESCE(o.over_amount, 0) AS replay_over_amount,
        COALESCE(v.violations, 0) AS scope_violations,
        COALESCE(p.pairs, 0) AS collusion_pairs,
        COALESCE(x.peak_categories, 0) AS cross_merchant_categories,
        CASE WHEN c.agent_id IS NULL THEN 0 ELSE 1 END AS cadence_regular,
        CASE WHEN g.agent_id IS NULL THEN 0 ELSE 1 END AS geo_moved
    FROM agents AS a
    LEFT JOIN burst AS b ON b.agent_id = a.agent_id AND b.user_id = a.user_id
    LEFT JOIN overages AS o ON o.agent_id = a.agent_id AND o.user_id = a.user_id
    LEFT JOIN violations AS v ON v.agent_id = a.agent_id AND v.user_id = a.user_id
    LEFT JOIN coordination AS p ON p.agent_id = a.agent_id AND p.user_id = a.user_id
    LEFT JOIN cross_merchant AS x ON x.agent_id = a.agent_id AND x.user_id = a.user_id
    LEFT JOIN cadence AS c ON c.agent_id = a.agent_id AND c.user_id = a.user_id
    LEFT JOIN geo_stationarity AS g ON g.agent_id = a.agent_id AND g.user_id = a.user_id
)
SELECT
    agent_id,
    user_id,
    burst_score,
    replay_over_amount,
    scope_violations,
    collusion_pairs,
    cross_merchant_categories,
    cadence_regular,
    geo_moved,
    -- Exact: two decimals of 8 places have a product of 16. Summed wider than it is given.
    CAST(
        $risk_weight_burst * burst_score
            + CAST($risk_weight_replay AS DECIMAL(76, 8)) * CAST(replay_over_amount AS DECIMAL(76, 8))
            + $risk_weight_scope * scope_violations
            + $risk_weight_collusion * collusion_pairs
            + $risk_weight_cross_merchant * cross_merchant_categories
            + $risk_weight_cadence * cadence_regular
            + $risk_weight_geo_stationarity * geo_moved AS DECIMAL(38, 16)
    ) AS composite_risk
FROM measures
