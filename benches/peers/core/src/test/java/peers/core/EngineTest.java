package peers.core;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

class EngineTest {
    private static final long T0 = Time.parse("2026-05-05T14:00:00Z");

    private final Engine engine = new Engine();
    private final MandateTable mandates = new MandateTable();
    private final Watermark watermark = new Watermark();
    private UserState user = new UserState();
    private int number;

    /** A payment some seconds after T0 of another amount and merchant than every other, unless it is changed. */
    private Transaction pay(String agent, double seconds) {
        Transaction tx = new Transaction();
        tx.txId = "tx" + ++number;
        tx.agentId = agent;
        tx.userId = "u";
        tx.merchant = "shop" + number;
        tx.currency = "USD";
        tx.amount = (100 + number * 20L) * Money.UNIT;
        tx.timeUs = T0 + (long) (seconds * 1e6);
        return tx;
    }

    private Decision decide(Transaction tx) {
        return engine.decide(user, tx, mandates, watermark.observe(tx.countingUs()));
    }

    private static String of(Decision decision, String detector) {
        for (Signal signal : decision.signals) {
            if (signal.tier.detector.equals(detector)) {
                return signal.tier.tier;
            }
        }
        return null;
    }

    private Mandate mandate(String id, String json) {
        Mandate mandate = Json.mandate(("{\"mandate_id\":\"" + id + "\",\"agent_id\":\"a\",\"user_id\":\"u\"" + json + "}")
                .getBytes(StandardCharsets.UTF_8));
        mandates.put(mandate);
        return mandate;
    }

    private Transaction under(String mandate, Transaction tx) {
        tx.mandateId = mandate;
        return tx;
    }

    @Test
    void burstFromTheFifthInAMinute() {
        for (int at = 0; at < 4; at++) {
            assertNull(of(decide(pay("a", at * 15)), "burst"));
        }
        assertEquals("rate", of(decide(pay("a", 60)), "burst"), "both ends count");
        assertNull(of(decide(pay("a", 60.000001 + 45)), "burst"));
        assertNull(of(decide(pay("b", 61)), "burst"), "of another agent");
    }

    @Test
    void burstInsideAMandateIsBounded() {
        mandate("m", ",\"max_amount\":\"100000\"");
        for (int at = 0; at < 4; at++) {
            decide(under("m", pay("a", at)));
        }
        Decision decision = decide(under("m", pay("a", 4)));
        assertEquals("rate_bounded", of(decision, "burst"));
        assertEquals(Action.ALLOW, decision.action);
        assertEquals(20 * Money.UNIT, decision.composite);
    }

    @Test
    void equalPaymentsAreAMachineFromTheSixth() {
        Decision decision = null;
        for (int at = 0; at < 6; at++) {
            Transaction tx = pay("a", at * 11 + at * at * 0.1);
            tx.merchant = "shop";
            tx.amount = 5 * Money.UNIT;
            decision = decide(tx);
            assertEquals(at < 4 ? null : at == 4 ? "rate" : "machine", of(decision, "burst"));
        }
        assertEquals(Action.REVIEW, decision.action);
        assertEquals("floor:burst.machine", decision.decidedBy);
    }

    @Test
    void tenInEightSecondsAreAPace() {
        String last = null;
        for (int at = 0; at < 10; at++) {
            last = of(decide(pay("a", at * 0.8 + at * at * 0.008)), "burst");
            assertEquals(at == 9 ? "pace" : at >= 4 ? "rate" : null, last);
        }
    }

    @Test
    void burstIsSeenThroughAPaymentOutOfOrder() {
        for (int at : new int[] {0, 10, 50, 60}) {
            assertNull(of(decide(pay("a", at)), "burst"));
        }
        assertEquals("rate", of(decide(pay("a", 30)), "burst"));
    }

    @Test
    void theCapReservesWhatWasNotBlocked() {
        mandate("m", ",\"max_amount\":\"100\",\"per_transaction_max\":\"90\"");
        for (String[] step : new String[][] {{"60", null}, {"95", "over_per_transaction"}, {"40.01", "over_cap"}, {"40", null}, {"0.01", "over_cap"}}) {
            Transaction tx = under("m", pay("a", number * 100));
            tx.amount = Money.parse(step[0]);
            Decision decision = decide(tx);
            assertEquals(step[1], of(decision, "replay"), step[0]);
            assertEquals(step[1] == null ? Action.ALLOW : Action.BLOCK, decision.action);
        }
    }

    @Test
    void capsByPeriodAndUses() {
        mandate("d", ",\"max_amount\":\"100\",\"max_amount_period\":\"day\"");
        mandate("once", ",\"max_uses\":1");
        for (long[] step : new long[][] {{0, 0}, {10, 1}, {10 * 3600, 0}, {10 * 3600 + 1, 1}}) {
            Transaction tx = under("d", pay("a", step[0]));
            tx.amount = 60 * Money.UNIT;
            assertEquals(step[1] == 1 ? "over_cap" : null, of(decide(tx), "replay"));
        }
        assertNull(of(decide(under("once", pay("a", 50_000))), "replay"));
        assertEquals("over_uses", of(decide(under("once", pay("a", 60_000))), "replay"));
        assertEquals(T0 / Time.DAY - 1, Ledger.firstDay(Mandate.Period.WEEK, T0), "2026-05-05 is a Tuesday");
        assertEquals(T0 / Time.DAY - 4, Ledger.firstDay(Mandate.Period.MONTH, T0));
    }

    @Test
    void mandatesThatCannotBeUsed() {
        mandate("m", ",\"valid_from\":\"2026-05-05T14:00:01Z\",\"valid_to\":\"2026-05-05T14:00:02Z\"");
        mandate("other", "").agentId = "b";
        mandate("revoked", ",\"status\":\"revoked\"");
        mandate("paused", ",\"status\":\"paused\"");
        mandate("eur", ",\"currency\":\"EUR\"");
        assertEquals("not_yet_valid", of(decide(under("m", pay("a", 0.999999))), "replay"));
        assertNull(of(decide(under("m", pay("a", 1))), "replay"));
        assertNull(of(decide(under("m", pay("a", 2))), "replay"));
        assertEquals("expired", of(decide(under("m", pay("a", 2.000001))), "replay"));
        assertEquals("not_held", of(decide(under("other", pay("a", 100))), "replay"));
        assertEquals("revoked", of(decide(under("revoked", pay("a", 200))), "replay"));
        assertEquals("paused", of(decide(under("paused", pay("a", 300))), "replay"));
        assertEquals("wrong_currency", of(decide(under("eur", pay("a", 400))), "replay"));
        assertEquals("unknown", of(decide(under("nowhere", pay("a", 500))), "mandate"));
        assertEquals("omitted", of(decide(pay("a", 600)), "mandate"));
        assertEquals("none", of(decide(pay("c", 600)), "mandate"));
    }

    @Test
    void scope() {
        mandate("m", ",\"scope_merchant\":\"Expedia.com\",\"allowed_merchants\":[\"hotel.example\"]");
        mandate("c", ",\"allowed_categories\":[\"Travel\"]");
        Transaction inside = under("m", pay("a", 0));
        inside.merchant = " www.EXPEDIA.com";
        assertNull(of(decide(inside), "scope"));
        Decision outside = decide(under("m", pay("a", 100)));
        assertEquals("strict", of(outside, "scope"));
        assertEquals(Action.BLOCK, outside.action);
        assertEquals("floor:scope.strict", outside.decidedBy);
        Transaction travel = under("c", pay("a", 200));
        travel.category = "travel";
        assertNull(of(decide(travel), "scope"));
        assertEquals("category_not_allowed", of(decide(under("c", pay("a", 300))), "scope"));
    }

    private Decision pair(double seconds, long amount, String... agents) {
        Decision last = null;
        for (String agent : agents) {
            Transaction tx = pay(agent, seconds);
            tx.amount = amount * Money.UNIT;
            last = decide(tx);
            seconds += 10;
            amount += 7;
        }
        return last;
    }

    @Test
    void twoPairsOfTwoAgentsCollude() {
        assertNull(of(pair(0, 100, "a", "b"), "collusion"));
        Decision second = pair(100, 100, "a", "b");
        assertEquals("pairs", of(second, "collusion"));
        assertEquals(30 * Money.UNIT, second.signals[0].points);
        user = new UserState();
        assertNull(of(pair(10_000, 100, "a", "b"), "collusion"));
        assertNull(of(pair(10_600, 100, "a", "b"), "collusion"), "the first is no longer in ten minutes");
        user = new UserState();
        pair(20_000, 80, "a", "b");
        assertNull(of(pair(20_100, 80, "a", "b"), "collusion"), "7 of 87 is more than 7 %");
    }

    @Test
    void threeAgentsAreARing() {
        for (int at = 0; at < 2; at++) {
            for (String agent : new String[] {"a", "b", "c"}) {
                Transaction tx = pay(agent, at * 60 + agent.charAt(0) - 'a');
                tx.amount = 100 * Money.UNIT;
                Decision decision = decide(tx);
                assertEquals(at == 0 || agent.equals("a") ? null : agent.equals("b") ? "pairs" : "ring", of(decision, "collusion"));
            }
        }
    }

    @Test
    void fourKindsOfPurchaseInFiveMinutes() {
        String[] kinds = {"airlines", "groceries", "5942", "gift_cards"};
        for (int at = 0; at < 4; at++) {
            Transaction tx = pay("a", at * 100);
            tx.category = kinds[at];
            assertEquals(at < 3 ? null : "risk_class", of(decide(tx), "cross_merchant"));
        }
        user = new UserState();
        for (String kind : new String[] {"airlines", "hotel", "3000", "car_rental", "groceries"}) {
            Transaction tx = pay("a", 1000 + number);
            tx.category = kind;
            assertNull(of(decide(tx), "cross_merchant"), "all travel but one");
        }
    }

    @Test
    void tenEvenGapsAreACadence() {
        for (int at = 0; at <= 11; at++) {
            String cadence = of(decide(pay("a", at * 20 + at % 2 * 0.5)), "cadence");
            assertEquals(at < 10 ? null : "regular", cadence, "payment " + at);
        }
        Random random = new Random(1);
        user = new UserState();
        double time = 10_000;
        for (int at = 0; at < 40; at++) {
            time += 1 + random.nextDouble() * 4;
            assertNull(of(decide(pay("a", time)), "cadence"), "fast but uneven");
        }
    }

    @Test
    void farFromHome() {
        for (int at = 0; at < 5; at++) {
            assertNull(of(decide(at("a", at * 1000, 47.0, 179.9)), "geo_stationarity"));
        }
        assertNull(of(decide(at("a", 6000, 47.0, -177.0)), "geo_stationarity"), "235 km over the antimeridian");
        assertEquals("moved", of(decide(at("a", 7000, 47.0, -176.5)), "geo_stationarity"));
        assertEquals(5570, Engine.distance(407128000, -740060000, 515074000, -1278000), 10);
    }

    private Transaction at(String agent, double seconds, double lat, double lng) {
        Transaction tx = pay(agent, seconds);
        tx.located = true;
        tx.latE7 = (int) Math.rint(lat * 1e7);
        tx.lngE7 = (int) Math.rint(lng * 1e7);
        return tx;
    }

    @Test
    void repeatsAreDroppedForADay() {
        Transaction tx = pay("a", 0);
        assertNotNull(decide(tx).tx);
        assertSame(Engine.DUPLICATE, decide(tx));
        for (int hour = 1; hour <= 24; hour++) {
            decide(pay("a", hour * 3600));
        }
        assertSame(Engine.DUPLICATE, decide(tx));
        decide(pay("a", 24 * 3600 + 301));
        assertTrue(decide(tx) == Engine.DUPLICATE || decide(tx) == Engine.TOO_OLD);
        for (int at = 0; at < 300; at++) {
            decide(pay("a", 90_000 + at));
        }
        Transaction among = pay("a", 90_000);
        among.txId = "tx" + (number - 200);
        assertSame(Engine.DUPLICATE, decide(among), "found in the table of many as in the scan of few");
    }

    @Test
    void aLatePaymentIsInNoWindow() {
        decide(pay("a", 1000));
        for (int at = 0; at < 8; at++) {
            Decision decision = decide(pay("a", 600 + at));
            assertTrue(decision.late);
            assertNull(of(decision, "burst"));
            assertEquals("late", of(decision, "input"));
        }
    }

    @Test
    void stateComesBackWholeAndDecidesAlike() {
        mandate("m", ",\"max_amount\":\"300000\",\"max_amount_period\":\"week\"");
        Random random = new Random(7);
        List<Transaction> stream = new ArrayList<>();
        double time = 0;
        for (int at = 0; at < 3000; at++) {
            time += random.nextInt(20) == 0 ? 4000 : random.nextDouble() * 20;
            Transaction tx = at("a" + random.nextInt(3), time - random.nextInt(30), random.nextInt(4), 8);
            tx.category = random.nextInt(4) == 0 ? null : "kind" + random.nextInt(7);
            tx.amount = (1 + random.nextInt(30)) * Money.UNIT;
            tx.mandateId = random.nextBoolean() ? "m" : null;
            tx.currency = random.nextInt(9) == 0 ? "EUR" : "USD";
            tx.merchant = "shop" + random.nextInt(2);
            stream.add(tx);
        }
        UserState kept = new UserState();
        UserState stored = new UserState();
        Buf scratch = new Buf(16);
        DecisionEncoder encoder = new DecisionEncoder();
        int signals = 0;
        for (Transaction tx : stream) {
            long mark = watermark.observe(tx.countingUs());
            Decision one = engine.decide(kept, tx, mandates, mark);
            stored = UserState.read(Buf.reading(stored.toBytes(scratch)));
            Decision other = engine.decide(stored, tx, mandates, mark);
            assertArrayEquals(encoder.encode(one), encoder.encode(other));
            assertArrayEquals(kept.toBytes(scratch), stored.toBytes(scratch));
            signals += one.signals.length;
        }
        assertTrue(signals > 1000);
        Collections.reverse(stream);
    }
}
