//! A mandate prepared for matching.

use std::collections::BTreeMap;
use std::ops::Deref;

use smallvec::SmallVec;
use weir_events::{Mandate, MandateStatus};

use crate::hash::name_hash;

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

/// A mandate with its scope normalized once, when it changes, instead of at each payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// The mandate's newest state.
    pub mandate: Mandate,
    /// Hash of `scope_merchant` as it stands.
    pub scope_merchant: Option<u64>,
    /// The normalized allowed merchants, sorted; `None`: any merchant.
    allowed_merchants: Option<Box<[Box<str>]>>,
    /// The configured categories of the allowed merchants, sorted.
    allowed_configured: Box<[Box<str>]>,
    /// The allowed categories in lower case, sorted; `None`: any.
    allowed_categories: Option<Box<[Box<str>]>>,
}

impl Terms {
    /// Prepares a mandate.
    #[must_use]
    pub fn new(mandate: Mandate, categories: &MerchantCategories) -> Self {
        let listed = mandate.scope_merchant.iter().chain(mandate.allowed_merchants.iter().flatten());
        let names: Vec<String> = listed.map(|merchant| normalize(merchant)).collect();
        let scoped = mandate.scope_merchant.is_some() || mandate.allowed_merchants.is_some();
        let configured = names.iter().filter_map(|name| categories.of_normalized(name));
        let lists = mandate.allowed_categories.as_ref();
        Self {
            scope_merchant: mandate.scope_merchant.as_ref().map(|merchant| name_hash(merchant.as_bytes())),
            allowed_configured: sorted(configured),
            allowed_merchants: scoped.then(|| sorted(names.iter().map(String::as_str))),
            allowed_categories: lists.map(|list| {
                let lower: Vec<String> = list.iter().map(|name| name.trim().to_lowercase()).collect();
                sorted(lower.iter().map(String::as_str))
            }),
            mandate,
        }
    }

    /// Whether the mandate names this agent and user.
    #[must_use]
    pub fn held_by(&self, agent_id: &str, user_id: &str) -> bool {
        self.mandate.agent_id == agent_id && self.mandate.user_id == user_id
    }

    /// Whether `time_us` lies in the mandate's validity, both ends included.
    #[must_use]
    pub fn in_date(&self, time_us: i64) -> bool {
        let Mandate { valid_from, valid_to, .. } = &self.mandate;
        valid_from.is_none_or(|from| time_us >= from.0) && valid_to.is_none_or(|to| time_us <= to.0)
    }

    /// Whether it may be used at `time_us`.
    #[must_use]
    pub fn usable_at(&self, time_us: i64) -> bool {
        self.mandate.status == MandateStatus::Active && self.in_date(time_us)
    }

    /// Whether it has a merchant scope, a category list or a cap.
    #[must_use]
    pub fn binds(&self) -> bool {
        self.allowed_merchants.is_some()
            || self.allowed_categories.is_some()
            || self.mandate.max_amount.is_some()
    }

    /// Whether merchants are restricted.
    #[must_use]
    pub fn restricts_merchants(&self) -> bool {
        self.allowed_merchants.is_some()
    }

    /// Whether merchant categories are restricted.
    #[must_use]
    pub fn restricts_categories(&self) -> bool {
        self.allowed_categories.is_some()
    }

    /// Whether a normalized merchant is allowed.
    #[must_use]
    pub fn allows_merchant(&self, normalized: &str) -> bool {
        contains(self.allowed_merchants.as_deref(), normalized)
    }

    /// Whether an allowed merchant has this configured category.
    #[must_use]
    pub fn allows_configured(&self, category: &str) -> bool {
        contains(Some(&self.allowed_configured), category)
    }

    /// Whether a merchant category, in lower case, is allowed; `None` is not, where a list is given.
    #[must_use]
    pub fn allows_category(&self, category: Option<&str>) -> bool {
        match category {
            Some(category) => contains(self.allowed_categories.as_deref(), category),
            None => self.allowed_categories.is_none(),
        }
    }

    /// The merchants allowed, as they stand in the mandate.
    pub fn merchants(&self) -> impl Iterator<Item = &str> {
        let listed = self.mandate.allowed_merchants.iter().flatten();
        self.mandate.scope_merchant.iter().chain(listed).map(String::as_str)
    }
}

/// A merchant's name as signals compare it: trimmed, lower case, without leading `www.`.
#[must_use]
pub fn normalize(merchant: &str) -> String {
    normalized(merchant).to_string()
}

/// The same without an allocation, unless the name is not ASCII.
#[must_use]
pub fn normalized(merchant: &str) -> Lowered<'_> {
    let lowered = lowered(merchant);
    let skip = if lowered.starts_with("www.") { 4 } else { 0 };
    Lowered { skip, ..lowered }
}

/// A name trimmed and in lower case.
#[must_use]
pub fn lowered(name: &str) -> Lowered<'_> {
    let name = name.trim();
    let form = if !name.is_ascii() {
        Form::Owned(name.to_lowercase())
    } else if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Form::Stack(name.bytes().map(|byte| byte.to_ascii_lowercase()).collect())
    } else {
        Form::Same(name)
    };
    Lowered { form, skip: 0 }
}

/// A name in lower case, borrowed or on the stack where that is possible: this is asked for at every
/// payment.
#[derive(Debug, Clone)]
pub struct Lowered<'a> {
    form: Form<'a>,
    /// Bytes at the start that do not belong to the name.
    skip: usize,
}

#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "it lives for one call, and boxing it would allocate")]
enum Form<'a> {
    Same(&'a str),
    /// ASCII; as long as the longest merchant's name.
    Stack(SmallVec<[u8; 256]>),
    Owned(String),
}

impl Deref for Lowered<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        let whole = match &self.form {
            Form::Same(name) => name,
            Form::Stack(bytes) => std::str::from_utf8(bytes).unwrap_or_default(),
            Form::Owned(name) => name,
        };
        whole.get(self.skip..).unwrap_or_default()
    }
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Box<[Box<str>]> {
    let mut names: Vec<Box<str>> = names.map(Box::from).collect();
    names.sort_unstable();
    names.dedup();
    names.into_boxed_slice()
}

fn contains(list: Option<&[Box<str>]>, name: &str) -> bool {
    list.is_none_or(|names| names.binary_search_by_key(&name, |known| known).is_ok())
}
