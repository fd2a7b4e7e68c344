-- Each once, and whether it is late: behind the greatest time so far by more than five minutes, or of a clock that is
-- ahead of the platform's by as much. A table's rowid is its place in the file.
WITH measured AS (
    SELECT
        *,
        MAX(LEAST(tx_time, COALESCE(record_time, tx_time))) OVER (
            ORDER BY rowid ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS greatest,
        ROW_NUMBER() OVER (PARTITION BY user_id, tx_id ORDER BY rowid) AS place
    FROM read_transactions
)
SELECT
    tx_id,
    agent_id,
    user_id,
    mandate_id,
    merchant,
    merchant_category,
    COALESCE(
        amount,
        amount_minor::DECIMAL(23, 8) / CASE COALESCE(currency, 'USD') WHEN 'JPY' THEN 1 WHEN 'KWD' THEN 1000 ELSE 100 END
    )::DECIMAL(23, 8) AS amount,
    COALESCE(currency, 'USD') AS currency,
    (lat * 10000000)::BIGINT AS lat_e7,
    (lng * 10000000)::BIGINT AS lng_e7,
    epoch_us(tx_time) AS tx_time,
    tx_time < greatest - INTERVAL 5 MINUTES OR COALESCE(tx_time - record_time > INTERVAL 5 MINUTES, FALSE) AS late
FROM measured
WHERE place = 1
