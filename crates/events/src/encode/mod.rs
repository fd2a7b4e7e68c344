//! JSON out: the decision, the one record that is written for every transaction.
//!
//! Names, keys and the quotes around values are constants, so that most of a record is copied in pieces
//! whose length is known when compiled. What comes from outside is escaped; where a card number could
//! stand, it is masked first.

mod text;

use std::io::Write as _;

use crate::decision::{DecidedBy, Fact, MandateStanding, SCHEMA_VERSION, Signal};
use crate::mask::mask;
use crate::printed::{integer, natural};
use crate::{Amount, Decision, Verdict};
use text::{code, name, raw, text};

impl Decision<'_> {
    /// Appends the record to `out`: one JSON object, without a line break.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (tx, verdict) = (self.transaction, self.verdict);
        raw(out, br#"{"schema_version":"#);
        natural(out, SCHEMA_VERSION.into());
        raw(out, br#","tx_id":""#);
        text(out, &tx.tx_id);
        raw(out, br#"","payment_id":"#);
        optional(out, tx.payment_id.as_deref(), masked);
        raw(out, br#","agent_id":""#);
        text(out, &tx.agent_id);
        raw(out, br#"","user_id":""#);
        text(out, &tx.user_id);
        raw(out, br#"","mandate_id":"#);
        optional(out, tx.mandate_id.as_deref(), text);
        raw(out, br#","merchant":""#);
        masked(out, &tx.merchant);
        raw(out, br#"","merchant_category":"#);
        optional(out, tx.merchant_category.as_deref(), masked);
        raw(out, br#","amount":""#);
        tx.amount.print(out);
        raw(out, br#"","currency":""#);
        code(out, &tx.currency.0, "???");
        raw(out, br#"","country":"#);
        optional(out, tx.country.as_ref(), |out, country| code(out, country, "??"));
        raw(out, br#","tx_time":""#);
        tx.tx_time.print(out);
        raw(out, br#"","action":""#);
        name(out, verdict.action.name());
        judgement(out, verdict);
        raw(out, br#","config_digest":""#);
        text(out, self.config_digest);
        raw(out, br#""}"#);
    }
}

/// From the end of the action to what stands before the digest.
fn judgement(out: &mut Vec<u8>, verdict: &Verdict) {
    raw(out, br#"","flagged":"#);
    flag(out, !verdict.signals.is_empty());
    raw(out, br#","risk_score":"#);
    natural(out, verdict.risk_score.into());
    raw(out, br#","risk_level":""#);
    name(out, verdict.risk_level.name());
    raw(out, br#"","composite_risk":""#);
    verdict.composite.print(out);
    raw(out, br#"","decided_by":""#);
    decided_by(out, verdict);
    raw(out, br#"","signals":["#);
    list(out, verdict.signals.iter(), |out, found| signal(out, verdict, found));
    raw(out, br#"],"reasons":["#);
    list(out, verdict.signals.iter(), |out, found| reason(out, verdict, found));
    raw(out, br#"],"mandate":"#);
    match &verdict.mandate {
        Some(mandate) => standing(out, mandate),
        None => raw(out, b"null"),
    }
    raw(out, br#","late":"#);
    flag(out, verdict.late);
}

fn decided_by(out: &mut Vec<u8>, verdict: &Verdict) {
    let floor = |at: usize| verdict.signals.get(at);
    match verdict.decided_by {
        DecidedBy::Score(level) => {
            raw(out, b"score:");
            name(out, level.name());
        }
        DecidedBy::Floor(at) if let Some(signal) = floor(at) => {
            raw(out, b"floor:");
            tier(out, signal);
        }
        DecidedBy::None | DecidedBy::Floor(_) => raw(out, b"none"),
    }
}

fn tier(out: &mut Vec<u8>, signal: &Signal) {
    name(out, signal.detector);
    raw(out, b".");
    name(out, signal.tier);
}

fn signal(out: &mut Vec<u8>, verdict: &Verdict, signal: &Signal) {
    raw(out, br#"{"detector":""#);
    name(out, signal.detector);
    raw(out, br#"","tier":""#);
    name(out, signal.tier);
    raw(out, br#"","points":""#);
    signal.points.print(out);
    raw(out, br#"","episode_id":""#);
    name(out, signal.detector);
    raw(out, b":");
    text(out, verdict.text(&signal.episode));
    raw(out, br#"","evidence":{"#);
    let facts = verdict.facts.get(signal.evidence.clone()).unwrap_or_default();
    list(out, facts.iter(), |out, (key, value)| {
        raw(out, b"\"");
        name(out, key);
        raw(out, b"\":");
        fact(out, verdict, value);
    });
    if signal.also != 0 {
        if !facts.is_empty() {
            raw(out, b",");
        }
        raw(out, br#""also":["#);
        let holds = |at: &usize| signal.also >> at & 1 == 1;
        let also = signal.tiers.iter().enumerate().filter(|(at, _)| holds(at));
        list(out, also, |out, (_, tier)| quoted(out, |out| name(out, tier)));
        raw(out, b"]");
    }
    raw(out, b"}}");
}

fn fact(out: &mut Vec<u8>, verdict: &Verdict, fact: &Fact) {
    match fact {
        Fact::Count(count) => integer(out, *count),
        Fact::Decimal(amount) => quoted(out, |out| amount.print(out)),
        // Writing into a vector cannot fail.
        Fact::Figure(figure) => quoted(out, |out| drop(write!(out, "{figure:.6}"))),
        Fact::Time(time) => quoted(out, |out| time.print(out)),
        Fact::Flag(value) => flag(out, *value),
        Fact::Text(range) => quoted(out, |out| masked(out, verdict.text(range))),
        Fact::Name(value) => quoted(out, |out| name(out, value)),
        Fact::Absent => raw(out, b"null"),
    }
}

fn reason(out: &mut Vec<u8>, verdict: &Verdict, signal: &Signal) {
    raw(out, br#"{"code":""#);
    tier(out, signal);
    raw(out, br#"","text":""#);
    masked(out, verdict.text(&signal.reason));
    raw(out, br#""}"#);
}

fn standing(out: &mut Vec<u8>, mandate: &MandateStanding) {
    raw(out, br#"{"status":""#);
    name(out, mandate.status.name());
    raw(out, br#"","max_amount":"#);
    optional(out, mandate.max_amount, |out, amount| amount.print(out));
    raw(out, br#","spent_before":""#);
    mandate.spent_before.print(out);
    raw(out, br#"","remaining":"#);
    optional(out, mandate.remaining(), |out, amount: Amount| amount.print(out));
    raw(out, b"}");
}

/// Writes `value` between quotes, or `null`.
#[inline(always)]
fn optional<T>(out: &mut Vec<u8>, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        Some(value) => quoted(out, |out| write(out, value)),
        None => raw(out, b"null"),
    }
}

#[inline(always)]
fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    raw(out, b"\"");
    write(out);
    raw(out, b"\"");
}

/// Writes what stands between the brackets of a list or an object.
#[inline(always)]
fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    for (at, item) in items.enumerate() {
        if at > 0 {
            raw(out, b",");
        }
        write(out, item);
    }
}

#[inline(always)]
fn flag(out: &mut Vec<u8>, flag: bool) {
    if flag { raw(out, b"true") } else { raw(out, b"false") }
}

#[inline]
fn masked(out: &mut Vec<u8>, value: &str) {
    text(out, &mask(value));
}
