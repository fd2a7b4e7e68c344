//! What does not depend on the order of arrival.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test may fail by panicking"
)]

use weir_events::codec::{parse_mandate, parse_transaction};
use weir_events::{MandateRecord, RiskProfile};
use weir_proof::{End, Random, Step, Stream, Told, Weir, check, run, same};

fn lifetimes(profiles: &[RiskProfile<'_>]) -> Vec<String> {
    let told = |profile: &RiskProfile<'_>| {
        let RiskProfile { agent_id, user_id, lifetime, first_seen, payments_seen, .. } = profile;
        format!("{user_id} {agent_id} {first_seen} {payments_seen} {lifetime:?}")
    };
    profiles.iter().map(told).collect()
}

fn same_views(left: &End, right: &End) -> Result<(), String> {
    left.same_views(right)?;
    same("the lifetime measures", &lifetimes(&left.profiles), &lifetimes(&right.profiles))
}

#[test]
fn any_order_of_arrival_within_the_bound_gives_the_same_views() {
    check("order", 150, |seed| {
        let stream = Stream::orderly(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        let end = weir.end().unwrap();
        assert!(end.incomplete.is_empty(), "an orderly stream reaches no bound");
        let mut random = Random::new(seed ^ 0xA11CE);
        for _ in 0..3 {
            let shuffled = shuffled(&stream, &mut random);
            let (again, mut weir) = run(&shuffled, 1, 2);
            same("the numbers of late records", &late(&steps), &late(&again))?;
            same_views(&end, &weir.end().unwrap())?;
        }
        Ok(())
    });
}

/// Decisions, and how many of them are late: in an orderly stream those of wrong clocks alone.
fn late(steps: &[Step]) -> (usize, usize) {
    let late = steps.iter().filter_map(|step| match step.told {
        Told::Decision { late, .. } => Some(late),
        _ => None,
    });
    (late.clone().count(), late.filter(|&late| late).count())
}

/// Delays every record but the first by up to `max_lateness`. When one arrives, the greatest time that
/// has counted is at most its own plus that bound, so none is late.
fn shuffled(stream: &Stream, random: &mut Random) -> Stream {
    let lateness_us = stream.config.time.max_lateness.0;
    let mut sent: Vec<(i64, &String)> = Vec::new();
    for (&happened_us, line) in stream.happened_us.iter().zip(&stream.transactions) {
        sent.push((happened_us + random.between(0, lateness_us), line));
    }
    sent[0].0 = i64::MIN;
    sent.sort_by_key(|&(arrives_us, _)| arrives_us);
    let transactions = sent.into_iter().map(|(_, line)| line.clone()).collect();
    Stream { transactions, ..stream.clone() }
}

#[test]
fn any_interleaving_of_mandates_and_transactions_gives_the_same_views() {
    check("order", 100, |seed| {
        let stream = Stream::nasty(seed);
        let (_, mut weir) = run(&stream, 1, 1);
        let end = weir.end().unwrap();
        let base = stream.config.base_currency.0;
        let parsed = stream.mandates.iter().filter_map(|line| parse_mandate(line.as_bytes(), base).ok());
        let records: Vec<MandateRecord> = parsed.collect();
        let mut random = Random::new(seed ^ 0xB0B);
        for _ in 0..3 {
            // The views of single transactions follow from the newest mandates by definition, so the
            // schedule stays; what is tested is when the shard learns of each.
            let mut weir = Weir::new(&stream.config, &stream.mandates, 1, 3).unwrap();
            let mut places: Vec<usize> =
                records.iter().map(|_| random.below(stream.transactions.len() + 1)).collect();
            places.sort_unstable();
            let mut due = records.iter().zip(places).peekable();
            for (at, line) in stream.transactions.iter().enumerate() {
                while let Some((record, _)) = due.next_if(|(_, place)| *place <= at) {
                    weir.apply(record).unwrap();
                }
                weir.step(line.as_bytes()).unwrap();
            }
            due.for_each(|(record, _)| weir.apply(record).unwrap());
            let mut again = weir.end().unwrap();
            // `end` applies what the schedule still held; the newest state is in force in any case.
            records.iter().for_each(|record| weir.apply(record).unwrap());
            again.views = weir.end().unwrap().views;
            same_views(&end, &again)?;
        }
        Ok(())
    });
}

#[test]
fn looking_ahead_changes_nothing() {
    check("order", 100, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        let end = weir.end().unwrap();
        let mut random = Random::new(seed ^ 0xA4EAD);
        let mut weir = Weir::new(&stream.config, &stream.mandates, 1, 5).unwrap();
        let (mut first, mut again) = (0, Vec::new());
        while first < stream.transactions.len() {
            let some = first..stream.transactions.len().min(first + 1 + random.below(100));
            weir.look_ahead(&stream.transactions[some.clone()]);
            again.extend(
                stream.transactions[some.clone()].iter().map(|line| weir.step(line.as_bytes()).unwrap()),
            );
            first = some.end;
        }
        for (at, (left, right)) in steps.iter().zip(&again).enumerate() {
            same(&format!("looked up ahead: what record {at} led to"), left, right)?;
        }
        end.same(&weir.end().unwrap())
    });
}

#[test]
fn any_number_of_shards_gives_the_same_bytes() {
    check("order", 100, |seed| {
        let stream = Stream::nasty(seed);
        let (steps, mut weir) = run(&stream, 1, 1);
        let end = weir.end().unwrap();
        for shards in [2, 7] {
            let (again, mut weir) = run(&stream, shards, 4);
            for (at, (left, right)) in steps.iter().zip(&again).enumerate() {
                same(&format!("of {shards} shards: what record {at} led to"), left, right)?;
            }
            end.same(&weir.end().unwrap())?;
        }
        Ok(())
    });
}

#[test]
fn shuffling_does_change_the_order() {
    let moved = (0..40).filter(|&seed| {
        let stream = Stream::orderly(seed);
        let shuffled = shuffled(&stream, &mut Random::new(seed));
        let times = |stream: &Stream| -> Vec<i64> {
            let base = stream.config.base_currency.0;
            let time = |line: &String| parse_transaction(line.as_bytes(), base).unwrap().tx_time.0;
            stream.transactions.iter().map(time).collect()
        };
        times(&stream) != times(&shuffled)
    });
    assert!(moved.count() > 20);
}
