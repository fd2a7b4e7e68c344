//! Runs of signals: forty payments of one burst are forty decisions and one episode.

use serde::{Deserialize, Serialize};
use weir_detectors::TABLE;
use weir_events::alert::{AlertState, Recommended};
use weir_events::decision::Signal;
use weir_events::{Action, Alert, Amount};

/// Memory of episodes that have ended, for those that begin: a steady stream allocates nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spare(Vec<Episode>);

/// Ended episodes whose memory is kept.
const SPARE_MAX: usize = 64;

impl Spare {
    fn keep(&mut self, ended: Episode) {
        if self.0.len() < SPARE_MAX {
            self.0.push(ended);
        }
    }
}

/// The open episodes of one key, at most one per detector.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Episodes(Vec<Episode>);

/// A run of signals of one detector on one key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Episode {
    /// Position of the detector in the table.
    detector: u8,
    first_tx: String,
    last_tx: String,
    /// The greatest time of a signal.
    last_us: i64,
    transactions: u64,
    amount: Amount,
    /// The strongest tier told so far: floor and position in the detector's table. `None` while no
    /// tier had a floor, so that nothing was told.
    told: Option<(Action, u8)>,
    agent_id: String,
    mandate_id: Option<String>,
    recommended: bool,
}

/// The transaction that a signal was raised on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raised<'a> {
    pub(crate) tx_id: &'a str,
    pub(crate) agent_id: &'a str,
    pub(crate) user_id: &'a str,
    pub(crate) mandate_id: Option<&'a str>,
    pub(crate) time_us: i64,
    pub(crate) amount: Option<Amount>,
    /// Whether pausing the presented mandate would help: it is held and active.
    pub(crate) pausable: bool,
}

impl Episodes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Closes what has had no signal for longer than its detector's window before `time_us`.
    pub(crate) fn close_before(
        &mut self,
        time_us: i64,
        windows_us: &[i64],
        user_id: &str,
        spare: &mut Spare,
        alerts: &mut Vec<Alert>,
    ) {
        let mut at = 0;
        while let Some(episode) = self.0.get(at) {
            let window_us = windows_us.get(usize::from(episode.detector)).copied().unwrap_or(i64::MAX);
            if time_us.saturating_sub(episode.last_us) <= window_us {
                at += 1;
                continue;
            }
            if episode.told.is_some() {
                alerts.push(episode.alert(AlertState::Closed, user_id));
            }
            spare.keep(self.0.remove(at));
        }
    }

    /// Adds a signal to its detector's episode and returns the episode's first transaction.
    pub(crate) fn add(
        &mut self,
        detector: u8,
        signal: &Signal,
        raised: &Raised<'_>,
        spare: &mut Spare,
        alerts: &mut Vec<Alert>,
    ) -> &str {
        let at = match self.0.iter().position(|episode| episode.detector == detector) {
            Some(at) => at,
            None => {
                let mut episode = spare.0.pop().unwrap_or_default();
                episode.begin(detector, raised);
                self.0.push(episode);
                self.0.len() - 1
            }
        };
        let Some(episode) = self.0.get_mut(at) else { return "" };
        episode.add(signal, raised);
        let tier =
            signal.tiers.iter().position(|name| *name == signal.tier).and_then(|at| u8::try_from(at).ok());
        let strength = (signal.floor, std::cmp::Reverse(tier.unwrap_or(u8::MAX)));
        let told = episode.told.map(|(floor, tier)| (floor, std::cmp::Reverse(tier)));
        let stronger = signal.floor > Action::Allow && told.is_none_or(|told| strength > told);
        if stronger {
            episode.told = Some((signal.floor, strength.1.0));
        }
        // The advice goes with the mandate that the alert names, the latest signal's.
        let held_back = episode.told.is_some_and(|(floor, _)| floor >= Action::Review);
        episode.recommended = raised.pausable && held_back;
        if stronger {
            let state = if told.is_none() { AlertState::Opened } else { AlertState::Escalated };
            alerts.push(episode.alert(state, raised.user_id));
        }
        &episode.first_tx
    }

    /// Ids of the open episodes.
    pub(crate) fn ids(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|episode| format!("{}:{}", episode.detector_name(), episode.first_tx))
    }
}

impl Episode {
    /// Starts over, but for the texts of the latest signal, which [`Episode::add`] sets.
    fn begin(&mut self, detector: u8, raised: &Raised<'_>) {
        overwrite(&mut self.first_tx, raised.tx_id);
        self.detector = detector;
        self.last_us = raised.time_us;
        self.transactions = 0;
        self.amount = Amount::ZERO;
        self.told = None;
        self.recommended = false;
    }

    fn add(&mut self, signal: &Signal, raised: &Raised<'_>) {
        debug_assert_eq!(signal.detector, self.detector_name());
        self.transactions += 1;
        self.amount = self.amount.plus(raised.amount.unwrap_or_default());
        self.last_us = self.last_us.max(raised.time_us);
        overwrite(&mut self.last_tx, raised.tx_id);
        overwrite(&mut self.agent_id, raised.agent_id);
        match (&mut self.mandate_id, raised.mandate_id) {
            (Some(mandate_id), Some(latest)) => overwrite(mandate_id, latest),
            (mandate_id, latest) => *mandate_id = latest.map(str::to_owned),
        }
    }

    fn detector_name(&self) -> &'static str {
        TABLE.get(usize::from(self.detector)).map_or("", |entry| entry.name)
    }

    fn alert(&self, state: AlertState, user_id: &str) -> Alert {
        let entry = TABLE.get(usize::from(self.detector));
        let tier = self.told.and_then(|(_, tier)| entry?.tier_names.get(usize::from(tier)));
        Alert {
            detector: self.detector_name(),
            tier: tier.copied().unwrap_or(""),
            state,
            agent_id: self.agent_id.clone(),
            user_id: user_id.to_owned(),
            mandate_id: self.mandate_id.clone(),
            first_tx: self.first_tx.clone(),
            last_tx: self.last_tx.clone(),
            transactions: self.transactions,
            amount: self.amount,
            recommended: if self.recommended { Recommended::PauseMandate } else { Recommended::None },
        }
    }
}

/// Replaces the text and keeps the memory.
fn overwrite(text: &mut String, with: &str) {
    text.clear();
    text.push_str(with);
}
