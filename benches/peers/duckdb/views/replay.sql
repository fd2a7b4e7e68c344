SELECT
    m.mandate_id, t.agent_id, t.user_id, m.max_amount,
    COUNT(*) AS use_count, SUM(t.amount) AS cumulative_spend, SUM(t.amount) - m.max_amount AS over_amount
FROM transactions AS t
JOIN mandates AS m ON m.mandate_id = t.mandate_id
WHERE m.max_amount IS NOT NULL AND m.max_amount_period = 'lifetime' AND t.currency = m.currency
GROUP BY m.mandate_id, t.agent_id, t.user_id, m.max_amount
HAVING SUM(t.amount) > m.max_amount
