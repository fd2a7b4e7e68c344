package peers.core;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class JsonTest {
    private static Transaction parse(String more) {
        return Json.transaction(("{\"tx_id\":\"t\",\"agent_id\":\"a\",\"user_id\":\"u\",\"merchant\":\"m\"," + more + "}")
                .getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void amounts() {
        String time = ",\"tx_time\":\"2026-05-05T14:00:00.5+02:00\"";
        for (String[] step : new String[][] {{"\"12.50\"", "12.5"}, {"12.5", "12.5"}, {"1e2", "100"}, {"0.00000001", "0.00000001"}}) {
            Transaction tx = parse("\"amount\":" + step[0] + time);
            assertNull(tx.error, step[0]);
            assertEquals(step[1], Money.text(tx.amount));
        }
        for (String wrong : new String[] {"0", "-1", "\"x\"", "0.000000001", "[1]", "\"\"", "1e300"}) {
            assertEquals("invalid_amount", parse("\"amount\":" + wrong + time).error, wrong);
        }
        assertEquals("1.005", Money.text(parse("\"amount_minor\":1005,\"currency\":\"KWD\"" + time).amount));
        assertEquals("2026-05-05T12:00:00.500000Z", Time.text(parse("\"amount\":1" + time).timeUs));
    }

    @Test
    void badRecordsSayWhy() {
        assertEquals("empty_record", Json.transaction(new byte[0]).error);
        assertEquals("invalid_json", Json.transaction("{\"tx_id\":".getBytes(StandardCharsets.UTF_8)).error);
        assertEquals("not_an_object", Json.transaction("[]".getBytes(StandardCharsets.UTF_8)).error);
        assertEquals("missing_field", parse("\"amount\":1").error);
        assertEquals("invalid_time", parse("\"amount\":1,\"tx_time\":\"2026-13-05T14:00:00Z\"").error);
        assertEquals("invalid_location", parse("\"amount\":1,\"lat\":1,\"tx_time\":\"2026-05-05T14:00:00Z\"").error);
        assertTrue(parse("\"amount\":1,\"lat\":1,\"lng\":-1,\"tx_time\":\"2026-05-05T14:00:00Z\"").located);
    }

    @Test
    void timesRoundTrip() {
        for (String text : new String[] {"2000-01-01T00:00:00.000000Z", "2024-02-29T23:59:59.999999Z", "2099-12-31T12:00:00.000001Z"}) {
            assertEquals(text, Time.text(Time.parse(text)));
        }
        for (String wrong : new String[] {"2026-02-29T00:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00"}) {
            assertEquals(Time.NONE, Time.parse(wrong), wrong);
        }
    }

    @Test
    void decisionsAreJson() throws Exception {
        Transaction tx = parse("\"amount\":\"19.990\",\"payment_id\":\"q\\\"\\\\\\u0001ü\",\"tx_time\":\"2026-05-05T14:00:00Z\"");
        Decision decision = new Engine().decide(new UserState(), tx, new MandateTable(), Long.MIN_VALUE / 2);
        byte[] json = new DecisionEncoder().encode(decision);
        String payment = null;
        try (JsonParser in = new JsonFactory().createParser(json)) {
            while (in.nextToken() != null) {
                if ("payment_id".equals(in.currentName())) {
                    payment = in.getText();
                }
            }
        }
        assertEquals(tx.paymentId, payment);
        String text = new String(json, StandardCharsets.UTF_8);
        assertTrue(text.contains("\"amount\":\"19.99\",\"currency\":\"USD\""), text);
        assertTrue(text.contains("\"tier\":\"none\",\"points\":\"0\""), text);
    }
}
