//! Rows of the views from incremental state.

use std::cmp::Ordering;
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use weir_detectors::scope;
use weir_detectors::terms::MerchantCategories;
use weir_detectors::{Terms, agent_row, collusion, replay};
use weir_events::view::{Row, Value, View};
use weir_events::{Mandate, Transaction};

use crate::entities::Agent;
use crate::mandates::MandateChange;
use crate::shard::Shard;
use crate::table::seeded;

impl Shard {
    /// Rows of a view that is kept as state, in no particular order. The views with a row per
    /// transaction (`scope`, `replay_window`) are not: see [`TransactionViews`].
    #[must_use]
    pub fn rows(&self, view: &View) -> Vec<Row> {
        match view.name {
            "replay" => self.replay_rows(),
            "collusion" => self.collusion_rows(),
            "risk" => self.risk_rows(),
            _ => self.agent_rows(view),
        }
    }

    /// Agents, and users (without an agent), whose rows may be incomplete because they reached a
    /// bound, as `(agent_id, user_id)`.
    pub fn incomplete(&self) -> impl Iterator<Item = (Option<String>, String)> + '_ {
        let touched =
            |reached: weir_detectors::Reached| reached.iter().any(weir_detectors::Bound::touches_views);
        let agents = self.keyed.agents.iter().filter(move |agent| touched(agent.reached));
        let users = self.keyed.users.iter().filter(move |user| touched(user.reached));
        let agents = agents.map(|agent| {
            (Some(agent.agent_id.to_string()), self.keyed.users.read(agent.user).user_id.to_string())
        });
        agents.chain(users.map(|user| (None, user.user_id.to_string())))
    }

    fn agent_rows(&self, view: &View) -> Vec<Row> {
        let params = &self.policy.config.detectors;
        let row = |agent: &Agent| {
            let user = self.keyed.users.read(agent.user);
            agent_row(view, params, &agent.states, &agent.agent_id, &user.user_id)
        };
        self.keyed.agents.iter().filter_map(|agent| row(&agent)).collect()
    }

    fn replay_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for ledger in self.keyed.ledgers.iter() {
            let entry = self.mandates.entry(ledger.mandate);
            let Some(terms) = entry.terms.as_deref() else { continue };
            for usage in &ledger.uses {
                let Some((uses, spend, over)) = usage.states.replay.over_cap(terms) else { continue };
                rows.push(vec![
                    Value::Text(entry.mandate_id.to_string()),
                    Value::Text(self.keyed.agents.read(usage.agent).agent_id.to_string()),
                    Value::Text(self.keyed.users.read(ledger.user).user_id.to_string()),
                    Value::Decimal(terms.max_amount().unwrap_or_default()),
                    Value::Int(i64::try_from(uses).unwrap_or(i64::MAX)),
                    Value::Decimal(spend),
                    Value::Decimal(over),
                ]);
            }
        }
        rows
    }

    fn collusion_rows(&self) -> Vec<Row> {
        let params = &self.policy.config.detectors.collusion;
        let id_of = |user: &crate::entities::User, number: u32| {
            user.agents
                .get(number as usize)
                .map(|&at| self.keyed.agents.read(at).agent_id.clone())
                .unwrap_or_default()
        };
        let rows = self.keyed.users.iter().flat_map(|user| {
            let reported = user.states.collusion.reported(params).map(|total| {
                let (a, b) = total.agents;
                collusion::row(&user.user_id, &id_of(&user, a), &id_of(&user, b), total)
            });
            reported.collect::<Vec<Row>>()
        });
        rows.collect()
    }

    fn risk_rows(&self) -> Vec<Row> {
        let weights = &self.policy.config.risk.weights;
        let agents = (0..).zip(self.keyed.agents.iter());
        let rows = agents.map(|(at, agent)| {
            self.lifetime(at).row(&agent.agent_id, &self.keyed.users.read(agent.user).user_id, weights)
        });
        rows.collect()
    }
}

/// The rows of a view in its order, by bytes.
#[must_use]
pub fn rows_sorted(mut rows: Vec<Row>, view: &View) -> Vec<Row> {
    let compare = |a: &Row, b: &Row| {
        let by_column =
            view.sort.iter().map(|&at| a.get(at).partial_cmp(&b.get(at)).unwrap_or(Ordering::Equal));
        by_column.fold(Ordering::Equal, Ordering::then)
    };
    rows.sort_by(compare);
    rows
}

/// The views with one row per transaction, which depend on the newest state of every mandate and on
/// no other transaction: whoever has the recorded stream writes them, the service does not.
#[derive(Debug)]
pub struct TransactionViews {
    /// By mandate id.
    newest: Newest,
    categories: MerchantCategories,
}

impl TransactionViews {
    /// From the records of all mandates, in order.
    #[must_use]
    pub fn new(shard: &Shard, changes: &[MandateChange]) -> Self {
        let mut newest = Newest { table: HashTable::new(), seed: shard.keyed.seed };
        changes.iter().for_each(|change| newest.take(change));
        Self { newest, categories: shard.policy.categories.clone() }
    }

    /// The newest states.
    pub fn mandates(&self) -> impl Iterator<Item = Mandate> {
        self.newest.table.iter().map(|terms| terms.mandate())
    }

    /// The rows of `scope` and of `replay_window` for an accepted transaction, where it has one.
    #[must_use]
    pub fn rows(&self, tx: &Transaction<'_>) -> (Option<Row>, Option<Row>) {
        let terms = tx.mandate_id.as_deref().and_then(|mandate_id| self.newest.get(mandate_id));
        match terms {
            Some(terms) => (self.scope_row(tx, terms), window_row(tx, terms)),
            None => (None, None),
        }
    }

    fn scope_row(&self, tx: &Transaction<'_>, terms: &Terms) -> Option<Row> {
        let allowed = terms.scope_text().filter(|allowed| *allowed != tx.merchant)?;
        let category = |merchant: &str| self.categories.of_raw(merchant);
        let shared = category(allowed).is_some() && category(allowed) == category(&tx.merchant);
        debug_assert_eq!(scope::VIEW.columns.len(), 9);
        Some(vec![
            Value::Text(tx.tx_id.to_string()),
            Value::Text(tx.agent_id.to_string()),
            Value::Text(tx.user_id.to_string()),
            Value::Text(terms.mandate_id().to_owned()),
            Value::Text(allowed.to_owned()),
            Value::Text(tx.merchant.to_string()),
            Value::Decimal(tx.amount),
            Value::Time(tx.tx_time),
            Value::Text(if shared { "category" } else { "strict" }.to_owned()),
        ])
    }
}

/// The newest terms of mandates by id, without another copy of the id.
#[derive(Debug)]
struct Newest {
    table: HashTable<Arc<Terms>>,
    seed: u64,
}

impl Newest {
    fn take(&mut self, change: &MandateChange) {
        let Self { table, seed } = self;
        let hash = |terms: &Arc<Terms>| seeded(*seed, terms.mandate_id());
        let mandate_id = change.mandate_id();
        let same = |terms: &Arc<Terms>| terms.mandate_id() == mandate_id;
        match (table.entry(seeded(*seed, mandate_id), same, hash), change.terms()) {
            (entry, Some(terms)) => drop(entry.insert(Arc::clone(terms))),
            (Entry::Occupied(entry), None) => drop(entry.remove()),
            (Entry::Vacant(_), None) => {}
        }
    }

    fn get(&self, mandate_id: &str) -> Option<&Arc<Terms>> {
        self.table.find(seeded(self.seed, mandate_id), |terms| terms.is(mandate_id))
    }
}

fn window_row(tx: &Transaction<'_>, terms: &Terms) -> Option<Row> {
    debug_assert_eq!(replay::WINDOW_VIEW.columns.len(), 7);
    let time = |time: Option<_>| time.map_or(Value::Null, Value::Time);
    (!terms.in_date(tx.tx_time.0)).then(|| {
        vec![
            Value::Text(tx.tx_id.to_string()),
            Value::Text(terms.mandate_id().to_owned()),
            Value::Text(tx.agent_id.to_string()),
            Value::Text(tx.user_id.to_string()),
            Value::Time(tx.tx_time),
            time(terms.valid_from()),
            time(terms.valid_to()),
        ]
    })
}
