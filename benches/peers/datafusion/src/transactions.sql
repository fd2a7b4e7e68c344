-- Each once, and whether it is late: behind the greatest time so far by more than five minutes, or of a clock that is
-- ahead of the platform's by as much.
WITH measured AS (
    SELECT
        *,
        MAX(LEAST(tx_time, COALESCE(record_time, tx_time))) OVER (
            ORDER BY arrival
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS greatest,
        ROW_NUMBER() OVER (PARTITION BY user_id, tx_id ORDER BY arrival) AS place
    FROM numbered
)
SELECT
    tx_id,
    agent_id,
    user_id,
    mandate_id,
    merchant,
    merchant_category,
    CAST(amount AS DECIMAL(38, 8)) AS amount,
    currency,
    lat_e7,
    lng_e7,
    tx_time,
    tx_time < greatest - 300000000 OR COALESCE(tx_time - record_time > 300000000, FALSE) AS late
FROM measured
WHERE place = 1
