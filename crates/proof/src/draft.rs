//! One transaction, from choices to JSON text.

use std::fmt::Write as _;

use chrono::{DateTime, FixedOffset, Timelike};
use weir_events::time::{HOUR_US, MINUTE_US, SECOND_US};
use weir_events::{Amount, Timestamp};

use crate::{Random, mandates};

/// What the transactions of one stream choose from.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) users: Vec<String>,
    pub(crate) agents: Vec<String>,
    pub(crate) mandates: Vec<String>,
    pub(crate) merchants: Vec<&'static str>,
    pub(crate) categories: Vec<Option<&'static str>>,
    pub(crate) currencies: Vec<&'static str>,
    /// In units of 1e-8.
    pub(crate) amounts: Vec<i128>,
    pub(crate) places: Vec<(&'static str, &'static str)>,
    /// Chances in a hundred that a payment has a position.
    pub(crate) located: usize,
    /// Chances in a hundred that a payment has a `record_time`.
    pub(crate) recorded: usize,
    pub(crate) max_clock_skew_us: i64,
}

const USERS: [&str; 4] = ["u", "usr_500", "Ünïcode/用户", "u\"\\🦀"];
const AGENTS: [&str; 5] = ["a", "ab", "é", "Ａ", "agt, with comma"];
const MANDATES: [&str; 6] = ["m1", "m2", "M1", "мандат", "m5", "m6"];
const MERCHANTS: [&str; 8] = [
    "expedia.com",
    "airbnb.com",
    "casino-online.com",
    " WWW.Shop.Example ",
    "shop.example",
    "SHOP.EXAMPLE",
    "Müller",
    "MÜLLER",
];
const CATEGORIES: [Option<&str>; 12] = [
    None,
    Some("groceries"),
    Some("Groceries "),
    Some("5411"),
    Some("airlines"),
    Some("3000"),
    Some("7011"),
    Some("gift-cards"),
    Some("gambling"),
    Some("6051"),
    Some("Fälknerei"),
    Some("0000"),
];
const PLACES: [(&str, &str); 9] = [
    ("90", "0"),
    ("-90", "180"),
    ("89.99999999", "-179.99999995"),
    ("37.7749295", "-122.4194155"),
    ("38.7749295", "-122.4194155"),
    ("38.7749296", "-122.4194155"),
    ("37.77492955", "-122.41941545"),
    ("0", "179.9999999"),
    ("1e0", "-180.0"),
];

impl World {
    /// A few names of everything.
    pub fn draw(random: &mut Random, max_clock_skew_us: i64) -> Self {
        let mut world = Self::wide(random, max_clock_skew_us);
        if random.percent(40) {
            // One user's agents, alike in what they pay, so that bursts, cadences and pairs come about.
            world.users.truncate(1);
            world.agents.truncate(random.pick(&[1, 1, 2, 4]));
            world.merchants.truncate(1);
            world.currencies = vec!["USD"];
            world.amounts = vec![world.amounts[0]; 9].into_iter().chain(world.amounts.pop()).collect();
            world.recorded = 0;
        }
        world
    }

    fn wide(random: &mut Random, max_clock_skew_us: i64) -> Self {
        let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let mandates: Vec<String> = owned(random.some(&MANDATES));
        Self {
            users: owned(random.some(&USERS)),
            agents: owned(random.some(&AGENTS)),
            mandates,
            merchants: random.some(&MERCHANTS),
            categories: random.some(&CATEGORIES),
            currencies: random.some(&["USD", "EUR", "JPY", "CHF", "KWD", "GBP"]),
            amounts: amounts(random),
            places: random.some(&PLACES),
            located: random.pick(&[0, 50, 100]),
            recorded: random.pick(&[0, 0, 30, 100]),
            max_clock_skew_us,
        }
    }
}

impl World {
    /// A transaction some choices after `now_us`, which moves on with it.
    pub fn transaction(&self, random: &mut Random, now_us: &mut i64) -> String {
        *now_us +=
            random.pick(&[0, 1, SECOND_US, 10 * SECOND_US, 60 * SECOND_US, 10 * MINUTE_US, 25 * HOUR_US]);
        let time_us = *now_us + random.pick(&[0, 0, 0, -MINUTE_US, -10 * MINUTE_US, 240 * HOUR_US]);
        let tx_id = format!("t{}", random.below(64));
        // Times stay within the years that the codec accepts, however long the stream.
        Draft::draw(random, self, tx_id, time_us.min(Timestamp::MAX_INPUT.0 - 24 * HOUR_US)).json(random)
    }

    /// A record of a mandate around `now_us`.
    pub fn mandate(&self, random: &mut Random, now_us: i64) -> String {
        let around = Draft::draw(random, self, "t".to_owned(), now_us);
        let mandate_id = random.pick(&self.mandates);
        mandates::line(random, self, &[around], &mandate_id)
    }
}

/// Amounts that lie exactly at, just under and just over the differences that count.
fn amounts(random: &mut Random) -> Vec<i128> {
    let units = |text: &str| Amount::parse(text).unwrap().0;
    let base = units(random.pick(&["20", "100", "142.85714286", "300", "0.5", "999999999999989.99999999"]));
    let ten = units("10");
    let all = [
        base,
        base + ten,
        base + ten - 1,
        base + ten + 1,
        base + base * 7 / 100,
        base - base * 7 / 100,
        base - base * 7 / 100 - 1,
        base - base * 7 / 107,
        base / 2,
        1,
        units("999999999999999.99999999"),
    ];
    let in_range = |amount: &i128| (1..Amount::LIMIT.0).contains(amount);
    random.some(&all).into_iter().filter(in_range).chain([base]).collect()
}

/// A transaction before it is written.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) tx_id: String,
    pub(crate) agent_id: String,
    pub(crate) user_id: String,
    pub(crate) mandate_id: Option<String>,
    pub(crate) merchant: &'static str,
    pub(crate) category: Option<&'static str>,
    pub(crate) amount: i128,
    pub(crate) currency: &'static str,
    pub(crate) country: Option<&'static str>,
    pub(crate) place: Option<(&'static str, &'static str)>,
    pub(crate) source: Option<&'static str>,
    pub(crate) time_us: i64,
    pub(crate) record_us: Option<i64>,
    pub(crate) payment_id: Option<&'static str>,
}

impl Draft {
    /// A payment at `time_us`.
    pub(crate) fn draw(random: &mut Random, world: &World, tx_id: String, time_us: i64) -> Self {
        let strange = [None, Some("gone".to_owned())];
        let mandate_id = match random.below(10) {
            at @ 0..2 => strange[at].clone(),
            _ => Some(random.pick(&world.mandates)),
        };
        let skew_us = world.max_clock_skew_us;
        let recorded = [0, -1, SECOND_US, 30 * SECOND_US, skew_us, skew_us + 1, 10 * MINUTE_US];
        let record_us = random.percent(world.recorded).then(|| time_us - random.pick(&recorded));
        Self {
            tx_id,
            agent_id: random.pick(&world.agents),
            user_id: random.pick(&world.users),
            mandate_id,
            merchant: random.pick(&world.merchants),
            category: random.pick(&world.categories),
            amount: random.pick(&world.amounts),
            currency: random.pick(&world.currencies),
            country: random.pick(&[None, Some("US"), Some("DE")]),
            place: random.percent(world.located).then(|| random.pick(&world.places)),
            source: random.pick(&[None, None, Some("agent"), Some("principal"), Some("delivery")]),
            time_us,
            record_us,
            payment_id: random.pick(&[None, None, Some("pay_1"), Some("4111 1111-1111 1111")]),
        }
    }

    /// The record as JSON: every time in another order and other forms of the same values.
    pub(crate) fn json(&self, random: &mut Random) -> String {
        let mut fields = vec![
            ("tx_id", text(&self.tx_id, random)),
            ("agent_id", text(&self.agent_id, random)),
            ("user_id", text(&self.user_id, random)),
            ("merchant", text(self.merchant, random)),
            ("currency", text(self.currency, random)),
            ("tx_time", time(self.time_us, random)),
            ("note", r#"{"any": [1, 2.5e3, null, "thing"]}"#.to_owned()),
        ];
        fields.push(amount(self.amount, self.currency, random));
        let optional = [
            ("mandate_id", self.mandate_id.as_deref()),
            ("merchant_category", self.category),
            ("country", self.country),
            ("location_source", self.source),
            ("payment_id", self.payment_id),
        ];
        for (name, value) in optional {
            match value {
                Some(value) => fields.push((name, text(value, random))),
                None if random.percent(30) => fields.push((name, "null".to_owned())),
                None => {}
            }
        }
        if let Some((lat, lng)) = self.place {
            fields.extend([("lat", lat.to_owned()), ("lng", lng.to_owned())]);
        }
        if let Some(record_us) = self.record_us {
            fields.push(("record_time", time(record_us, random)));
        }
        let first = random.below(fields.len());
        fields.rotate_left(first);
        let mut json = String::from("{");
        for (at, (name, value)) in fields.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(json, "{comma}\"{name}\": {value}").unwrap();
        }
        json + "}"
    }
}

fn text(text: &str, random: &mut Random) -> String {
    if random.percent(90) {
        return serde_json::to_string(text).unwrap();
    }
    let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{escaped}\"")
}

fn amount(units: i128, currency: &str, random: &mut Random) -> (&'static str, String) {
    let printed = Amount(units).to_string();
    let units_per_minor = match currency {
        "JPY" => 100_000_000,
        "KWD" => 100_000,
        _ => 1_000_000,
    };
    match random.below(5) {
        0 => ("amount", printed),
        1 => ("amount", format!("{units}e-8")),
        2 if units % units_per_minor == 0 => ("amount_minor", (units / units_per_minor).to_string()),
        3 if units % 10 == 0 && printed.contains('.') => ("amount", format!("\"{printed}0\"")),
        _ => ("amount", format!("\"{printed}\"")),
    }
}

/// A time with one of several offsets, and no more digits than it needs, or some to be cut.
pub(crate) fn time(time_us: i64, random: &mut Random) -> String {
    let offset_us = random.pick(&[0, 0, HOUR_US * 11 / 2, -8 * HOUR_US, HOUR_US * 14]);
    let offset = FixedOffset::east_opt(i32::try_from(offset_us / SECOND_US).unwrap()).unwrap();
    let local = DateTime::from_timestamp_micros(time_us).unwrap().with_timezone(&offset);
    let us = local.nanosecond() / 1000;
    let fraction = match random.below(3) {
        0 if us == 0 => String::new(),
        1 if us.is_multiple_of(1000) => format!(".{:03}", us / 1000),
        2 => format!(".{us:06}987"),
        _ => format!(".{us:06}"),
    };
    let zone = if offset_us == 0 && random.percent(80) { "Z".to_owned() } else { offset.to_string() };
    format!("\"{}{fraction}{zone}\"", local.format("%Y-%m-%dT%H:%M:%S"))
}
