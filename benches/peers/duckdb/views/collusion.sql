-- Without configured rates, as is the default, payments in other currencies are in no pair.
SELECT
    a.user_id, a.agent_id AS agent_a, b.agent_id AS agent_b,
    COUNT(*) AS coordinated_pair_count, SUM(a.amount + b.amount) AS coordinated_total_amount
FROM transactions AS a
JOIN transactions AS b ON b.user_id = a.user_id
WHERE NOT a.late AND NOT b.late AND a.currency = 'USD' AND b.currency = 'USD'
  AND a.agent_id < b.agent_id
  AND b.tx_time - a.tx_time BETWEEN -10000000 AND 10000000
  AND ABS(b.amount - a.amount) < 10
GROUP BY a.user_id, a.agent_id, b.agent_id
HAVING COUNT(*) >= 2
