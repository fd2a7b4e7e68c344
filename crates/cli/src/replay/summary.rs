//! What a replay came to: `summary.json` and the table at the end.

use std::collections::BTreeMap;
use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use weir_events::{Action, RejectCode, Verdict};

/// Counts of a replay.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Summary {
    /// Digest of the deciding configuration.
    pub(super) config_digest: String,
    /// The transactions' fate: `records` = `decisions` + `duplicates` + `rejects`.
    pub(super) transactions: Transactions,
    /// The mandates' fate.
    pub(super) mandates: Mandates,
    /// Decisions by action.
    pub(super) actions: BTreeMap<&'static str, u64>,
    /// Signals by `detector.tier`.
    pub(super) signals: BTreeMap<String, u64>,
    /// Rejects by code, of transactions and of mandates.
    pub(super) rejects: BTreeMap<&'static str, u64>,
    /// Decisions on late transactions.
    pub(super) late: u64,
    /// Alerts.
    pub(super) alerts: u64,
    /// Agents seen.
    pub(super) agents: u64,
    /// Rows by view.
    pub(super) views: BTreeMap<&'static str, u64>,
    /// Bounds reached, with the number of keys that reached each.
    pub(super) bounds_reached: BTreeMap<&'static str, u64>,
    /// Whether every view equals its SQL; absent when that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verified: Option<bool>,
    /// Rows of keys that reached a bound, which the comparison with the SQL leaves out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows_not_verified: Option<u64>,
    /// From opening the files to the last decision.
    pub(super) seconds: f64,
    /// Transactions per second over that time.
    pub(super) records_per_second: f64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Transactions {
    pub(super) records: u64,
    pub(super) decisions: u64,
    pub(super) duplicates: u64,
    pub(super) rejects: u64,
}

#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Mandates {
    pub(super) records: u64,
    pub(super) rejects: u64,
}

/// Signals counted by position and tier, without an allocation per signal.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) decisions: u64,
    pub(super) late: u64,
    actions: [u64; Action::ALL.len()],
    signals: BTreeMap<(&'static str, &'static str), u64>,
}

impl Tally {
    pub(super) fn add(&mut self, verdict: &Verdict) {
        self.decisions += 1;
        self.late += u64::from(verdict.late);
        if let Some(count) = self.actions.get_mut(verdict.action as usize) {
            *count += 1;
        }
        for signal in &verdict.signals {
            *self.signals.entry((signal.detector, signal.tier)).or_default() += 1;
        }
    }
}

impl Summary {
    pub(super) fn count(&mut self, tally: &Tally) {
        self.transactions.decisions += tally.decisions;
        self.late += tally.late;
        for (action, count) in Action::ALL.into_iter().zip(tally.actions) {
            *self.actions.entry(action.name()).or_default() += count;
        }
        for (&(detector, tier), count) in &tally.signals {
            *self.signals.entry(format!("{detector}.{tier}")).or_default() += count;
        }
    }

    /// Notes how long it took.
    pub(super) fn timed(&mut self, seconds: f64) {
        self.seconds = seconds;
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let records = self.transactions.records as f64;
        self.records_per_second = records / seconds.max(f64::EPSILON);
    }

    pub(super) fn count_reject(&mut self, code: RejectCode) {
        *self.rejects.entry(code.name()).or_default() += 1;
    }

    /// The table for people.
    pub(super) fn table(&self) -> String {
        let transactions = &self.transactions;
        let mut text = format!(
            "{} transactions: {} decisions, {} duplicates, {} rejects, by {} agents in {:.1} s ({:.0} records per second)\n\n",
            transactions.records,
            transactions.decisions,
            transactions.duplicates,
            transactions.rejects,
            self.agents,
            self.seconds,
            self.records_per_second
        );
        let rejects: Vec<(String, u64)> =
            self.rejects.iter().map(|(&code, &count)| (code.to_owned(), count)).collect();
        let actions = Action::ALL.iter().map(|action| {
            (action.name().to_owned(), self.actions.get(action.name()).copied().unwrap_or_default())
        });
        let views = self.views.iter().map(|(&view, &rows)| (view.to_owned(), rows)).collect();
        let signals = self.signals.iter().map(|(signal, &count)| (signal.clone(), count)).collect();
        let bounds = self.bounds_reached.iter().map(|(&bound, &keys)| (bound.to_owned(), keys)).collect();
        let parts: [(&str, Vec<(String, u64)>); 5] = [
            ("action", actions.collect()),
            ("signal", signals),
            ("view", views),
            ("reject", rejects),
            ("bound reached", bounds),
        ];
        for (title, counts) in parts.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            let mut table = Table::new();
            table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header([title, "count"]);
            for (name, count) in counts {
                table.add_row([name, count.to_string()]);
            }
            if let Some(column) = table.column_mut(1) {
                column.set_cell_alignment(CellAlignment::Right);
            }
            let _ = writeln!(text, "{table}");
        }
        match self.verified {
            Some(true) => match self.rows_not_verified.unwrap_or_default() {
                0 => text.push_str("every view equals its SQL"),
                rows => {
                    let _ = write!(
                        text,
                        "every view equals its SQL, but for {rows} rows of keys that reached a bound, which were not compared"
                    );
                }
            },
            Some(false) => text.push_str("the views and their SQL differ"),
            None => {
                text.pop();
            }
        }
        text
    }
}
