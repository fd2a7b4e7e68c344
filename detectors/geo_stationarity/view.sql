-- Agents whose located payments lie far apart. Positions are whole numbers of 1e-7 degree, and the
-- range is the plain one: the antimeridian is not special here. Late payments count.
WITH sums AS (
    SELECT
        agent_id,
        user_id,
        COUNT(lat_e7) AS n,
        MAX(lat_e7) - MIN(lat_e7) AS lat_range_e7,
        MAX(lng_e7) - MIN(lng_e7) AS lng_range_e7,
        CAST(COUNT(lat_e7) AS DECIMAL(38, 0)) AS points,
        CAST(SUM(lat_e7) AS DECIMAL(38, 0)) AS lat_total,
        CAST(SUM(lng_e7) AS DECIMAL(38, 0)) AS lng_total,
        SUM(CAST(lat_e7 AS DECIMAL(18, 0)) * CAST(lat_e7 AS DECIMAL(18, 0))) AS lat_squares,
        SUM(CAST(lng_e7 AS DECIMAL(18, 0)) * CAST(lng_e7 AS DECIMAL(18, 0))) AS lng_squares
    FROM transactions
    WHERE lat_e7 IS NOT NULL
    GROUP BY agent_id, user_id
)
SELECT
    agent_id,
    user_id,
    n AS tx_count,
    SQRT(CAST(points * lat_squares - lat_total * lat_total AS DOUBLE)
        / CAST(points * (points - CAST(1 AS DECIMAL(38, 0))) AS DOUBLE)) / 1e7 AS lat_stddev,
    SQRT(CAST(points * lng_squares - lng_total * lng_total AS DOUBLE)
        / CAST(points * (points - CAST(1 AS DECIMAL(38, 0))) AS DOUBLE)) / 1e7 AS lng_stddev,
    CAST(lat_range_e7 AS DOUBLE) / 1e7 AS lat_range,
    CAST(lng_range_e7 AS DOUBLE) / 1e7 AS lng_range
FROM sums
WHERE n >= $geo_stationarity_min_count
  AND (lat_range_e7 > $geo_stationarity_max_range_e7 OR lng_range_e7 > $geo_stationarity_max_range_e7)
