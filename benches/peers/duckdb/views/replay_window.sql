SELECT t.tx_id, t.mandate_id, t.agent_id, t.user_id, t.tx_time, m.valid_from, m.valid_to
FROM transactions AS t
JOIN mandates AS m ON m.mandate_id = t.mandate_id
WHERE t.tx_time < m.valid_from OR t.tx_time > m.valid_to
