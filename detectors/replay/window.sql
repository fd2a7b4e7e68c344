-- Payments made before their mandate began or after it ended. Both ends are inclusive; an end that
-- is null is open, and a comparison with it is never true.
SELECT
    t.tx_id,
    t.mandate_id,
    t.agent_id,
    t.user_id,
    t.tx_time,
    m.valid_from,
    m.valid_to
FROM transactions AS t
JOIN mandates AS m ON m.mandate_id = t.mandate_id
WHERE t.tx_time < m.valid_from
   OR t.tx_time > m.valid_to
