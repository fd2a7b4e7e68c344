//! The order of arrival: watermark, lateness and repeats, before anything is keyed.
//!
//! One [`Intake`] per shard sees every parsed transaction in arrival order. What it stamps can then
//! be split by user over threads without a trace of that in the output.

use std::hint::black_box;

use weir_detectors::hash::{name_hash, pair_hash};
use weir_detectors::{Bound, Reached};
use weir_events::reject::Fault;
use weir_events::{Timestamp, Transaction};

use crate::config::Config;
use crate::repeats::{Remembered, Repeats, Seen};
use crate::rows::Arrived;
use crate::watermark::{LEAP_US_MAX, Watermark};

/// What the order of arrival says of an accepted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The watermark, which the transaction itself has counted for.
    pub watermark_us: i64,
    /// Older than the watermark, or its clock ahead.
    pub late: bool,
    /// `tx_time` more than `max_clock_skew` ahead of `record_time`.
    pub clock_skew: bool,
    /// Nothing with an earlier watermark time is accepted any more.
    pub oldest_accepted_us: i64,
    /// `tx_time`; but where that clock is not believed (`clock_skew`, or set aside for the watermark)
    /// no later than the greatest time that counted. Profiles and episodes go by it, so that one bad
    /// clock does not hold them until its date.
    pub believed_us: i64,
}

/// Whether a transaction goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// To be decided.
    New(Stamp),
    /// The same transaction again: dropped and counted.
    Duplicate,
    /// `duplicate_conflict` or `too_old`.
    Rejected(Fault),
}

/// Watermark and memory of repeats of one shard.
#[derive(Debug, Clone)]
pub struct Intake {
    pub(crate) watermark: Watermark,
    pub(crate) repeats: Repeats,
    max_lateness_us: i64,
    max_clock_skew_us: i64,
    dedup_horizon_us: i64,
}

impl Intake {
    /// An intake that has seen nothing. `seed` spreads the hash table and shows in no output.
    #[must_use]
    pub fn new(config: &Config, seed: u64) -> Self {
        Self {
            watermark: Watermark::default(),
            repeats: Repeats::new(seed, config.bounds.remembered_ids_max),
            max_lateness_us: config.time.max_lateness.0,
            max_clock_skew_us: config.time.max_clock_skew.0,
            dedup_horizon_us: config.time.dedup_horizon.0,
        }
    }

    /// Goes on under another configuration, as [`crate::Shard::reconfigure`] does.
    ///
    /// What was forgotten by now stays forgotten under a longer `dedup_horizon`: it is too old.
    pub fn reconfigure(&mut self, config: &Config) {
        self.repeats.forget_before(self.oldest_accepted_us());
        self.repeats.ids_max = config.bounds.remembered_ids_max;
        self.max_lateness_us = config.time.max_lateness.0;
        self.max_clock_skew_us = config.time.max_clock_skew.0;
        self.dedup_horizon_us = config.time.dedup_horizon.0;
    }

    /// What has an earlier watermark time is not accepted, as things stand: whether it is a repeat can no
    /// longer be told.
    pub(crate) fn oldest_accepted_us(&self) -> i64 {
        let behind_us = self.max_lateness_us + self.dedup_horizon_us;
        let horizon_us = self.watermark.greatest_us().map_or(i64::MIN, |greatest_us| greatest_us - behind_us);
        self.repeats.covers_from_us(horizon_us)
    }

    /// The key by which repeats of a transaction are known.
    #[must_use]
    pub fn key(tx: &Transaction<'_>) -> u64 {
        pair_hash(name_hash(tx.user_id.as_bytes()), name_hash(tx.tx_id.as_bytes()))
    }

    /// Brings the memory of the transactions with these keys near before their turn: waiting for many
    /// at once takes little more than waiting for one.
    pub fn look_ahead(&self, keys: impl IntoIterator<Item = u64>) {
        for key in keys {
            black_box(self.repeats.touch(key));
        }
    }

    /// Takes the next parsed transaction of the shard in; `key` is its [`Intake::key`].
    pub fn admit(&mut self, tx: &Transaction<'_>, key: u64) -> Admission {
        let time_us = tx.watermark_time().0;
        self.watermark.count(key, time_us);
        let watermark_us = self.watermark.greatest_us().unwrap_or(time_us) - self.max_lateness_us;
        let horizon_us = watermark_us - self.dedup_horizon_us;
        let oldest_accepted_us = self.repeats.covers_from_us(horizon_us);
        if time_us < oldest_accepted_us {
            return Admission::Rejected(Fault::too_old(Timestamp(time_us), Timestamp(oldest_accepted_us)));
        }
        // Remembered by `tx_time`, which is never before the watermark time that makes it too old: sent
        // again with a later `record_time`, it is still a repeat or already too old, never new.
        let remembered = Remembered { key, fingerprint: tx.fingerprint, time_us: tx.tx_time.0 };
        match self.repeats.see(remembered, horizon_us) {
            Seen::Repeat => return Admission::Duplicate,
            Seen::Conflict => return Admission::Rejected(Fault::duplicate_conflict(&tx.tx_id)),
            Seen::New => {}
        }
        let ahead = |recorded: Timestamp| tx.tx_time.0 - recorded.0 > self.max_clock_skew_us;
        let clock_skew = tx.record_time.is_some_and(ahead);
        let late = clock_skew || tx.tx_time.0 < watermark_us;
        let greatest_us = watermark_us + self.max_lateness_us;
        let set_aside = tx.tx_time.0 - greatest_us > LEAP_US_MAX;
        let believed_us = if clock_skew || set_aside { tx.tx_time.0.min(greatest_us) } else { tx.tx_time.0 };
        Admission::New(Stamp { watermark_us, late, clock_skew, oldest_accepted_us, believed_us })
    }

    /// The greatest time that counted: how far event time has come.
    #[must_use]
    pub fn greatest_us(&self) -> Option<i64> {
        self.watermark.greatest_us()
    }

    /// Keeps from now on what [`crate::Shard::begin_checkpoint`] takes from here; without it, as in a
    /// replay, nothing is kept.
    pub fn track_changes(&mut self) {
        self.repeats.track();
    }

    /// Remembered transactions that the next checkpoint will take: they wait in memory, 24 bytes each.
    #[must_use]
    pub fn remembered_since_checkpoint(&self) -> usize {
        self.repeats.fresh_len()
    }

    /// What a snapshot holds of it beside the remembered transactions.
    pub(crate) fn arrived(&self) -> Arrived {
        Arrived {
            watermark: self.watermark.clone(),
            forgotten_before_us: self.repeats.forgotten_before_us(),
            oldest_accepted_us: self.oldest_accepted_us(),
        }
    }

    /// Transactions remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.repeats.len()
    }

    /// Bounds of the intake that were reached.
    #[must_use]
    pub fn reached(&self) -> Reached {
        let mut reached = Reached::default();
        if self.repeats.was_full() {
            reached.mark(Bound::RememberedIds);
        }
        reached
    }
}
