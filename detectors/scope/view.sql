-- Payments at another merchant than the one their mandate names, byte for byte. A mandate that
-- names none (null) is for any merchant. The tier says whether the configured map puts both
-- merchants in one category.
SELECT
    t.tx_id,
    t.agent_id,
    t.user_id,
    t.mandate_id,
    m.scope_merchant AS allowed_merchant,
    t.merchant AS actual_merchant,
    t.amount,
    t.tx_time,
    CASE WHEN allowed.category = actual.category THEN 'category' ELSE 'strict' END AS tier
FROM transactions AS t
JOIN mandates AS m ON m.mandate_id = t.mandate_id
LEFT JOIN merchant_categories AS allowed ON allowed.merchant = m.scope_merchant
LEFT JOIN merchant_categories AS actual ON actual.merchant = t.merchant
WHERE t.merchant <> m.scope_merchant
