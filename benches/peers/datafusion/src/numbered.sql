-- What was read, in units that compare exactly, with its place in the order of arrival.
SELECT
    tx_id,
    agent_id,
    user_id,
    mandate_id,
    merchant,
    merchant_category,
    COALESCE(
        amount,
        CAST(amount_minor AS DECIMAL(38, 8))
            / CASE COALESCE(currency, 'USD') WHEN 'JPY' THEN 1 WHEN 'KWD' THEN 1000 ELSE 100 END
    ) AS amount,
    COALESCE(currency, 'USD') AS currency,
    CAST(lat * 10000000 AS BIGINT) AS lat_e7,
    CAST(lng * 10000000 AS BIGINT) AS lng_e7,
    CAST(tx_time AS BIGINT) AS tx_time,
    CAST(record_time AS BIGINT) AS record_time,
    ROW_NUMBER() OVER () AS arrival
FROM read_transactions
