-- Without configured categories, as is the default, every row is strict.
SELECT
    t.tx_id, t.agent_id, t.user_id, t.mandate_id, m.scope_merchant AS allowed_merchant, t.merchant AS actual_merchant,
    t.amount, t.tx_time, 'strict' AS tier
FROM transactions AS t
JOIN mandates AS m ON m.mandate_id = t.mandate_id
WHERE t.merchant <> m.scope_merchant
