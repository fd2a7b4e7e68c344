//! Named maxima of everything that could grow, and what is noted when one is reached.

use serde::{Deserialize, Serialize};

macro_rules! bounds {
    ($($(#[$doc:meta])* $field:ident / $variant:ident = $default:expr;)*) => {
        /// Section `[bounds]`. Past a bound of a key its oldest or newest item is left out, as each
        /// says, the key is marked, and its signals carry `"saturated": true`.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Bounds {
            $($(#[$doc])* pub $field: usize,)*
        }

        impl Default for Bounds {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// A bound that was reached.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bound {
            $($(#[$doc])* $variant,)*
        }

        impl Bound {
            /// Every bound, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The key in `[bounds]`, in `summary.json` and in metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }
        }

        impl Bounds {
            /// The first bound that is out of its range, with what is wrong.
            #[must_use]
            pub fn check(&self) -> Option<(&'static str, String)> {
                $(if self.$field == 0 {
                    return Some((stringify!($field), "must be at least 1".to_owned()));
                })*
                None
            }
        }
    };
}

bounds! {
    /// On-time payments kept per agent, for the span of the longest window behind the watermark;
    /// past it the oldest is left out.
    agent_payments_max / AgentPayments = 65_536;
    /// On-time payments kept per user, for 24 hours behind the watermark; past it the oldest is
    /// left out.
    user_payments_max / UserPayments = 65_536;
    /// Pairs of agents kept per user; past it a further pair is not counted.
    user_pairs_max / UserPairs = 4_096;
    /// Windows by which one payment out of order is judged; past it the later ones are not looked at.
    windows_judged_max / WindowsJudged = 1_024;
    /// Payments looked at for pairs around one payment; past it the farther ones are not.
    pair_scan_max / PairScan = 4_096;
    /// Categories, and groups of categories, kept per agent; past it a new one is not learned.
    agent_categories_max / AgentCategories = 1_024;
    /// Merchants counted per mandate, agent and user; past it a further one counts as outside the
    /// scope.
    use_merchants_max / UseMerchants = 4_096;
    /// Currencies counted per mandate, agent and user; past it a further one is not counted.
    use_currencies_max / UseCurrencies = 64;
    /// Calendar periods kept per mandate and user; past it the earliest is left out.
    ledger_periods_max / LedgerPeriods = 64;
    /// Agents kept per mandate and user; past it the measures of a further one are not kept.
    ledger_agents_max / LedgerAgents = 1_024;
    /// Decisions kept per agent to count actions over 24 hours; past it the oldest is left out.
    agent_actions_max / AgentActions = 65_536;
    /// Mandates looked at per holder, to see that one was left out; past it those of greater id are not.
    holder_mandates_max / HolderMandates = 4_096;
    /// Remembered `tx_id`s of a shard; past it the oldest hour is forgotten, and what is older than
    /// the memory is rejected as `too_old`, so that nothing is ever decided twice.
    remembered_ids_max / RememberedIds = 200_000_000;
    /// Agents of a shard; past it the engine stops with an error.
    agents_max / Agents = 50_000_000;
    /// Mandates of a shard; past it the engine stops with an error.
    mandates_max / Mandates = 50_000_000;
}

impl Bound {
    /// Whether it bounds what is kept per user, not per agent.
    #[must_use]
    pub fn is_of_user(self) -> bool {
        matches!(self, Self::UserPayments | Self::UserPairs | Self::PairScan)
    }

    /// Whether rows of views of a key that reached it may be incomplete.
    #[must_use]
    pub fn touches_views(self) -> bool {
        !matches!(self, Self::WindowsJudged | Self::AgentActions | Self::HolderMandates | Self::LedgerPeriods)
    }
}

/// The set of bounds that an entity has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reached(u32);

impl Reached {
    /// Notes that `bound` was reached.
    pub fn mark(&mut self, bound: Bound) {
        self.0 |= 1 << bound as u32;
    }

    /// Whether `bound` was reached.
    #[must_use]
    pub fn has(self, bound: Bound) -> bool {
        self.0 >> bound as u32 & 1 == 1
    }

    /// Whether any was.
    #[must_use]
    pub fn any(self) -> bool {
        self.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bounds in the set.
    pub fn iter(self) -> impl Iterator<Item = Bound> {
        Bound::ALL.iter().copied().filter(move |&bound| self.has(bound))
    }
}
