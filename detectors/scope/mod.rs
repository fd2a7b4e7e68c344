//! Scope: a payment outside the merchants or categories of the mandate it is made under.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use weir_events::view::{Column, Kind, View};
use weir_events::{Action, Amount};

use crate::hash::name_hash;
use crate::names::{normalize, normalized};
use crate::{
    Bound, Bounds, Detector, EpisodeKey, Explain, Held, Nothing, Payment, Points, Reached, Reason, Seat,
    Tier, Tiers,
};

#[cfg(test)]
mod tests;

/// View `scope`: one row per transaction at another merchant than the mandate's `scope_merchant`.
pub const VIEW: View = View {
    name: "scope",
    columns: &[
        Column { name: "tx_id", kind: Kind::Text },
        Column { name: "agent_id", kind: Kind::Text },
        Column { name: "user_id", kind: Kind::Text },
        Column { name: "mandate_id", kind: Kind::Text },
        Column { name: "allowed_merchant", kind: Kind::Text },
        Column { name: "actual_merchant", kind: Kind::Text },
        Column { name: "amount", kind: Kind::Decimal },
        Column { name: "tx_time", kind: Kind::Time },
        Column { name: "tier", kind: Kind::Text },
    ],
    sort: &[0, 2],
    sql: include_str!("view.sql"),
};

/// Section `[detectors.scope]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Category of merchants, by which a neighbouring merchant (another travel site) is told from a
    /// stranger: `{ "expedia.com" = "travel" }`.
    pub merchant_categories: BTreeMap<String, String>,
}

/// Payments per merchant under one mandate by one agent, from which any version of the mandate
/// derives its violations.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MerchantCounts {
    /// `(hash of the merchant, payments)`, sorted by hash.
    counts: SmallVec<[(u64, u64); 2]>,
    total: u64,
}

impl MerchantCounts {
    /// Reads what the next payment will read; what it gives stands for nothing.
    #[inline]
    #[must_use]
    pub fn touch(&self) -> i64 {
        self.counts.first().map_or(0, |&(_, count)| i64::from(count == self.total))
    }

    fn add(&mut self, merchant: u64, bounds: &Bounds, reached: &mut Reached) {
        self.total += 1;
        match self.counts.binary_search_by_key(&merchant, |&(hash, _)| hash) {
            Ok(at) => {
                if let Some((_, count)) = self.counts.get_mut(at) {
                    *count += 1;
                }
            }
            Err(_) if self.counts.len() >= bounds.use_merchants_max => reached.mark(Bound::UseMerchants),
            Err(at) => self.counts.insert(at, (merchant, 1)),
        }
    }

    /// Payments at other merchants than the one with hash `scope_merchant`.
    #[must_use]
    pub fn outside(&self, scope_merchant: u64) -> u64 {
        let at = self.counts.binary_search_by_key(&scope_merchant, |&(hash, _)| hash).ok();
        let inside = at.and_then(|at| self.counts.get(at)).map_or(0, |&(_, count)| count);
        self.total - inside
    }
}

/// The detector.
#[derive(Debug)]
pub struct Scope;

const STRICT: usize = 0;
const CATEGORY_NOT_ALLOWED: usize = 1;
const CATEGORY: usize = 2;

impl Detector for Scope {
    const NAME: &'static str = "scope";
    const TIERS: &'static [Tier] = &[
        Tier { name: "strict", floor: Some(Action::Block), points: Points::Weighted { cap: 50 } },
        Tier {
            name: "category_not_allowed",
            floor: Some(Action::Block),
            points: Points::Weighted { cap: 50 },
        },
        Tier { name: "category", floor: Some(Action::Review), points: Points::Weighted { cap: 25 } },
    ];
    const TIER_NAMES: &'static [&'static str] = &["strict", "category_not_allowed", "category"];
    const EPISODE: EpisodeKey = EpisodeKey::Use;
    const WEIGHT: Option<Amount> = Some(Amount::units(50));
    const VIEWS: &'static [View] = &[VIEW];

    type Params = Params;
    type Agent = Nothing;
    type User = Nothing;
    type Ledger = Nothing;
    type Use = MerchantCounts;
    type Found = ();

    #[inline(always)]
    fn observe(params: &Params, payment: &Payment<'_>, seat: &mut Seat<'_, Self>, tiers: &mut Tiers) {
        if let Some(usage) = seat.usage.as_deref_mut() {
            usage.add(payment.merchant.raw, seat.bounds, seat.reached);
        }
        let Some(terms) = payment.mandate else { return };
        let measure = Amount::units(1);
        if !terms.allows_merchant(payment.merchant.normalized) {
            let merchant = normalized(&payment.tx.merchant);
            let tier = if shares_category(params, &merchant, terms) { CATEGORY } else { STRICT };
            tiers.push(Held { tier, measure });
        }
        if !terms.allows_category(payment.category.lowered) {
            tiers.push(Held { tier: CATEGORY_NOT_ALLOWED, measure });
        }
    }

    fn explain(_: &Params, payment: &Payment<'_>, _: &(), held: Held, out: &mut Explain<'_>) -> Reason {
        let tx = payment.tx;
        out.fact("measure", weir_events::decision::Fact::Count(1));
        out.fact("threshold", weir_events::decision::Fact::Count(1));
        out.text("actual_merchant", &tx.merchant);
        if let Some(terms) = payment.mandate {
            if terms.restricts_merchants() {
                out.texts("allowed_merchants", terms.merchants());
            }
            if let Some(allowed) = terms.categories() {
                out.texts("allowed_categories", allowed);
            }
        }
        if let Some(category) = &tx.merchant_category {
            out.text("actual_category", category);
        }
        let merchant = &tx.merchant;
        match held.tier {
            STRICT => out.reason(format_args!(
                "The agent tried to pay {merchant}, which the mandate does not allow."
            )),
            CATEGORY_NOT_ALLOWED => match &tx.merchant_category {
                Some(category) => out.reason(format_args!(
                    "The agent tried to pay {merchant} for {category}, a kind of purchase that the mandate does not allow."
                )),
                None => out.reason(format_args!(
                    "The agent tried to pay {merchant} without saying what for, and the mandate allows only certain kinds of purchase."
                )),
            },
            _ => out.reason(format_args!(
                "The agent tried to pay {merchant}, which the mandate does not name, although it is the same kind of merchant."
            )),
        }
    }
}

fn shares_category(params: &Params, merchant: &str, terms: &crate::Terms) -> bool {
    // The map is small and a violation rare, so a scan that normalizes serves.
    let mut configured = params.merchant_categories.iter().filter(|(name, _)| normalize(name) == merchant);
    configured.any(|(_, category)| terms.allows_configured(name_hash(category.as_bytes())))
}
