SELECT
    agent_id, user_id, COUNT(*) AS tx_count,
    STDDEV_SAMP(lat_e7) / 1e7 AS lat_stddev, STDDEV_SAMP(lng_e7) / 1e7 AS lng_stddev,
    (MAX(lat_e7) - MIN(lat_e7)) / 1e7 AS lat_range, (MAX(lng_e7) - MIN(lng_e7)) / 1e7 AS lng_range
FROM transactions
WHERE lat_e7 IS NOT NULL
GROUP BY agent_id, user_id
HAVING COUNT(*) >= 5 AND (MAX(lat_e7) - MIN(lat_e7) > 10000000 OR MAX(lng_e7) - MIN(lng_e7) > 10000000)
