SELECT
    COUNT(*),
    BIT_XOR(HASH(tx_id)), BIT_XOR(HASH(agent_id)), BIT_XOR(HASH(user_id)), BIT_XOR(HASH(mandate_id)),
    BIT_XOR(HASH(merchant)), BIT_XOR(HASH(merchant_category)), BIT_XOR(HASH(currency)),
    SUM(amount), SUM(amount_minor), SUM(lat), SUM(lng), MAX(EPOCH_US(tx_time)), MAX(EPOCH_US(record_time))
FROM ({source})
