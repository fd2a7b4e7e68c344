//! `--verify`: every view recomputed from its SQL.

use std::collections::HashSet;

use weir_detectors::risk::VIEWS;
use weir_engine::Config;
use weir_events::Transaction;
use weir_events::view::{Row, Value, View};
use weir_history::compare::compare;
use weir_history::oracle::{Oracle, OracleConfig, OracleError};

use super::pipeline::Finished;

/// Collects what the engine accepted and compares the views.
#[derive(Debug)]
pub(super) struct Verifier {
    oracle: Oracle<'static>,
    has_mandates: bool,
    /// Rows of the engine's left out so far, because their keys reached a bound.
    pub(super) rows_left_out: u64,
}

impl Verifier {
    pub(super) fn new(config: &Config) -> Result<Self, OracleError> {
        let mut parameters = weir_detectors::sql_parameters(&config.detectors);
        parameters.extend(config.risk.weights.sql_parameters());
        let oracle = Oracle::new(OracleConfig {
            parameters,
            rates: config.rates(),
            merchant_categories: config.detectors.scope.merchant_categories.clone(),
            views: &VIEWS,
        })?;
        Ok(Self { oracle, has_mandates: false, rows_left_out: 0 })
    }

    /// Takes an accepted transaction in.
    pub(super) fn push(&mut self, tx: &Transaction<'_>, late: bool) -> Result<(), OracleError> {
        self.oracle.push(tx, late)
    }

    /// Differences between the engine's rows and the SQL's. Rows of keys that reached a bound are left
    /// out on both sides.
    pub(super) fn check(
        &mut self,
        view: &View,
        rows: &[Row],
        finished: &Finished,
    ) -> Result<Vec<String>, OracleError> {
        if !self.has_mandates {
            self.oracle.mandates(finished.transaction_views.mandates())?;
            self.has_mandates = true;
        }
        let sql = self.oracle.rows(view.name)?;
        let differences = if finished.incomplete.is_empty() {
            compare(view, rows, &sql)
        } else {
            let checked = whole(view, rows, &finished.incomplete);
            self.rows_left_out += (rows.len() - checked.len()) as u64;
            compare(view, &checked, &whole(view, &sql, &finished.incomplete))
        };
        Ok(differences.iter().map(ToString::to_string).collect())
    }
}

/// The rows of keys that reached no bound.
fn whole(view: &View, rows: &[Row], incomplete: &HashSet<(Option<String>, String)>) -> Vec<Row> {
    let column = |name: &str| view.columns.iter().position(|column| column.name == name);
    let (agent, user) = (column("agent_id"), column("user_id"));
    let text = |row: &Row, at: Option<usize>| match at.and_then(|at| row.get(at)) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    };
    let is_whole = |row: &&Row| {
        let user_id = text(row, user).unwrap_or_default();
        !incomplete.contains(&(text(row, agent), user_id.clone())) && !incomplete.contains(&(None, user_id))
    };
    rows.iter().filter(is_whole).cloned().collect()
}
