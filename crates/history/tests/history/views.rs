//! The views of SPEC 4 as the tests run them, and short ways to make records.

use std::borrow::Cow;
use std::collections::BTreeMap;

use weir_events::view::{Column, Kind, Row, Value, View};
use weir_events::{
    Amount, CapPeriod, Currency, Location, Mandate, MandateStatus, Rates, Timestamp, Transaction,
};
use weir_history::oracle::{Oracle, OracleConfig};

macro_rules! view {
    ($name:literal, $path:literal, $sort:expr, $($column:ident $kind:ident),+) => {
        View {
            name: $name,
            columns: &[$(Column { name: stringify!($column), kind: Kind::$kind }),+],
            sort: &$sort,
            sql: include_str!(concat!("../../../../detectors/", $path)),
        }
    };
}

pub(crate) static VIEWS: [View; 9] = [
    view!("burst", "burst/view.sql", [0, 1],
        agent_id Text, user_id Text, peak_burst_count Int, burst_start Time, burst_end Time),
    view!("replay", "replay/view.sql", [0, 1, 2],
        mandate_id Text, agent_id Text, user_id Text, max_amount Decimal, use_count Int,
        cumulative_spend Decimal, over_amount Decimal),
    view!("replay_window", "replay/window.sql", [0, 3],
        tx_id Text, mandate_id Text, agent_id Text, user_id Text, tx_time Time, valid_from Time, valid_to Time),
    view!("scope", "scope/view.sql", [0, 2],
        tx_id Text, agent_id Text, user_id Text, mandate_id Text, allowed_merchant Text,
        actual_merchant Text, amount Decimal, tx_time Time, tier Text),
    view!("collusion", "collusion/view.sql", [0, 1, 2],
        user_id Text, agent_a Text, agent_b Text, coordinated_pair_count Int, coordinated_total_amount Decimal),
    view!("cross_merchant", "cross_merchant/view.sql", [0, 1],
        agent_id Text, user_id Text, peak_categories Int),
    view!("cadence", "cadence/view.sql", [0, 1],
        agent_id Text, user_id Text, mean_gap Float, stddev_gap Float, sample_size Int),
    view!("geo_stationarity", "geo_stationarity/view.sql", [0, 1],
        agent_id Text, user_id Text, tx_count Int, lat_stddev Float, lng_stddev Float,
        lat_range Float, lng_range Float),
    view!("risk", "risk.sql", [0, 1],
        agent_id Text, user_id Text, burst_score Int, replay_over_amount Decimal, scope_violations Int,
        collusion_pairs Int, cross_merchant_categories Int, cadence_regular Int, geo_moved Int,
        composite_risk Risk),
];

pub(crate) fn units(text: &str) -> Amount {
    text.parse().unwrap()
}

pub(crate) fn parameters() -> Vec<(&'static str, Value)> {
    let decimal = |text| Value::Decimal(units(text));
    vec![
        ("burst_window_us", Value::Int(60_000_000)),
        ("burst_min_count", Value::Int(5)),
        ("collusion_max_gap_us", Value::Int(10_000_000)),
        ("collusion_max_amount_difference", decimal("10")),
        ("collusion_min_pairs", Value::Int(2)),
        ("cross_merchant_window_us", Value::Int(300_000_000)),
        ("cross_merchant_min_categories", Value::Int(4)),
        ("cadence_min_gaps", Value::Int(10)),
        ("cadence_max_stddev_us", Value::Int(1_000_000)),
        ("cadence_max_mean_us", Value::Int(30_000_000)),
        ("geo_stationarity_min_count", Value::Int(5)),
        ("geo_stationarity_max_range_e7", Value::Int(10_000_000)),
        ("risk_weight_burst", decimal("5")),
        ("risk_weight_replay", decimal("0.1")),
        ("risk_weight_scope", decimal("50")),
        ("risk_weight_collusion", decimal("30")),
        ("risk_weight_cross_merchant", decimal("10")),
        ("risk_weight_cadence", decimal("40")),
        ("risk_weight_geo_stationarity", decimal("50")),
    ]
}

pub(crate) fn rates() -> Rates {
    Rates::new(Currency::USD, [(Currency(*b"EUR"), units("1.08")), (Currency(*b"JPY"), units("0.00654321"))])
}

pub(crate) fn categories() -> BTreeMap<String, String> {
    let map = [("expedia.com", "travel"), ("airbnb.com", "travel"), ("m0", "c"), ("m1", "c")];
    map.map(|(merchant, category)| (merchant.to_owned(), category.to_owned())).into()
}

pub(crate) fn oracle() -> Oracle<'static> {
    Oracle::new(OracleConfig {
        parameters: parameters(),
        rates: rates(),
        merchant_categories: categories(),
        views: &VIEWS,
    })
    .unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn transaction(
    tx_id: &str,
    agent_id: &str,
    user_id: &str,
    tx_time: Timestamp,
) -> Transaction<'static> {
    let text = |text: &str| Cow::Owned(text.to_owned());
    Transaction {
        tx_id: text(tx_id),
        agent_id: text(agent_id),
        user_id: text(user_id),
        mandate_id: None,
        merchant: text("m0"),
        merchant_category: None,
        amount: units("1"),
        currency: Currency::USD,
        country: None,
        location: None,
        location_source: None,
        tx_time,
        record_time: None,
        payment_id: None,
        fingerprint: 0,
    }
}

pub(crate) fn located(lat_e7: i32, lng_e7: i32) -> Option<Location> {
    Some(Location { lat_e7, lng_e7 })
}

pub(crate) fn mandate(mandate_id: &str, agent_id: &str, user_id: &str) -> Mandate {
    Mandate {
        mandate_id: mandate_id.to_owned(),
        agent_id: agent_id.to_owned(),
        user_id: user_id.to_owned(),
        scope_merchant: None,
        allowed_merchants: None,
        allowed_categories: None,
        max_amount: None,
        max_amount_period: CapPeriod::Lifetime,
        per_transaction_max: None,
        max_uses: None,
        currency: Currency::USD,
        authorized_tps: None,
        valid_from: None,
        valid_to: None,
        status: MandateStatus::Active,
        updated_at: None,
    }
}

/// The rows of a view as lines of JSON.
pub(crate) fn printed(name: &str, rows: &[Row]) -> Vec<String> {
    let view = VIEWS.iter().find(|view| view.name == name).unwrap();
    let mut out = Vec::new();
    weir_history::output::write_rows_ndjson(view, rows, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}
