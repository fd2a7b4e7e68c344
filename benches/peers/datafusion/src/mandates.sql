SELECT
    mandate_id,
    agent_id,
    user_id,
    scope_merchant,
    max_amount,
    COALESCE(max_amount_period, 'lifetime') AS max_amount_period,
    COALESCE(currency, 'USD') AS currency,
    CAST(valid_from AS BIGINT) AS valid_from,
    CAST(valid_to AS BIGINT) AS valid_to
FROM read_mandates
