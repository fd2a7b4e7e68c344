//! A mandate prepared for matching.

use std::collections::BTreeMap;
use std::ops::Range;

use smallvec::SmallVec;
use weir_events::{Amount, CapPeriod, Currency, Mandate, MandateStatus, Timestamp};

use crate::hash::name_hash;
use crate::names::{lowered, normalize};
use crate::slim::SlimAmount;

/// Which category each configured merchant belongs to, by raw and by normalized name.
#[derive(Debug, Clone, Default)]
pub struct MerchantCategories {
    raw: BTreeMap<String, String>,
    normalized: BTreeMap<String, String>,
}

impl MerchantCategories {
    /// From the configured map of merchant to category.
    #[must_use]
    pub fn new(configured: &BTreeMap<String, String>) -> Self {
        let normalized =
            configured.iter().map(|(merchant, category)| (normalize(merchant), category.clone()));
        Self { raw: configured.clone(), normalized: normalized.collect() }
    }

    /// Category of a merchant exactly as configured; for the view.
    #[must_use]
    pub fn of_raw(&self, merchant: &str) -> Option<&str> {
        self.raw.get(merchant).map(String::as_str)
    }

    /// Category of a normalized merchant; for the signal.
    #[must_use]
    pub fn of_normalized(&self, merchant: &str) -> Option<&str> {
        self.normalized.get(merchant).map(String::as_str)
    }
}

/// The newest state of a mandate, prepared for matching when it changes instead of at each payment.
///
/// There is one per mandate, so it is kept small: the texts stand in one piece, and what is compared
/// at each payment is compared by hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Whether the mandate is in force.
    pub status: MandateStatus,
    /// Currency of the caps.
    pub currency: Currency,
    /// What the cap is counted over.
    pub period: CapPeriod,
    /// Whether the scope names one merchant.
    scoped: bool,
    /// Merchants listed beside the scope's; `None`: no list.
    listed_merchants: Option<u32>,
    /// Categories listed; `None`: no list.
    listed_categories: Option<u32>,
    max_amount: SlimAmount,
    per_transaction_max: SlimAmount,
    authorized_tps: SlimAmount,
    /// The number of uses allowed.
    pub max_uses: Option<u64>,
    /// First and last instant of validity; the ends of time where the mandate names none.
    valid_us: (i64, i64),
    updated_us: Option<i64>,
    /// What is allowed: merchants by their normalized names, categories in lower case, and the configured
    /// categories of those merchants.
    allowed: Lists,
    /// Mandate, agent and user id, the scope's merchant, the listed ones, the listed categories.
    texts: Texts,
}

const MANDATE_ID: usize = 0;
const AGENT_ID: usize = 1;
const USER_ID: usize = 2;
const MERCHANTS: usize = 3;

impl Terms {
    /// Prepares a mandate.
    #[must_use]
    pub fn new(mandate: &Mandate, categories: &MerchantCategories) -> Self {
        let Mandate { scope_merchant, allowed_merchants, allowed_categories, .. } = mandate;
        let merchants = scope_merchant.iter().chain(allowed_merchants.iter().flatten());
        let names: Vec<String> = merchants.clone().map(|merchant| normalize(merchant)).collect();
        let ids = [&mandate.mandate_id, &mandate.agent_id, &mandate.user_id];
        let texts = ids.into_iter().chain(merchants).chain(allowed_categories.iter().flatten());
        let length = |list: &Vec<String>| u32::try_from(list.len()).unwrap_or(u32::MAX);
        let lower = |list: &Vec<String>| -> Vec<String> {
            list.iter().map(|name| lowered(name).to_string()).collect()
        };
        Self {
            status: mandate.status,
            currency: mandate.currency,
            period: mandate.max_amount_period,
            scoped: scope_merchant.is_some(),
            listed_merchants: allowed_merchants.as_ref().map(length),
            listed_categories: allowed_categories.as_ref().map(length),
            max_amount: mandate.max_amount.into(),
            per_transaction_max: mandate.per_transaction_max.into(),
            authorized_tps: mandate.authorized_tps.into(),
            max_uses: mandate.max_uses,
            valid_us: (
                mandate.valid_from.map_or(i64::MIN, |from| from.0),
                mandate.valid_to.map_or(i64::MAX, |to| to.0),
            ),
            updated_us: mandate.updated_at.map(|time| time.0),
            allowed: Lists::new([
                hashes(&names),
                hashes(names.iter().filter_map(|name| categories.of_normalized(name))),
                hashes(allowed_categories.as_ref().map(lower).unwrap_or_default()),
            ]),
            texts: Texts::new(texts.map(String::as_str)),
        }
    }

    /// The mandate as it was sent.
    #[must_use]
    pub fn mandate(&self) -> Mandate {
        let owned = |text: &str| text.to_owned();
        let merchants = self.merchants().skip(usize::from(self.scoped)).map(owned);
        Mandate {
            mandate_id: owned(self.mandate_id()),
            agent_id: owned(self.agent_id()),
            user_id: owned(self.user_id()),
            scope_merchant: self.scope_text().map(owned),
            allowed_merchants: self.listed_merchants.map(|_| merchants.collect()),
            allowed_categories: self.categories().map(|names| names.map(owned).collect()),
            max_amount: self.max_amount(),
            max_amount_period: self.period,
            per_transaction_max: self.per_transaction_max(),
            max_uses: self.max_uses,
            currency: self.currency,
            authorized_tps: self.authorized_tps(),
            valid_from: self.valid_from(),
            valid_to: self.valid_to(),
            status: self.status,
            updated_at: self.updated_at(),
        }
    }

    /// Whether this is the mandate with that id.
    #[must_use]
    pub fn is(&self, mandate_id: &str) -> bool {
        self.texts.is(MANDATE_ID, mandate_id)
    }

    /// Id of the mandate.
    #[must_use]
    pub fn mandate_id(&self) -> &str {
        self.texts.get(MANDATE_ID)
    }

    /// The agent that holds it.
    #[must_use]
    pub fn agent_id(&self) -> &str {
        self.texts.get(AGENT_ID)
    }

    /// The user who granted it.
    #[must_use]
    pub fn user_id(&self) -> &str {
        self.texts.get(USER_ID)
    }

    /// The cap over [`Terms::period`].
    #[must_use]
    pub fn max_amount(&self) -> Option<Amount> {
        self.max_amount.get()
    }

    /// The most that one payment may be.
    #[must_use]
    pub fn per_transaction_max(&self) -> Option<Amount> {
        self.per_transaction_max.get()
    }

    /// A rate in transactions per second that the user agreed to.
    #[must_use]
    pub fn authorized_tps(&self) -> Option<Amount> {
        self.authorized_tps.get()
    }

    /// First instant of validity, inclusive.
    #[must_use]
    pub fn valid_from(&self) -> Option<Timestamp> {
        (self.valid_us.0 != i64::MIN).then_some(Timestamp(self.valid_us.0))
    }

    /// Last instant of validity, inclusive.
    #[must_use]
    pub fn valid_to(&self) -> Option<Timestamp> {
        (self.valid_us.1 != i64::MAX).then_some(Timestamp(self.valid_us.1))
    }

    /// When this state was set.
    #[must_use]
    pub fn updated_at(&self) -> Option<Timestamp> {
        self.updated_us.map(Timestamp)
    }

    /// The one merchant of the scope, as sent.
    #[must_use]
    pub fn scope_text(&self) -> Option<&str> {
        self.scoped.then(|| self.texts.get(MERCHANTS))
    }

    /// Hash of the scope's merchant as sent.
    #[must_use]
    pub fn scope_merchant(&self) -> Option<u64> {
        self.scope_text().map(|merchant| name_hash(merchant.as_bytes()))
    }

    /// The merchants allowed, as sent, the scope's first.
    pub fn merchants(&self) -> impl Iterator<Item = &str> {
        self.texts.range(MERCHANTS, self.merchants_len())
    }

    /// The categories allowed, as sent; `None`: any.
    pub fn categories(&self) -> Option<impl Iterator<Item = &str>> {
        self.listed_categories.map(|count| self.texts.range(MERCHANTS + self.merchants_len(), count as usize))
    }

    fn merchants_len(&self) -> usize {
        usize::from(self.scoped) + self.listed_merchants.unwrap_or(0) as usize
    }

    /// Whether the mandate names this agent and user.
    #[must_use]
    pub fn held_by(&self, agent_id: &str, user_id: &str) -> bool {
        self.texts.is(AGENT_ID, agent_id) && self.texts.is(USER_ID, user_id)
    }

    /// Whether `time_us` lies in the mandate's validity, both ends included.
    #[must_use]
    pub fn in_date(&self, time_us: i64) -> bool {
        (self.valid_us.0..=self.valid_us.1).contains(&time_us)
    }

    /// Whether it may be used at `time_us`.
    #[must_use]
    pub fn usable_at(&self, time_us: i64) -> bool {
        self.status == MandateStatus::Active && self.in_date(time_us)
    }

    /// Whether it has a merchant scope, a category list or a cap.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.restricts_merchants() || self.listed_categories.is_some() || self.max_amount().is_some()
    }

    /// Whether merchants are restricted.
    #[must_use]
    pub fn restricts_merchants(&self) -> bool {
        self.scoped || self.listed_merchants.is_some()
    }

    /// Whether the merchant with this hash of its normalized name is allowed.
    #[must_use]
    pub fn allows_merchant(&self, normalized: u64) -> bool {
        !self.restricts_merchants() || self.allowed.has(ALLOWED_MERCHANTS, normalized)
    }

    /// Whether an allowed merchant has the configured category with this hash.
    #[must_use]
    pub fn allows_configured(&self, category: u64) -> bool {
        self.allowed.has(ALLOWED_CONFIGURED, category)
    }

    /// Whether the merchant category with this hash in lower case is allowed; 0, for none, is not
    /// where a list is given.
    #[must_use]
    pub fn allows_category(&self, lowered: u64) -> bool {
        self.listed_categories.is_none() || self.allowed.has(ALLOWED_CATEGORIES, lowered)
    }
}

/// Three sorted lists of hashes in one piece.
#[derive(Debug, Clone, PartialEq)]
struct Lists {
    hashes: Box<[u64]>,
    /// Where each list ends.
    ends: [u32; 3],
}

const ALLOWED_MERCHANTS: usize = 0;
const ALLOWED_CONFIGURED: usize = 1;
const ALLOWED_CATEGORIES: usize = 2;

impl Lists {
    fn new(lists: [Vec<u64>; 3]) -> Self {
        let mut end = 0;
        let ends = lists.each_ref().map(|list| {
            end += list.len();
            u32::try_from(end).unwrap_or(u32::MAX)
        });
        Self { hashes: lists.concat().into(), ends }
    }

    fn has(&self, list: usize, hash: u64) -> bool {
        let place = place(&self.ends, list);
        self.hashes.get(place).is_some_and(|hashes| hashes.binary_search(&hash).is_ok())
    }
}

/// Several texts in one piece.
#[derive(Debug, Clone, PartialEq)]
struct Texts {
    text: Box<str>,
    /// Where each ends; most mandates name few.
    ends: SmallVec<[u32; 6]>,
}

/// Where the part at `at` lies, given where each ends.
fn place(ends: &[u32], at: usize) -> Range<usize> {
    let end = |at: usize| ends.get(at).map_or(0, |&end| end as usize);
    at.checked_sub(1).map_or(0, end)..end(at)
}

impl Texts {
    fn new<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut ends) = (String::new(), SmallVec::new());
        for one in texts {
            text.push_str(one);
            // A mandate's record is far below 4 GiB.
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        Self { text: text.into(), ends }
    }

    fn get(&self, at: usize) -> &str {
        self.text.get(place(&self.ends, at)).unwrap_or_default()
    }

    /// Whether the text at `at` is `other`, without a look at the boundaries of characters.
    fn is(&self, at: usize, other: &str) -> bool {
        self.text.as_bytes().get(place(&self.ends, at)) == Some(other.as_bytes())
    }

    fn range(&self, first: usize, count: usize) -> impl Iterator<Item = &str> {
        (first..first + count).map(|at| self.get(at))
    }
}

/// Hashes of names, sorted.
fn hashes(names: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<u64> {
    let mut hashes: Vec<u64> = names.into_iter().map(|name| name_hash(name.as_ref().as_bytes())).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

#[cfg(test)]
mod tests {
    use weir_events::money::UNITS;

    use super::*;

    #[test]
    fn the_mandate_comes_back_as_it_was_sent() {
        let text = |text: &str| text.to_owned();
        let full = Mandate {
            mandate_id: text("mdt"),
            agent_id: text("agt é"),
            user_id: text("usr"),
            scope_merchant: Some(text("WWW.Shop.example")),
            allowed_merchants: Some(vec![text("b"), text(""), text("a"), text("b")]),
            allowed_categories: Some(vec![text("Books"), text("5411")]),
            max_amount: Some(Amount(5 * UNITS)),
            max_amount_period: CapPeriod::Week,
            per_transaction_max: Some(Amount(1)),
            max_uses: Some(3),
            currency: Currency::USD,
            authorized_tps: Some(Amount(UNITS / 2)),
            valid_from: Some(Timestamp(-1)),
            valid_to: Some(Timestamp(7)),
            status: MandateStatus::Paused,
            updated_at: Some(Timestamp(0)),
        };
        let bare = Mandate {
            scope_merchant: None,
            allowed_merchants: None,
            allowed_categories: None,
            max_amount: None,
            per_transaction_max: None,
            max_uses: None,
            authorized_tps: None,
            valid_from: None,
            valid_to: None,
            updated_at: None,
            ..full.clone()
        };
        let empty_lists = Mandate {
            allowed_merchants: Some(Vec::new()),
            allowed_categories: Some(Vec::new()),
            ..bare.clone()
        };
        let scope_only = Mandate { scope_merchant: Some(text("s")), ..bare.clone() };
        for mandate in [full, bare, empty_lists, scope_only] {
            let terms = Terms::new(&mandate, &MerchantCategories::default());
            assert_eq!(terms.mandate(), mandate);
        }
    }
}
