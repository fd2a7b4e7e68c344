//! Configurations: the default one, and others that move every window, threshold, weight and bound.

use weir_detectors::Bounds;
use weir_engine::Config;
use weir_engine::config::CurrencyCode;
use weir_events::{Amount, Currency, Plain, Span};

use crate::Random;

/// What a stream asks of its configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Bounds so small that keys reach them, and a short memory of repeats.
    pub(crate) tight: bool,
}

/// A configuration that passes its own check.
pub(crate) fn configuration(random: &mut Random, wanted: Wanted) -> Config {
    let mut config = Config::default();
    let rate = |code: &[u8; 3], text: &str| (CurrencyCode(Currency(*code)), decimal(text));
    config.currency_rates = [rate(b"EUR", "1.08"), rate(b"JPY", "0.00666667"), rate(b"GBP", "1.27")].into();
    let categories = [
        ("expedia.com", "travel"),
        ("airbnb.com", "travel"),
        ("WWW.Shop.example", "shops"),
        ("shop.example", "stalls"),
        ("Müller", "shops"),
    ];
    let categories = random.some(&categories);
    let owned = |(merchant, category): (&str, &str)| (merchant.to_owned(), category.to_owned());
    config.detectors.scope.merchant_categories = categories.into_iter().map(owned).collect();
    if random.percent(50) {
        vary(&mut config, random);
    }
    if wanted.tight && random.percent(30) {
        config.time.dedup_horizon =
            config.time.max_lateness.max(random.pick(&[Span(0), Span::minutes(10), Span::hours(1)]));
    }
    if wanted.tight && random.percent(30) {
        config.bounds = tight(random);
    }
    assert_eq!(config.check(), None, "{config:?}");
    config
}

fn vary(config: &mut Config, random: &mut Random) {
    config.base_currency = CurrencyCode(random.pick(&[Currency::USD, Currency(*b"EUR")]));
    let times = &mut config.time;
    times.max_lateness =
        random.pick(&[Span(0), Span(1), Span::seconds(10), Span::minutes(5), Span::hours(1)]);
    times.max_clock_skew = random.pick(&[Span(0), Span::seconds(10), Span::minutes(5)]);
    let detectors = &mut config.detectors;
    detectors.burst.window = random.pick(&[Span(0), Span::seconds(10), Span::seconds(60), Span::hours(2)]);
    detectors.burst.min_count = random.pick(&[1, 2, 5, 8]);
    detectors.collusion.max_gap = random.pick(&[Span(0), Span(1), Span::seconds(10), Span::minutes(10)]);
    detectors.collusion.max_amount_difference =
        decimal(random.pick(&["0", "0.00000001", "10", "999999999999999"]));
    detectors.collusion.min_pairs = random.pick(&[1, 2, 3]);
    detectors.cross_merchant.window = random.pick(&[Span(0), Span::seconds(60), Span::minutes(5)]);
    detectors.cross_merchant.min_categories = random.pick(&[1, 2, 4]);
    detectors.cadence.min_gaps = random.pick(&[2, 3, 10]);
    detectors.cadence.max_stddev_seconds = random.pick(&[0.0, 0.000_001, 1.0, 3600.0, 1e9]);
    detectors.cadence.max_mean_seconds = random.pick(&[10.0, 30.0, 86_400.0, 1e9]);
    detectors.geo_stationarity.min_count = random.pick(&[2, 5]);
    detectors.geo_stationarity.max_range_degrees = random.pick(&[0.0, 0.5, 1.0, 359.999_999_9]);
    detectors.geo_stationarity.radius_km = random.pick(&[0.0, 100.0, 250.0]);
    let weights = random.pick(&[
        r#"{"burst": "0", "replay": "0.00000001"}"#,
        r#"{"replay": "1.23456789", "scope": "0.5", "collusion": "1000000"}"#,
        "{}",
    ]);
    config.risk.weights = serde_json::from_str(weights).unwrap();
    let caps = random.pick(&[r#"{"burst.rate": "1.5", "replay.over_cap": "1000000"}"#, "{}"]);
    config.risk.caps = serde_json::from_str(caps).unwrap();
}

fn tight(random: &mut Random) -> Bounds {
    let mut small = |from: &[usize]| random.pick(from);
    Bounds {
        agent_payments_max: small(&[1, 4, 20]),
        user_payments_max: small(&[2, 10, 40]),
        user_pairs_max: small(&[1, 2]),
        windows_judged_max: small(&[1, 3]),
        pair_scan_max: small(&[1, 3]),
        agent_categories_max: small(&[1, 3]),
        use_merchants_max: small(&[1, 2]),
        use_currencies_max: small(&[1, 2]),
        ledger_periods_max: small(&[1, 3]),
        ledger_agents_max: small(&[1, 2]),
        agent_actions_max: small(&[1, 10]),
        holder_mandates_max: small(&[1, 2]),
        remembered_ids_max: small(&[8, 50]),
        ..Bounds::default()
    }
}

fn decimal(text: &str) -> Plain {
    Plain(Amount::parse(text).unwrap())
}
