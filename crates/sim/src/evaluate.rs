//! How well decisions did against labels.
//!
//! Labels are read first and kept by a 128-bit hash of their `tx_id`; decisions are then read once, in
//! their order, and counted as they come. Labels may come from another generator: any string is an
//! attack, names that are not in [`crate::ATTACKS`] count any detector as their own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use weir_events::Action;

use crate::catalog::{Group, attack_named};

/// Why an evaluation was not possible.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// A file could not be read.
    #[error("cannot read the {what}: {source}")]
    Read {
        /// `decisions` or `labels`.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A line is not a decision or a label.
    #[error("line {line} of the {what} is not one of the {what}: {message}")]
    Line {
        /// `decisions` or `labels`.
        what: &'static str,
        /// From 1.
        line: u64,
        /// What is wrong with it.
        message: String,
    },
    /// There is nothing to judge by.
    #[error("the labels are empty: give the labels.ndjson that belongs to the decided stream")]
    NoLabels,
    /// The files do not belong together.
    #[error("none of the {decisions} decisions has a label: the labels are of another stream")]
    NothingMatches {
        /// Decisions read.
        decisions: u64,
    },
}

/// A share with its 95 % interval by Wilson.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// How many.
    pub count: u64,
    /// Out of how many.
    pub of: u64,
    /// `count / of`; 0 when `of` is 0.
    pub share: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Share {
    /// The share of `count` in `of`.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "counts of records are far below 2^53")]
    pub fn new(count: u64, of: u64) -> Self {
        if of == 0 {
            return Self { count, of, share: 0.0, low: 0.0, high: 1.0 };
        }
        const Z: f64 = 1.959_963_984_540_054;
        let (n, p) = (of as f64, count as f64 / of as f64);
        let middle = p + Z * Z / (2.0 * n);
        let reach = Z * libm::sqrt(p * (1.0 - p) / n + Z * Z / (4.0 * n * n));
        let scale = 1.0 + Z * Z / n;
        let low = if count == 0 { 0.0 } else { ((middle - reach) / scale).max(0.0) };
        let high = if count == of { 1.0 } else { ((middle + reach) / scale).min(1.0) };
        Self { count, of, share: p, low, high }
    }
}

/// Mean and percentiles (nearest rank); `None` in the report when nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
}

impl Spread {
    #[allow(clippy::cast_precision_loss, reason = "counts of records are far below 2^53")]
    fn of(values: &mut [f64]) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let rank = |percent: usize| {
            let at = (values.len() * percent).div_ceil(100).max(1) - 1;
            values.get(at).copied()
        };
        let total: f64 = values.iter().sum();
        Some(Self { mean: total / values.len() as f64, p50: rank(50)?, p95: rank(95)? })
    }
}

/// How one kind of attack, or a group of kinds, came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttackReport {
    /// As in the labels; for a group its name.
    pub attack: String,
    /// What is asked of the engine.
    pub group: Group,
    /// The detectors that count; empty when any does.
    pub detectors: Vec<&'static str>,
    /// Fraudulent payments that were decided.
    pub payments: u64,
    /// Episodes with a payment that got an action other than `allow` and a signal of those detectors.
    pub caught: Share,
    /// Episodes with a blocked payment.
    pub blocked: Share,
    /// Episodes whose first decided payment was blocked.
    pub blocked_first: Share,
    /// Fraudulent payments with an action other than `allow`.
    pub stopped_payments: Share,
    /// Seconds of event time from the first fraudulent payment to the first caught one.
    pub seconds_to_catch: Option<Spread>,
    /// Fraudulent payments up to and with the first caught one: 1 is at once.
    pub payments_to_catch: Option<Spread>,
}

/// What honest payments went through.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HonestReport {
    /// The habit, or `all`.
    pub habit: String,
    /// Honest payments that were decided.
    pub payments: u64,
    /// Blocked.
    pub blocked: Share,
    /// Held for review.
    pub held: Share,
    /// Challenged.
    pub challenged: Share,
    /// Challenged or held.
    pub challenged_or_held: Share,
    /// Agents without any fraudulent payment that had a payment of this habit not allowed.
    pub agents_touched: Share,
}

/// The evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Decisions read.
    pub decisions: u64,
    /// Labels read.
    pub labels: u64,
    /// Labels without a decision: rejected or lost.
    pub labels_without_decision: u64,
    /// Of these, fraudulent.
    pub fraud_without_decision: u64,
    /// Decisions without a label; they count nowhere else.
    pub decisions_without_label: u64,
    /// By kind of attack, in the order of groups and names.
    pub attacks: Vec<AttackReport>,
    /// By group of kinds.
    pub groups: Vec<AttackReport>,
    /// All honest payments.
    pub honest: HonestReport,
    /// By habit.
    pub habits: Vec<HonestReport>,
}

/// Reads NDJSON of decisions and labels and reports how the decisions did. Of a decision only `tx_id`,
/// `user_id`, `agent_id`, `tx_time`, `action` and the signals' detectors are read; of a label `tx_id`,
/// `attack`, `episode`, `habit` and, where there is one, `user_id`.
///
/// # Errors
/// A file that cannot be read, a line that is not what it should be, empty labels, or labels of another
/// stream.
pub fn evaluate(decisions: impl BufRead, labels: impl BufRead) -> Result<Report, EvaluateError> {
    let mut tally = Tally::default();
    each_line(labels, "labels", |line| tally.label(line))?;
    if tally.labels.is_empty() {
        return Err(EvaluateError::NoLabels);
    }
    each_line(decisions, "decisions", |line| tally.decision(line))?;
    if tally.decisions > 0 && tally.unlabelled == tally.decisions {
        return Err(EvaluateError::NothingMatches { decisions: tally.decisions });
    }
    Ok(tally.report())
}

fn each_line(
    mut reader: impl BufRead,
    what: &'static str,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), EvaluateError> {
    let mut line = Vec::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        let read =
            reader.read_until(b'\n', &mut line).map_err(|source| EvaluateError::Read { what, source })?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let text = line.trim_ascii();
        let text = if number == 1 { text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text) } else { text };
        if !text.is_empty() {
            take(text).map_err(|message| EvaluateError::Line { what, line: number, message })?;
        }
    }
}

#[derive(Deserialize)]
struct LabelLine<'a> {
    #[serde(borrow)]
    tx_id: Cow<'a, str>,
    #[serde(borrow, default)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    attack: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    episode: Option<Scalar<'a>>,
    #[serde(borrow, default)]
    habit: Option<Cow<'a, str>>,
}

/// Episodes are numbered in some streams and named in others.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar<'a> {
    Number(i64),
    #[serde(borrow)]
    Text(Cow<'a, str>),
}

#[derive(Deserialize)]
struct DecisionLine<'a> {
    #[serde(borrow)]
    tx_id: Cow<'a, str>,
    #[serde(borrow)]
    user_id: Cow<'a, str>,
    #[serde(borrow)]
    agent_id: Cow<'a, str>,
    #[serde(borrow)]
    tx_time: Cow<'a, str>,
    action: Action,
    #[serde(borrow, default)]
    signals: Vec<SignalLine<'a>>,
}

#[derive(Deserialize)]
struct SignalLine<'a> {
    #[serde(borrow)]
    detector: Cow<'a, str>,
}

/// A label; an honest one has no attack.
#[derive(Debug, Clone, Copy)]
struct Label {
    attack: Option<u32>,
    /// Number of the episode where the label names one.
    episode: Option<u32>,
    habit: u32,
    decided: bool,
    /// The next label with this key: `tx_id` is unique only within its user.
    next: Option<u32>,
}

#[derive(Debug, Default)]
struct Names {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map_or("", String::as_str)
    }
}

#[derive(Debug, Default)]
struct Tally {
    labels: Vec<Label>,
    by_key: HashMap<u128, u32>,
    attacks: Names,
    episode_names: Names,
    habits: Names,
    decisions: u64,
    unlabelled: u64,
    episodes: HashMap<(u32, u128), Episode>,
    honest: BTreeMap<u32, Actions>,
    /// Agents by hash: whether any payment of theirs is fraud.
    agents: HashMap<u128, bool>,
    /// Agents and habits: whether an honest payment was not allowed.
    seen: HashMap<(u128, u32), bool>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Actions {
    allowed: u64,
    challenged: u64,
    held: u64,
    blocked: u64,
}

impl Actions {
    fn total(&self) -> u64 {
        self.allowed + self.challenged + self.held + self.blocked
    }

    fn add(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.challenged += other.challenged;
        self.held += other.held;
        self.blocked += other.blocked;
    }

    fn count(&mut self, action: Action) {
        match action {
            Action::Allow => self.allowed += 1,
            Action::Challenge => self.challenged += 1,
            Action::Review => self.held += 1,
            Action::Block => self.blocked += 1,
        }
    }
}

#[derive(Debug, Default)]
struct Episode {
    first_us: i64,
    payments: u64,
    stopped: u64,
    blocked: bool,
    blocked_first: bool,
    /// Microseconds and payments to the first caught one.
    caught: Option<(i64, u64)>,
}

/// 128 bits of FNV-1a over the parts, each ended by a byte that no id holds.
fn key(parts: &[&str]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in parts {
        for &byte in part.as_bytes().iter().chain(&[0xff]) {
            hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

impl Tally {
    fn label(&mut self, line: &[u8]) -> Result<(), String> {
        let label: LabelLine<'_> = parse(line)?;
        let attack = label.attack.filter(|name| !name.is_empty()).map(|name| self.attacks.number(&name));
        let episode = label.episode.map(|episode| match episode {
            Scalar::Number(number) => self.episode_names.number(&number.to_string()),
            Scalar::Text(text) => self.episode_names.number(&text),
        });
        let habit = self.habits.number(label.habit.as_deref().unwrap_or("(none)"));
        let place =
            u32::try_from(self.labels.len()).map_err(|_| "more labels than 4,294,967,295".to_owned())?;
        let label_key = match &label.user_id {
            Some(user) => key(&[&label.tx_id, user]),
            None => key(&[&label.tx_id]),
        };
        self.labels.push(Label { attack, episode: attack.and(episode), habit, decided: false, next: None });
        if let Some(first) = self.by_key.insert(label_key, place) {
            // The newest is the head of the chain; decisions take the oldest that is left.
            if let Some(new) = self.labels.last_mut() {
                new.next = Some(first);
            }
        }
        Ok(())
    }

    /// The oldest label of this transaction without a decision, else its newest.
    fn find(&mut self, tx_id: &str, user_id: &str) -> Option<Label> {
        let head = self.by_key.get(&key(&[tx_id, user_id])).or_else(|| self.by_key.get(&key(&[tx_id])));
        let head = *head?;
        let mut chosen = head;
        let mut at = Some(head);
        while let Some(place) = at {
            let label = self.labels.get(place as usize)?;
            if !label.decided {
                chosen = place;
            }
            at = label.next;
        }
        let label = self.labels.get_mut(chosen as usize)?;
        label.decided = true;
        Some(*label)
    }

    fn decision(&mut self, line: &[u8]) -> Result<(), String> {
        let decision: DecisionLine<'_> = parse(line)?;
        self.decisions += 1;
        let Some(label) = self.find(&decision.tx_id, &decision.user_id) else {
            self.unlabelled += 1;
            return Ok(());
        };
        let agent = key(&[&decision.user_id, &decision.agent_id]);
        let is_fraud = label.attack.is_some();
        *self.agents.entry(agent).or_default() |= is_fraud;
        if is_fraud {
            return self.fraudulent(&decision, label, agent);
        }
        self.honest.entry(label.habit).or_default().count(decision.action);
        *self.seen.entry((agent, label.habit)).or_default() |= decision.action != Action::Allow;
        Ok(())
    }

    fn fraudulent(&mut self, decision: &DecisionLine<'_>, label: Label, agent: u128) -> Result<(), String> {
        let time_us = chrono::DateTime::parse_from_rfc3339(&decision.tx_time)
            .map_err(|error| format!("tx_time '{}': {error}", decision.tx_time))?
            .timestamp_micros();
        let attack = label.attack.unwrap_or_default();
        let own = attack_named(self.attacks.name(attack)).map(|kind| kind.detectors);
        let signalled =
            decision.signals.iter().any(|signal| own.is_none_or(|own| own.contains(&&*signal.detector)));
        // Without an episode in the label, an agent's payments of one attack are one.
        let which = label.episode.map_or(agent, u128::from);
        let episode = self.episodes.entry((attack, which)).or_default();
        if episode.payments == 0 {
            episode.first_us = time_us;
            episode.blocked_first = decision.action == Action::Block;
        }
        episode.payments += 1;
        episode.blocked |= decision.action == Action::Block;
        episode.stopped += u64::from(decision.action != Action::Allow);
        if episode.caught.is_none() && signalled && decision.action != Action::Allow {
            episode.caught = Some(((time_us - episode.first_us).max(0), episode.payments));
        }
        Ok(())
    }

    fn report(self) -> Report {
        let mut by_attack: BTreeMap<(Group, &str), Vec<&Episode>> = BTreeMap::new();
        for (&(attack, _), episode) in &self.episodes {
            let name = self.attacks.name(attack);
            let group = attack_named(name).map_or(Group::Unknown, |kind| kind.group);
            by_attack.entry((group, name)).or_default().push(episode);
        }
        let mut by_group: BTreeMap<Group, Vec<&Episode>> = BTreeMap::new();
        for (&(group, _), episodes) in &by_attack {
            by_group.entry(group).or_default().extend(episodes);
        }
        let missing = self.labels.iter().filter(|label| !label.decided);
        let mut all = Actions::default();
        self.honest.values().for_each(|actions| all.add(*actions));
        let mut habits: Vec<HonestReport> =
            self.honest.keys().map(|&habit| self.honest_report(Some(habit), all)).collect();
        habits.sort_by(|a, b| b.payments.cmp(&a.payments).then_with(|| a.habit.cmp(&b.habit)));
        Report {
            decisions: self.decisions,
            labels: self.labels.len() as u64,
            labels_without_decision: missing.clone().count() as u64,
            fraud_without_decision: missing.filter(|label| label.attack.is_some()).count() as u64,
            decisions_without_label: self.unlabelled,
            attacks: by_attack
                .iter()
                .map(|(&(group, name), episodes)| attack_report(name, group, episodes))
                .collect(),
            groups: by_group
                .iter()
                .map(|(&group, episodes)| attack_report(group_name(group), group, episodes))
                .collect(),
            honest: self.honest_report(None, all),
            habits,
        }
    }

    /// Of one habit, or of all honest payments.
    fn honest_report(&self, habit: Option<u32>, all: Actions) -> HonestReport {
        let actions = habit.map_or(all, |habit| self.honest.get(&habit).copied().unwrap_or_default());
        let mut agents: HashMap<u128, bool> = HashMap::new();
        for (&(agent, of), &touched) in &self.seen {
            let clean = self.agents.get(&agent).is_some_and(|fraud| !fraud);
            if clean && habit.is_none_or(|habit| habit == of) {
                *agents.entry(agent).or_default() |= touched;
            }
        }
        let total = actions.total();
        HonestReport {
            habit: habit.map_or("all", |habit| self.habits.name(habit)).to_owned(),
            payments: total,
            blocked: Share::new(actions.blocked, total),
            held: Share::new(actions.held, total),
            challenged: Share::new(actions.challenged, total),
            challenged_or_held: Share::new(actions.challenged + actions.held, total),
            agents_touched: Share::new(agents.values().filter(|t| **t).count() as u64, agents.len() as u64),
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, String> {
    // The parser's message goes on with an excerpt over several lines.
    sonic_rs::from_slice(line)
        .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}

const fn group_name(group: Group) -> &'static str {
    match group {
        Group::MandateViolation => "mandate_violation",
        Group::Overt => "overt",
        Group::Evasive => "evasive",
        Group::Unknown => "unknown",
    }
}

#[allow(clippy::cast_precision_loss, reason = "microseconds and counts are far below 2^53")]
fn attack_report(name: &str, group: Group, episodes: &[&Episode]) -> AttackReport {
    let of = episodes.len() as u64;
    let count = |is: fn(&Episode) -> bool| Share::new(episodes.iter().filter(|e| is(e)).count() as u64, of);
    let caught = || episodes.iter().filter_map(|episode| episode.caught);
    let payments = episodes.iter().map(|episode| episode.payments).sum();
    AttackReport {
        attack: name.to_owned(),
        group,
        detectors: attack_named(name).map(|kind| kind.detectors.to_vec()).unwrap_or_default(),
        payments,
        caught: count(|episode| episode.caught.is_some()),
        blocked: count(|episode| episode.blocked),
        blocked_first: count(|episode| episode.blocked_first),
        stopped_payments: Share::new(episodes.iter().map(|episode| episode.stopped).sum(), payments),
        seconds_to_catch: Spread::of(&mut caught().map(|(us, _)| us as f64 / 1e6).collect::<Vec<_>>()),
        payments_to_catch: Spread::of(&mut caught().map(|(_, n)| n as f64).collect::<Vec<_>>()),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} decisions, {} labels", self.decisions, self.labels)?;
        if self.labels_without_decision > 0 {
            write!(
                f,
                ", {} labels without a decision ({} of them fraud)",
                self.labels_without_decision, self.fraud_without_decision
            )?;
        }
        if self.decisions_without_label > 0 {
            write!(f, ", {} decisions without a label", self.decisions_without_label)?;
        }
        writeln!(f, "\n")?;
        let mut rows = vec![
            [
                "attack", "episodes", "caught", "95 %", "blocked", "at first", "seconds", "p50", "p95",
                "payments", "p95",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        for group in &self.groups {
            rows.push(attack_row(&group.attack.to_uppercase(), group));
            let members = self.attacks.iter().filter(|attack| attack.group == group.group);
            rows.extend(members.map(|attack| attack_row(&format!("  {}", attack.attack), attack)));
        }
        table(f, &rows)?;
        let mut rows = vec![
            [
                "honest",
                "payments",
                "blocked",
                "95 %",
                "challenged",
                "held",
                "together",
                "95 %",
                "agents touched",
            ]
            .map(str::to_owned)
            .to_vec(),
        ];
        rows.push(honest_row("ALL", &self.honest));
        rows.extend(self.habits.iter().map(|habit| honest_row(&format!("  {}", habit.habit), habit)));
        writeln!(f)?;
        table(f, &rows)
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn interval(share: &Share) -> String {
    format!("{:.2}–{:.2}", share.low * 100.0, share.high * 100.0)
}

fn attack_row(name: &str, report: &AttackReport) -> Vec<String> {
    let figure = |spread: Option<Spread>, which: fn(Spread) -> f64| {
        spread.map_or_else(|| "–".to_owned(), |spread| format!("{:.1}", which(spread)))
    };
    let (seconds, payments) = (report.seconds_to_catch, report.payments_to_catch);
    vec![
        name.to_owned(),
        report.caught.of.to_string(),
        percent(report.caught.share),
        interval(&report.caught),
        percent(report.blocked.share),
        percent(report.blocked_first.share),
        figure(seconds, |s| s.mean),
        figure(seconds, |s| s.p50),
        figure(seconds, |s| s.p95),
        figure(payments, |s| s.mean),
        figure(payments, |s| s.p95),
    ]
}

fn honest_row(name: &str, report: &HonestReport) -> Vec<String> {
    let touched = &report.agents_touched;
    vec![
        name.to_owned(),
        report.payments.to_string(),
        percent(report.blocked.share),
        interval(&report.blocked),
        percent(report.challenged.share),
        percent(report.held.share),
        percent(report.challenged_or_held.share),
        interval(&report.challenged_or_held),
        format!("{} of {}", touched.count, touched.of),
    ]
}

/// Columns as wide as their widest cell; the first to the left, the others to the right.
fn table(f: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => write!(f, "{cell:<width$}")?,
                _ => write!(f, "  {cell:>width$}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}
