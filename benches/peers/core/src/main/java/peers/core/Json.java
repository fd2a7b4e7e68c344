package peers.core;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.JsonRecyclerPools;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;

/** Transactions and mandates from JSON, one pass over the bytes by Jackson's streaming parser. */
public final class Json {
    private static final int ID_MAX = 128;

    private static final JsonFactory FACTORY = JsonFactory.builder()
            .recyclerPool(JsonRecyclerPools.threadLocalPool())
            .enable(StreamReadFeature.USE_FAST_DOUBLE_PARSER)
            .build();

    private Json() {}

    /** Never null and never thrown from: what cannot be used comes back with its error. */
    public static Transaction transaction(byte[] json) {
        Transaction tx = new Transaction();
        if (json == null || json.length == 0) {
            tx.error = "empty_record";
            return tx;
        }
        try (JsonParser in = FACTORY.createParser(json)) {
            tx.error = read(in, tx);
        } catch (IOException e) {
            tx.error = "invalid_json";
        }
        return tx;
    }

    private static String read(JsonParser in, Transaction tx) throws IOException {
        if (in.nextToken() != JsonToken.START_OBJECT) {
            return "not_an_object";
        }
        boolean lat = false;
        boolean lng = false;
        boolean twice = false;
        long minor = Money.NONE;
        String fault = null;
        for (String name = in.nextFieldName(); name != null; name = in.nextFieldName()) {
            JsonToken token = in.nextToken();
            if (token == JsonToken.VALUE_NULL) {
                continue;
            }
            switch (name) {
                case "tx_id" -> tx.txId = text(in, token);
                case "agent_id" -> tx.agentId = text(in, token);
                case "user_id" -> tx.userId = text(in, token);
                case "mandate_id" -> tx.mandateId = text(in, token);
                case "merchant" -> tx.merchant = text(in, token);
                case "merchant_category" -> tx.category = text(in, token);
                case "payment_id" -> tx.paymentId = text(in, token);
                case "country" -> tx.country = text(in, token);
                case "currency" -> tx.currency = currency(in, token);
                case "amount" -> {
                    tx.amount = decimal(in, token);
                    twice |= minor != Money.NONE;
                    if (tx.amount <= 0) {
                        fault = "invalid_amount";
                    }
                }
                case "amount_minor" -> {
                    minor = token == JsonToken.VALUE_NUMBER_INT ? in.getLongValue() : 0;
                    twice |= tx.amount != Money.NONE;
                }
                case "lat" -> {
                    double degrees = degrees(in, token, 90);
                    lat = true;
                    tx.latE7 = (int) Math.rint(degrees * 1e7);
                    if (Double.isNaN(degrees)) {
                        fault = "invalid_location";
                    }
                }
                case "lng" -> {
                    double degrees = degrees(in, token, 180);
                    lng = true;
                    tx.lngE7 = (int) Math.rint(degrees * 1e7);
                    if (Double.isNaN(degrees)) {
                        fault = "invalid_location";
                    }
                }
                case "location_source" -> tx.ownLocation = "agent".equals(text(in, token));
                case "tx_time" -> {
                    tx.timeUs = time(in, token);
                    if (tx.timeUs == Time.NONE) {
                        fault = "invalid_time";
                    }
                }
                case "record_time" -> {
                    tx.recordUs = time(in, token);
                    if (tx.recordUs == Time.NONE) {
                        fault = "invalid_time";
                    }
                }
                default -> in.skipChildren();
            }
        }
        if (fault != null) {
            return fault;
        }
        if (!isId(tx.txId) || !isId(tx.agentId) || !isId(tx.userId)) {
            return tx.txId == null || tx.agentId == null || tx.userId == null ? "missing_field" : "invalid_id";
        }
        if (tx.merchant == null || tx.timeUs == Time.NONE) {
            return "missing_field";
        }
        if (tx.currency == null) {
            tx.currency = "USD";
        }
        if (minor != Money.NONE) {
            tx.amount = minor(minor, tx.currency);
        }
        if (twice || tx.amount <= 0) {
            return "invalid_amount";
        }
        if (lat != lng) {
            return "invalid_location";
        }
        tx.located = lat;
        return null;
    }

    private static boolean isId(String id) {
        return id != null && !id.isEmpty() && id.length() <= ID_MAX;
    }

    /** Minor units by the currency's ISO 4217 exponent. */
    private static long minor(long minor, String currency) {
        int exponent;
        try {
            exponent = java.util.Currency.getInstance(currency).getDefaultFractionDigits();
        } catch (IllegalArgumentException e) {
            return Money.NONE;
        }
        long unit = Money.UNIT;
        for (int at = 0; at < exponent; at++) {
            unit /= 10;
        }
        return minor > 0 && minor <= Long.MAX_VALUE / 10 / unit ? minor * unit : Money.NONE;
    }

    private static String text(JsonParser in, JsonToken token) throws IOException {
        if (token == JsonToken.VALUE_STRING) {
            return in.getText();
        }
        in.skipChildren();
        return null;
    }

    private static String currency(JsonParser in, JsonToken token) throws IOException {
        String code = text(in, token);
        return "USD".equals(code) ? "USD" : code;
    }

    private static long decimal(JsonParser in, JsonToken token) throws IOException {
        if (token == JsonToken.VALUE_STRING || token.isNumeric()) {
            return Money.parse(in.getTextCharacters(), in.getTextOffset(), in.getTextLength());
        }
        in.skipChildren();
        return Money.NONE;
    }

    private static double degrees(JsonParser in, JsonToken token, int limit) throws IOException {
        if (!token.isNumeric()) {
            in.skipChildren();
            return Double.NaN;
        }
        double value = in.getDoubleValue();
        return Math.abs(value) <= limit ? value : Double.NaN;
    }

    private static long time(JsonParser in, JsonToken token) throws IOException {
        if (token != JsonToken.VALUE_STRING) {
            in.skipChildren();
            return Time.NONE;
        }
        return Time.parse(in.getTextCharacters(), in.getTextOffset(), in.getTextLength());
    }

    /** A mandate, or null where the record cannot be used. */
    public static Mandate mandate(byte[] json) {
        try (JsonParser in = FACTORY.createParser(json)) {
            return readMandate(in);
        } catch (IOException | IllegalArgumentException e) {
            return null;
        }
    }

    private static Mandate readMandate(JsonParser in) throws IOException {
        if (in.nextToken() != JsonToken.START_OBJECT) {
            return null;
        }
        Mandate mandate = new Mandate();
        String scope = null;
        List<String> allowed = null;
        List<String> categories = null;
        for (String name = in.nextFieldName(); name != null; name = in.nextFieldName()) {
            JsonToken token = in.nextToken();
            if (token == JsonToken.VALUE_NULL) {
                continue;
            }
            switch (name) {
                case "mandate_id" -> mandate.mandateId = text(in, token);
                case "agent_id" -> mandate.agentId = text(in, token);
                case "user_id" -> mandate.userId = text(in, token);
                case "scope_merchant" -> scope = text(in, token);
                case "allowed_merchants" -> allowed = texts(in, token);
                case "allowed_categories" -> categories = texts(in, token);
                case "max_amount" -> mandate.maxAmount = decimal(in, token);
                case "max_amount_period" -> mandate.period = Mandate.Period.valueOf(text(in, token).toUpperCase(Locale.ROOT));
                case "per_transaction_max" -> mandate.perTransactionMax = decimal(in, token);
                case "max_uses" -> mandate.maxUses = in.getLongValue();
                case "currency" -> mandate.currency = text(in, token);
                case "authorized_tps" -> mandate.authorizedTps = decimal(in, token);
                case "valid_from" -> mandate.validFrom = time(in, token);
                case "valid_to" -> mandate.validTo = time(in, token);
                case "status" -> mandate.status = Mandate.Status.valueOf(text(in, token).toUpperCase(Locale.ROOT));
                case "deleted" -> mandate.deleted = token == JsonToken.VALUE_TRUE;
                default -> in.skipChildren();
            }
        }
        if (mandate.mandateId == null || !mandate.deleted && (mandate.agentId == null || mandate.userId == null)) {
            return null;
        }
        mandate.scopeMerchant = scope;
        if (scope != null || allowed != null) {
            List<String> all = new ArrayList<>();
            if (scope != null) {
                all.add(scope);
            }
            if (allowed != null) {
                all.addAll(allowed);
            }
            mandate.merchants = all.toArray(String[]::new);
            Set<String> normalized = new HashSet<>();
            all.forEach(one -> normalized.add(Mandate.normalize(one)));
            mandate.merchantSet = normalized;
        }
        if (categories != null) {
            mandate.categories = categories.toArray(String[]::new);
            Set<String> lowered = new HashSet<>();
            categories.forEach(one -> lowered.add(one.trim().toLowerCase(Locale.ROOT)));
            mandate.categorySet = lowered;
        }
        return mandate;
    }

    private static List<String> texts(JsonParser in, JsonToken token) throws IOException {
        List<String> out = new ArrayList<>();
        if (token == JsonToken.START_ARRAY) {
            while (in.nextToken() != JsonToken.END_ARRAY) {
                out.add(in.getText());
            }
        }
        return out;
    }
}
