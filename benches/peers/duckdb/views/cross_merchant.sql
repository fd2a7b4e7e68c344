SELECT agent_id, user_id, MAX(n) AS peak_categories
FROM (
    SELECT agent_id, user_id, COUNT(DISTINCT merchant_category) OVER (
        PARTITION BY user_id, agent_id ORDER BY tx_time RANGE BETWEEN 300000000 PRECEDING AND CURRENT ROW
    ) AS n
    FROM transactions
    WHERE NOT late AND merchant_category IS NOT NULL
)
GROUP BY agent_id, user_id
HAVING MAX(n) >= 4
