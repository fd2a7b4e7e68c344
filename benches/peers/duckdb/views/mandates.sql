SELECT
    mandate_id,
    scope_merchant,
    max_amount,
    COALESCE(max_amount_period, 'lifetime') AS max_amount_period,
    COALESCE(currency, 'USD') AS currency,
    epoch_us(valid_from) AS valid_from,
    epoch_us(valid_to) AS valid_to
FROM read_mandates
