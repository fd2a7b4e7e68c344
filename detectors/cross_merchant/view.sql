-- Agents that bought in many categories within one window.
--
-- A category is in the window that ends at t when its latest payment is not older than t minus the
-- window. So each payment puts its category in force from its own time until the window has passed,
-- or until the next payment in that category takes over. The number of categories in force is a
-- running sum of these changes: each category counts once, and no window is looked through twice.
-- The sum grows at payments only, so its greatest value over all changes is the peak over payments.
WITH shown AS (
    SELECT DISTINCT agent_id, user_id, merchant_category, tx_time
    FROM transactions
    WHERE NOT late
      AND merchant_category IS NOT NULL
),
followed AS (
    SELECT
        agent_id,
        user_id,
        tx_time,
        LEAD(tx_time) OVER (
            PARTITION BY user_id, agent_id, merchant_category
            ORDER BY tx_time
        ) AS next_time
    FROM shown
),
changes AS (
    SELECT agent_id, user_id, tx_time AS changed_at, 1 AS change
    FROM followed
    UNION ALL
    SELECT
        agent_id,
        user_id,
        CASE
            WHEN next_time <= tx_time + $cross_merchant_window_us THEN next_time
            ELSE tx_time + $cross_merchant_window_us + 1
        END AS changed_at,
        -1 AS change
    FROM followed
),
counted AS (
    SELECT
        agent_id,
        user_id,
        SUM(change) OVER (
            PARTITION BY user_id, agent_id
            ORDER BY changed_at
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS categories
    FROM changes
)
SELECT agent_id, user_id, MAX(categories) AS peak_categories
FROM counted
GROUP BY agent_id, user_id
HAVING MAX(categories) >= $cross_merchant_min_categories
