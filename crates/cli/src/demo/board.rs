//! What is shown of the decisions: state, and how it looks.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use weir_engine::config::Floor;
use weir_events::Action;

use super::answers::{Decision, Ledger, Profile};

/// Episodes with a payment that was not allowed that are shown, the latest.
const EPISODES_SHOWN: usize = 8;
/// Agents that are shown, the riskiest.
const AGENTS_SHOWN: usize = 6;

/// Everything is within 24 lines, and the first 80 columns say what matters.
const EPISODES_HEAD: &str = "time        action    risk times agent                amount  why";
const LINES_HEAD: &str = "time        action    risk agent                amount  why";
const AGENTS_HEAD: &str =
    "agent           user            risk level      ever  payments  open  24 h: challenged, held, blocked";

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Agent {
    pub(super) user_id: String,
    pub(super) agent_id: String,
}

/// Floors of the tiers by `detector.tier` and `detector.*`: only a tier that has one raises an alert.
#[derive(Debug, Default)]
pub(super) struct Floors(BTreeMap<String, Floor>);

impl Floors {
    pub(super) fn of(config: &weir_engine::Config) -> serde_json::Result<Self> {
        Ok(Self(serde_json::from_value(serde_json::to_value(&config.decision.floors)?)?))
    }

    fn raises(&self, detector: &str, tier: &str) -> bool {
        let floor = |tier: &str| self.0.get(&format!("{detector}.{tier}"));
        floor(tier).or_else(|| floor("*")).is_some_and(|&floor| floor != Floor::None)
    }
}

/// The latest payment of an episode that was not allowed.
#[derive(Debug)]
struct Row {
    episode_id: String,
    action: Action,
    /// Payments of the episode that were not allowed: a burst of forty is forty decisions, and one row.
    times: usize,
    when: String,
    what: String,
}

/// What was decided so far.
#[derive(Debug)]
pub(super) struct Board {
    /// Where the service is reached.
    address: String,
    /// Transactions that will be sent.
    total: usize,
    floors: Floors,
    /// How far event time has come, as shown.
    time: String,
    actions: BTreeMap<Action, usize>,
    /// Episodes with a payment that was not allowed, by their ids.
    episodes: HashSet<String>,
    /// Episodes that an alert was raised for.
    alerts: HashSet<String>,
    /// The latest payment of each of the latest episodes, the latest first.
    latest: VecDeque<Row>,
    /// Agents of which there is news, to be asked after.
    news: VecDeque<Agent>,
    profiles: BTreeMap<Agent, Profile>,
}

impl Board {
    pub(super) fn new(address: String, total: usize, floors: Floors) -> Self {
        Self {
            address,
            total,
            floors,
            time: String::new(),
            actions: BTreeMap::new(),
            episodes: HashSet::new(),
            alerts: HashSet::new(),
            latest: VecDeque::new(),
            news: VecDeque::new(),
            profiles: BTreeMap::new(),
        }
    }

    /// Takes a decision in. Gives its line where it is the first of its episode that is not `allow`.
    pub(super) fn decided(&mut self, decision: &Decision<'_>) -> Option<String> {
        // Month and day, hour and minute; late payments do not turn it back.
        let time = decision.tx_time.get(5..16).unwrap_or_default().replace('T', " ");
        if decision.tx_time.as_ref() > self.time.as_str() {
            self.time = decision.tx_time.clone().into_owned();
        }
        *self.actions.entry(decision.action).or_default() += 1;
        for signal in &decision.signals {
            if self.floors.raises(&signal.detector, &signal.tier) {
                self.alerts.insert(signal.episode_id.clone().into_owned());
            }
        }
        if decision.action == Action::Allow {
            return None;
        }
        let (user_id, agent_id) = (decision.user_id.clone(), decision.agent_id.clone());
        let agent = Agent { user_id: user_id.into_owned(), agent_id: agent_id.into_owned() };
        if !self.news.contains(&agent) {
            self.news.push_back(agent);
        }
        let mut row = row(&time, decision);
        let line = format!("{} {}", row.when, row.what);
        if let Some(at) = self.latest.iter().position(|before| before.episode_id == row.episode_id) {
            row.times += self.latest.remove(at).map_or(0, |before| before.times);
        }
        let first = self.episodes.insert(row.episode_id.clone());
        self.latest.push_front(row);
        self.latest.truncate(EPISODES_SHOWN);
        first.then_some(line)
    }

    /// Agents whose profiles are to be asked for: those that are shown, and at most `max` of which there is news.
    pub(super) fn wanted(&mut self, max: usize) -> Vec<Agent> {
        let shown: Vec<Agent> = self.riskiest().into_iter().map(|(agent, _)| agent.clone()).collect();
        let news = self.news.len().min(max);
        self.news.drain(..news).filter(|agent| !shown.contains(agent)).chain(shown.clone()).collect()
    }

    /// Takes an agent's risk profile in.
    pub(super) fn standing(&mut self, agent: Agent, profile: Profile) {
        self.profiles.insert(agent, profile);
    }

    fn riskiest(&self) -> Vec<(&Agent, &Profile)> {
        let mut agents: Vec<_> = self.profiles.iter().collect();
        agents.sort_by_key(|(_, Profile { current, lifetime, actions_24h, .. })| {
            Reverse((current.risk_score, lifetime.risk_score, actions_24h.block))
        });
        agents.truncate(AGENTS_SHOWN);
        agents
    }

    fn count(&self, action: Action) -> usize {
        self.actions.get(&action).copied().unwrap_or_default()
    }

    /// How many were decided in which way.
    pub(super) fn counts(&self) -> String {
        let [allowed, challenged, held, blocked] = Action::ALL.map(|action| self.count(action));
        let alerts = self.alerts.len();
        format!(
            "{allowed} allowed, {challenged} challenged, {held} held for review, {blocked} blocked; alerts: {alerts}"
        )
    }

    /// What comes before the lines.
    pub(super) fn opening(&self) -> String {
        let (total, address) = (self.total, &self.address);
        format!("{total} payments to the service at {address}; the first of each episode:\n{LINES_HEAD}")
    }

    /// The state of things in one line.
    pub(super) fn status(&self, ledger: &Ledger, elapsed: Duration) -> String {
        let (speed, counts) = (speed(ledger, elapsed), self.counts());
        format!("{:>4} s  {} of {} sent, {speed}: {counts}", elapsed.as_secs(), ledger.sent, self.total)
    }

    /// The agents at most risk.
    pub(super) fn agents(&self) -> String {
        let mut text = AGENTS_HEAD.to_owned();
        for (agent, profile) in self.riskiest() {
            let Profile { lifetime, current, actions_24h: of_day, open_episodes, payments_seen } = profile;
            let (agent, user) = (cut(&agent.agent_id, 15), cut(&agent.user_id, 15));
            let risk =
                format!("{:>4} {:<9} {:>5}", current.risk_score, current.risk_level, lifetime.risk_score);
            let seen = format!("{payments_seen:>8}  {:>4}", open_episodes.len());
            let day = format!("{}, {}, {}", of_day.challenge, of_day.review, of_day.block);
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{agent:<15} {user:<15} {risk}  {seen}  {day}");
        }
        text
    }

    /// The whole board; its lines may be wider than the terminal.
    pub(super) fn render(&self, ledger: &Ledger, elapsed: Duration, color: bool) -> String {
        let paint = |code: &str, text: &str| match color {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let time = self.time.get(..16).unwrap_or_default().replace('T', " ");
        let mut lines = vec![
            format!("{}  {time}, after {} s on {}", paint("1", "weir demo"), elapsed.as_secs(), self.address),
            format!("{} of {} sent, {}", ledger.sent, self.total, speed(ledger, elapsed)),
            self.counts(),
            String::new(),
            paint("1", EPISODES_HEAD),
        ];
        for at in 0..EPISODES_SHOWN {
            lines.push(self.latest.get(at).map_or_else(
                String::new,
                |Row { action, times, when, what, .. }| {
                    let color = match action {
                        Action::Block => "31",
                        Action::Review => "33",
                        Action::Challenge | Action::Allow => "36",
                    };
                    paint(color, &format!("{when} {times:>5} {what}"))
                },
            ));
        }
        let agents = self.agents();
        let (head, rows) = agents.split_once('\n').unwrap_or((&agents, ""));
        lines.extend([String::new(), paint("1", head), rows.to_owned()]);
        lines.join("\n")
    }
}

/// The pace, and how long a transaction waits for its decision.
fn speed(ledger: &Ledger, elapsed: Duration) -> String {
    let rate = ledger.sent as u128 * 1_000 / elapsed.as_millis().max(1);
    let within = |percent| ledger.answered_within(percent).as_secs_f64() * 1e3;
    format!("{rate} per second, answered in {:.1} ms (p50), {:.1} ms (p99)", within(50), within(99))
}

/// A decision as a row.
fn row(time: &str, decision: &Decision<'_>) -> Row {
    let Decision { agent_id, merchant, amount, currency, action, risk_score, signals, reasons, .. } =
        decision;
    let (agent, merchant) = (cut(agent_id, 14), cut(merchant, 30));
    let reason = reasons.first().map_or("", |reason| &reason.text);
    let amount = format!("{amount} {currency}");
    Row {
        episode_id: signals.first().map_or("", |signal| &signal.episode_id).to_owned(),
        action: *action,
        times: 1,
        when: format!("{time} {:<9} {risk_score:>4}", action.name()),
        what: format!("{agent:<14} {amount:>12}  {reason} [{merchant}]"),
    }
}

/// At most so many characters of a name.
fn cut(name: &str, max: usize) -> String {
    match name.chars().nth(max) {
        None => name.to_owned(),
        Some(_) => name.chars().take(max - 1).chain(['…']).collect(),
    }
}
