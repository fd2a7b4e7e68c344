//! The views by plain loops over random streams: slow, and too simple to be wrong in the same way.

use std::collections::{BTreeMap, BTreeSet};

use weir_events::view::{Row, Value};
use weir_events::{Amount, CapPeriod, Currency, Mandate, Risk, Timestamp, Transaction};

use crate::views::{at, categories, located, mandate, rates, transaction};

pub(crate) struct Stream {
    pub(crate) transactions: Vec<(Transaction<'static>, bool)>,
    pub(crate) mandates: Vec<Mandate>,
}

/// A small generator of numbers, the same on every platform.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        i64::try_from((self.0 >> 33) % end).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

pub(crate) fn stream(seed: u64) -> Stream {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    random.below(2);
    let currencies = [*b"USD", *b"USD", *b"USD", *b"EUR", *b"JPY", *b"CHF"].map(Currency);
    let mut transactions = Vec::new();
    let mut now_us = at("2026-05-05T00:00:00Z").0;
    let steps: &[i64] = [
        &[0, 1, 10_000_000, 10_000_001, 60_000_000, 300_000_000][..],
        &[0, 5_000_000, 15_000_000, 15_000_001, 20_000_000][..],
        &[15_000_000, 14_999_999, 15_000_001][..],
        &[0, 100, 10_000_000_000_000][..],
    ][usize::try_from(seed % 4).unwrap()];
    let (agents, users) = match seed % 8 {
        2 => (&["a"][..], &["u"][..]),
        1 | 6 => (&["a", "b"][..], &["u"][..]),
        _ => (&["a", "ab", "é", "b"][..], &["u", "v"][..]),
    };
    for number in 0..120 {
        now_us += random.pick(steps);
        let id = format!("t{}", random.below(1_000_000) * 1_000 + number);
        let (agent, user) = (random.pick(agents), random.pick(users));
        let mut made = transaction(&id, agent, user, Timestamp(now_us));
        made.mandate_id =
            random.pick(&[None, Some("m1"), Some("m2"), Some("m3"), Some("gone")]).map(Into::into);
        made.merchant = random.pick(&["m0", "m1", "M0", "m2"]).into();
        made.merchant_category =
            random.pick(&[None, Some("a"), Some("b"), Some("c"), Some("d"), Some("e")]).map(Into::into);
        let amount = random.pick(&[
            1,
            999_999_999,
            1_000_000_000,
            1_000_000_001,
            10_i128.pow(23) - 1,
            300_000_000,
            500_000_000,
        ]);
        made.amount = Amount(amount);
        made.currency = random.pick(&currencies);
        // Ranges of exactly one degree, which is not above the limit, and of one unit more.
        let widest = if seed.is_multiple_of(2) { 10_000_001 } else { 10_000_000 };
        let degree = random.pick(&[0, 5_000_000, widest]);
        made.location = random.pick(&[
            None,
            located(900_000_000 - degree, -1_800_000_000),
            located(899_999_999, degree - 1_800_000_000),
        ]);
        transactions.push((made, seed % 8 != 2 && random.below(8) == 0));
    }
    let mut mandates = ["m1", "m2", "m3"].map(|id| mandate(id, "a", "u"));
    mandates[0].max_amount = Some(Amount(3_000_000_000));
    mandates[0].scope_merchant = Some("m0".to_owned());
    mandates[1].max_amount = Some(Amount(2_000_000_000));
    mandates[1].currency = Currency(*b"JPY");
    mandates[1].scope_merchant = Some("m2".to_owned());
    mandates[1].valid_to = Some(transactions[60].0.tx_time);
    mandates[2].max_amount = Some(Amount(1));
    mandates[2].max_amount_period = CapPeriod::Day;
    mandates[2].valid_from = Some(transactions[60].0.tx_time);
    Stream { transactions, mandates: mandates.into() }
}

pub(crate) fn rows(view: &str, stream: &Stream) -> Vec<Row> {
    match view {
        "burst" => per_agent(stream, false, burst),
        "replay" => replay(stream).into_iter().map(|(row, _)| row).collect(),
        "replay_window" => replay_window(stream),
        "scope" => scope(stream),
        "collusion" => collusion(stream),
        "cross_merchant" => per_agent(stream, false, cross_merchant),
        "cadence" => per_agent(stream, false, cadence),
        "geo_stationarity" => per_agent(stream, true, geo_stationarity),
        "risk" => risk(stream),
        _ => panic!("{view}"),
    }
}

type Payments<'s> = Vec<&'s Transaction<'static>>;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(count: usize) -> Value {
    Value::Int(i64::try_from(count).unwrap())
}

/// One row per agent that `measure` has something to say of.
fn per_agent(stream: &Stream, with_late: bool, measure: fn(&Payments<'_>) -> Option<Row>) -> Vec<Row> {
    let mut agents: BTreeMap<(&str, &str), Payments<'_>> = BTreeMap::new();
    for (made, _) in stream.transactions.iter().filter(|(_, late)| with_late || !late) {
        agents.entry((&made.agent_id, &made.user_id)).or_default().push(made);
    }
    let rows = agents.into_iter().filter_map(|((agent, user), payments)| {
        let mut row = vec![text(agent), text(user)];
        row.extend(measure(&payments)?);
        Some(row)
    });
    rows.collect()
}

fn within<'p>(
    payments: &'p Payments<'_>,
    end: Timestamp,
    length_us: i64,
) -> impl Iterator<Item = &'p Transaction<'static>> {
    payments.iter().copied().filter(move |made| (end.0 - length_us..=end.0).contains(&made.tx_time.0))
}

fn burst(payments: &Payments<'_>) -> Option<Row> {
    let counts =
        payments.iter().map(|made| (within(payments, made.tx_time, 60_000_000).count(), made.tx_time));
    let hits: Vec<_> = counts.filter(|&(count, _)| count >= 5).collect();
    let peak = hits.iter().map(|&(count, _)| count).max()?;
    let times = || hits.iter().map(|&(_, time)| time);
    Some(vec![int(peak), Value::Time(times().min()?), Value::Time(times().max()?)])
}

fn cross_merchant(payments: &Payments<'_>) -> Option<Row> {
    let breadth = |end| {
        let seen = within(payments, end, 300_000_000).filter_map(|made| made.merchant_category.as_deref());
        seen.collect::<BTreeSet<_>>().len()
    };
    let peak = payments.iter().map(|made| breadth(made.tx_time)).max()?;
    (peak >= 4).then(|| vec![int(peak)])
}

/// Mean and sample deviation in two passes.
#[allow(clippy::cast_precision_loss, reason = "what is printed is a float")]
fn spread(values: &[i64]) -> (f64, f64) {
    let n = values.len() as f64;
    let first = values[0];
    let mean = values.iter().map(|value| (value - first) as f64).sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| ((value - first) as f64 - mean).powi(2)).sum();
    (first as f64 + mean, (squares / (n - 1.0)).sqrt())
}

fn cadence(payments: &Payments<'_>) -> Option<Row> {
    let mut times: Vec<_> = payments.iter().map(|made| made.tx_time.0).collect();
    times.sort_unstable();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if gaps.len() < 10 {
        return None;
    }
    let (mean, deviation) = spread(&gaps);
    let row = vec![Value::Float(mean / 1e6), Value::Float(deviation / 1e6), int(gaps.len())];
    (deviation < 1e6 && mean < 30e6).then_some(row)
}

fn geo_stationarity(payments: &Payments<'_>) -> Option<Row> {
    let places: Vec<_> = payments.iter().filter_map(|made| made.location).collect();
    if places.len() < 5 {
        return None;
    }
    let axes = [
        places.iter().map(|place| i64::from(place.lat_e7)).collect::<Vec<_>>(),
        places.iter().map(|place| i64::from(place.lng_e7)).collect::<Vec<_>>(),
    ];
    let range = |axis: &Vec<i64>| axis.iter().max().unwrap() - axis.iter().min().unwrap();
    let float = |value: f64| Value::Float(value / 1e7);
    let wide = |axis: &Vec<i64>| f64::from(i32::try_from(range(axis)).unwrap_or(i32::MAX));
    let mut row = vec![int(places.len())];
    row.extend(axes.iter().map(|axis| float(spread(axis).1)));
    row.extend(axes.iter().map(|axis| float(wide(axis))));
    axes.iter().any(|axis| range(axis) > 10_000_000).then_some(row)
}

fn mandated(stream: &Stream) -> impl Iterator<Item = (&Transaction<'static>, &Mandate)> {
    stream.transactions.iter().filter_map(|(made, _)| {
        let named = made.mandate_id.as_deref()?;
        Some((made, stream.mandates.iter().find(|mandate| mandate.mandate_id == named)?))
    })
}

fn replay(stream: &Stream) -> Vec<(Row, Currency)> {
    let mut uses: BTreeMap<_, (i64, i128, &Mandate)> = BTreeMap::new();
    for (made, mandate) in mandated(stream) {
        if mandate.max_amount_period == CapPeriod::Lifetime && made.currency == mandate.currency {
            let key = (mandate.mandate_id.as_str(), &*made.agent_id, &*made.user_id);
            let used = uses.entry(key).or_insert((0, 0, mandate));
            used.0 += 1;
            used.1 += made.amount.0;
        }
    }
    let rows = uses.into_iter().filter_map(|((id, agent, user), (count, spend, mandate))| {
        let over = Amount(spend).minus(mandate.max_amount?);
        let mut row = vec![text(id), text(agent), text(user), Value::Decimal(mandate.max_amount?)];
        row.extend([Value::Int(count), Value::Decimal(Amount(spend)), Value::Decimal(over)]);
        (over.0 > 0).then_some((row, mandate.currency))
    });
    rows.collect()
}

fn replay_window(stream: &Stream) -> Vec<Row> {
    let time = |time: Option<Timestamp>| time.map_or(Value::Null, Value::Time);
    let outside = mandated(stream).filter(|(made, mandate)| {
        mandate.valid_from.is_some_and(|from| made.tx_time < from)
            || mandate.valid_to.is_some_and(|to| made.tx_time > to)
    });
    let rows = outside.map(|(made, mandate)| {
        let mut row =
            vec![text(&made.tx_id), text(&mandate.mandate_id), text(&made.agent_id), text(&made.user_id)];
        row.extend([Value::Time(made.tx_time), time(mandate.valid_from), time(mandate.valid_to)]);
        row
    });
    rows.collect()
}

fn scope(stream: &Stream) -> Vec<Row> {
    let map = categories();
    let rows = mandated(stream).filter_map(|(made, mandate)| {
        let allowed = mandate.scope_merchant.as_deref().filter(|allowed| **allowed != *made.merchant)?;
        let is_near = map.get(allowed).is_some_and(|category| map.get(&*made.merchant) == Some(category));
        let mut row =
            vec![text(&made.tx_id), text(&made.agent_id), text(&made.user_id), text(&mandate.mandate_id)];
        row.extend([
            text(allowed),
            text(&made.merchant),
            Value::Decimal(made.amount),
            Value::Time(made.tx_time),
        ]);
        row.push(text(if is_near { "category" } else { "strict" }));
        Some(row)
    });
    rows.collect()
}

fn collusion(stream: &Stream) -> Vec<Row> {
    let mut pairs: BTreeMap<_, (i64, i128)> = BTreeMap::new();
    let timely: Vec<_> = stream.transactions.iter().filter(|(_, late)| !late).map(|(made, _)| made).collect();
    for a in &timely {
        for b in &timely {
            let priced = (rates().to_base(a.amount, a.currency), rates().to_base(b.amount, b.currency));
            let (Some(x), Some(y)) = priced else { continue };
            let is_near =
                (a.tx_time.0 - b.tx_time.0).abs() <= 10_000_000 && (x.0 - y.0).abs() < 1_000_000_000;
            if a.user_id == b.user_id && a.agent_id < b.agent_id && is_near {
                let pair = pairs.entry((&*a.user_id, &*a.agent_id, &*b.agent_id)).or_default();
                pair.0 += 1;
                pair.1 += x.0 + y.0;
            }
        }
    }
    let often = pairs.into_iter().filter(|&(_, (count, _))| count >= 2);
    often
        .map(|((user, a, b), (count, total))| {
            vec![text(user), text(a), text(b), Value::Int(count), Value::Decimal(Amount(total))]
        })
        .collect()
}

fn risk(stream: &Stream) -> Vec<Row> {
    let number = |view: &str, agent: &Value, user: &Value, column: usize| {
        let rows = rows(view, stream);
        let found = rows.into_iter().find(|row| row[0] == *agent && row[1] == *user);
        found.map_or(0, |row| match row[column] {
            Value::Int(count) => count,
            _ => 1,
        })
    };
    let agents = per_agent(stream, true, |_| Some(Vec::new()));
    agents
        .into_iter()
        .map(|mut row| {
            let (agent, user) = (row[0].clone(), row[1].clone());
            let over: i128 = replay(stream)
                .into_iter()
                .filter(|(row, _)| row[1] == agent && row[2] == user)
                .map(|(row, currency)| match row[6] {
                    Value::Decimal(over) => rates().to_base(over, currency).map_or(0, |over| over.0),
                    _ => 0,
                })
                .sum();
            let scope = scope(stream).iter().filter(|row| row[1] == agent && row[2] == user).count();
            let pairs: i64 = collusion(stream)
                .into_iter()
                .filter(|row| row[0] == user && (row[1] == agent || row[2] == agent))
                .map(|row| if let Value::Int(pairs) = row[3] { pairs } else { 0 })
                .sum();
            let counts = [
                (5, number("burst", &agent, &user, 2)),
                (50, i64::try_from(scope).unwrap()),
                (30, pairs),
                (10, number("cross_merchant", &agent, &user, 2)),
                (40, number("cadence", &agent, &user, 2)),
                (50, number("geo_stationarity", &agent, &user, 3)),
            ];
            let whole: i128 =
                counts.iter().map(|&(weight, count)| weight * i128::from(count) * 100_000_000).sum();
            let composite = Risk::points(Amount(whole)).plus(Risk::of(Amount(10_000_000), Amount(over)));
            row.extend([Value::Int(counts[0].1), Value::Decimal(Amount(over))]);
            row.extend(counts[1..].iter().map(|&(_, count)| Value::Int(count)));
            row.push(Value::Risk(composite));
            row
        })
        .collect()
}
