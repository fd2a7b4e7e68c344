//! Mandates that are granted, amended, removed and granted again.

use serde_json::{Map, Value, json};
use weir_events::Amount;

use crate::Random;
use crate::draft::{Draft, World, time};

/// The lines of a mandates file for payments like `drafts`.
pub(crate) fn lines(random: &mut Random, world: &World, drafts: &[Draft]) -> Vec<String> {
    let mut lines = Vec::new();
    for _ in 0..world.mandates.len() * 3 {
        let mandate_id = random.pick(&world.mandates);
        lines.push(line(random, world, drafts, &mandate_id));
    }
    if random.percent(30) {
        lines.insert(random.below(lines.len()), r#"{"mandate_id": "m1", "max_amount": -1}"#.to_owned());
    }
    lines
}

/// One record of a mandate, or its tombstone.
pub(crate) fn line(random: &mut Random, world: &World, drafts: &[Draft], mandate_id: &str) -> String {
    let mut record = Map::new();
    record.insert("mandate_id".to_owned(), json!(mandate_id));
    if random.percent(60) {
        record.insert("updated_at".to_owned(), instant(random, drafts));
    }
    if random.percent(15) {
        record.insert("deleted".to_owned(), json!(true));
        return Value::Object(record).to_string();
    }
    let holder = random.percent(70).then(|| random.pick(drafts));
    let (agent_id, user_id) = match holder {
        Some(draft) => (draft.agent_id, draft.user_id),
        None => (random.pick(&world.agents), random.pick(&world.users)),
    };
    record.insert("agent_id".to_owned(), json!(agent_id));
    record.insert("user_id".to_owned(), json!(user_id));
    let mut optional = |name: &str, chances: usize, value: &mut dyn FnMut(&mut Random) -> Value| {
        if random.percent(chances) {
            record.insert(name.to_owned(), value(random));
        }
    };
    optional("scope_merchant", 60, &mut |random| json!(random.pick(&world.merchants)));
    optional("allowed_merchants", 25, &mut |random| json!(random.some(&world.merchants)));
    optional("allowed_categories", 25, &mut |random| {
        let named: Vec<&str> = world.categories.iter().copied().flatten().collect();
        if named.is_empty() { json!([]) } else { json!(random.some(&named)) }
    });
    optional("max_amount", 70, &mut |random| limit(random, world));
    optional("max_amount_period", 50, &mut |random| {
        json!(random.pick(&["lifetime", "day", "week", "month"]))
    });
    optional("per_transaction_max", 20, &mut |random| limit(random, world));
    optional("max_uses", 20, &mut |random| json!(random.pick(&[0, 1, 3])));
    optional("currency", 60, &mut |random| json!(random.pick(&world.currencies)));
    optional("authorized_tps", 20, &mut |random| {
        serde_json::from_str(random.pick(&["0", "0.1", "1", "2.5", "999999999999999"])).unwrap()
    });
    optional("valid_from", 30, &mut |random| instant(random, drafts));
    optional("valid_to", 30, &mut |random| instant(random, drafts));
    optional("status", 30, &mut |random| json!(random.pick(&["active", "active", "paused", "revoked"])));
    Value::Object(record).to_string()
}

/// A cap that a whole number of payments reaches exactly, or misses by the least unit.
fn limit(random: &mut Random, world: &World) -> Value {
    let units = random.pick(&world.amounts) * random.pick(&[0, 1, 2, 5]) + random.pick(&[0, 0, 1]);
    json!(Amount(units.min(Amount::LIMIT.0 - 1)).to_string())
}

/// The time of a payment, or the microsecond before or after it.
fn instant(random: &mut Random, drafts: &[Draft]) -> Value {
    let time_us = random.pick(drafts).time_us + random.pick(&[0, 0, -1, 1]);
    serde_json::from_str(&time(time_us, random)).unwrap()
}
