//! Whole streams: payments in the order of arrival, and the mandates beside them.

use weir_engine::Config;
use weir_events::Timestamp;
use weir_events::time::{DAY_US, HOUR_US, SECOND_US};

use crate::configuration::{Wanted, configuration};
use crate::draft::{Draft, World};
use crate::{Random, mandates};

/// A recorded stream with the configuration to decide it under.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The deciding configuration.
    pub config: Config,
    /// Lines of the mandates' file.
    pub mandates: Vec<String>,
    /// Lines of the transactions' file.
    pub transactions: Vec<String>,
    /// Per transaction when it truly happened, in microseconds: its `tx_time` unless its clock is wrong.
    pub happened_us: Vec<i64>,
}

/// A payment on its way.
struct Sent {
    arrives_us: i64,
    happened_us: i64,
    line: String,
}

/// Gaps between payments, in microseconds: each list makes other patterns.
const STEPS: [&[i64]; 9] = [
    &[0, 100_000, 500_000, 800_000],
    &[0, 0, 1_000_000, 2_500_000, 9_000_000],
    &[0, 1, 10_000_000, 10_000_001, 60_000_000, 60_000_001, 300_000_000, 300_000_001],
    &[0, 0, 5_000_000, 8_000_000, 15_000_000, 15_000_001, 20_000_000],
    &[15_000_000, 14_999_999, 15_000_001],
    &[12_000_000],
    &[0, 100, 3_600_000_000, 3_600_000_001, 7_200_000_000],
    &[0, 1_000_000, 2_000_000, 3_000_000, 86_400_000_000],
    &[0, 60_000_000, 20_000_000, 43_200_000_000, 86_400_000_001],
];

const STARTS: [&str; 4] =
    ["2026-05-05T00:00:00Z", "2026-05-31T23:58:00Z", "2000-01-03T00:00:00Z", "2028-02-28T12:00:00Z"];

impl Stream {
    /// A stream with everything that can go wrong.
    #[must_use]
    pub fn nasty(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let config = configuration(&mut random, Wanted { tight: true });
        Self::made(&mut random, config, false)
    }

    /// A stream whose every record arrives in time and is read the same whenever it arrives: nothing
    /// late, no conflicts, nothing broken, no bound reached.
    #[must_use]
    pub fn orderly(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let config = configuration(&mut random, Wanted { tight: false });
        Self::made(&mut random, config, true)
    }

    fn made(random: &mut Random, config: Config, orderly: bool) -> Self {
        let world = World::draw(random, config.time.max_clock_skew.0);
        let count = if random.percent(40) { 12 + random.below(24) } else { 60 + random.below(200) };
        let steps = STEPS[random.below(STEPS.len())];
        let mut now_us = Timestamp::parse(random.pick(&STARTS)).unwrap().0;
        let lateness_us = config.time.max_lateness.0;
        let shuffled = random.percent(60);
        // An agent that always bought one kind of thing and then others.
        let changes = random.percent(50);
        let mut drafts: Vec<Draft> = Vec::new();
        let mut sent = Vec::new();
        for number in 0..count {
            now_us += random.pick(steps);
            // Ids that do not rise with time, so that ties are not in the order of arrival.
            let tx_id = format!("t{}-{number}", random.below(1000));
            let mut draft = Draft::draw(random, &world, tx_id, now_us);
            if changes && number < count / 2 {
                draft.category = world.categories[0];
            }
            if number > 0 {
                set_clock(&mut draft, random, lateness_us, orderly);
            }
            let jitter_us = if shuffled && number > 0 { random.between(0, lateness_us) } else { 0 };
            let mut send = |line: String, delay_us: i64| {
                sent.push(Sent { arrives_us: now_us + delay_us, happened_us: now_us, line });
            };
            send(draft.json(random), jitter_us);
            if random.percent(6) {
                let mut again = draft.clone();
                if !orderly && random.percent(40) {
                    again.record_us = Some(again.time_us - random.pick(&[0, SECOND_US]));
                }
                let delay_us = random.between(jitter_us, lateness_us);
                send(again.json(random), delay_us);
            }
            if !orderly && random.percent(4) {
                send(mangled(&draft, random), jitter_us);
            }
            drafts.push(draft);
        }
        if !orderly && random.percent(40) {
            repeat_much_later(&mut sent, &drafts, random);
        }
        sent.sort_by_key(|sent| sent.arrives_us);
        let mandates = mandates::lines(random, &world, &drafts);
        let (happened_us, transactions) = sent.into_iter().map(|sent| (sent.happened_us, sent.line)).unzip();
        Self { config, mandates, transactions, happened_us }
    }
}

/// Lets some clocks be wrong: years ahead, or behind by what is just or no longer in time.
fn set_clock(draft: &mut Draft, random: &mut Random, lateness_us: i64, orderly: bool) {
    if random.percent(3) {
        let true_us = draft.time_us;
        let ahead_us =
            if orderly { 3650 * DAY_US } else { random.pick(&[25 * HOUR_US, 40 * DAY_US, 3650 * DAY_US]) };
        draft.time_us += ahead_us + random.between(0, DAY_US);
        draft.record_us = random.percent(30).then_some(true_us);
    } else if !orderly && random.percent(8) {
        let behind =
            [lateness_us, lateness_us + 1, 2 * lateness_us + 60 * SECOND_US, 3 * HOUR_US, 30 * HOUR_US];
        draft.time_us -= random.pick(&behind);
        draft.record_us = None;
    }
}

/// The same id with another value, or a record that cannot be read.
fn mangled(draft: &Draft, random: &mut Random) -> String {
    let mut other = draft.clone();
    match random.below(6) {
        0 => other.amount = if other.amount > 1 { other.amount - 1 } else { 2 },
        1 => other.merchant = "elsewhere",
        2 => other.agent_id = "another".to_owned(),
        3 => return draft.json(random).replace("\"currency\"", "\"tx_id\""),
        4 => other.currency = "ZZZ",
        _ => return draft.json(random).chars().take(40).collect(),
    }
    other.json(random)
}

/// Sends some records again at the end, when their ids may be forgotten.
fn repeat_much_later(sent: &mut Vec<Sent>, drafts: &[Draft], random: &mut Random) {
    let end_us = sent.iter().map(|sent| sent.arrives_us).max().unwrap_or_default();
    for _ in 0..5 {
        let draft = random.pick(drafts);
        let line = draft.json(random);
        sent.push(Sent { arrives_us: end_us + 1, happened_us: draft.time_us, line });
    }
}
