//! The memory of transactions already seen, so that a repeat counts once.

use hashbrown::HashTable;
use weir_events::time::HOUR_US;

use crate::table::spread;

/// One remembered transaction: 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Hash of `user_id` and `tx_id`.
    pub(crate) key: u64,
    /// Fingerprint of the parsed values.
    pub(crate) fingerprint: u64,
    /// Its `tx_time`.
    pub(crate) time_us: i64,
}

/// What the memory says of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Never before; it is remembered now.
    New,
    /// The same transaction, sent again.
    Repeat,
    /// Another transaction under the same id.
    Conflict,
}

/// The memory of repeats of a shard.
///
/// Two 64-bit hashes stand for id and content. With a billion remembered ids the odds that a new
/// id meets the hash of another are below 6e-11.
#[derive(Debug, Clone)]
pub(crate) struct Repeats {
    table: HashTable<Remembered>,
    seed: u64,
    pub(crate) ids_max: usize,
    /// What is older than this was forgotten before its time, because the memory was full.
    forgotten_before_us: i64,
    /// What is older than this was forgotten under an earlier configuration, or before a restore.
    expired_before_us: i64,
    /// What was remembered since the last checkpoint began; only where checkpoints are taken.
    fresh: Option<Fresh>,
}

/// Remembered transactions in the order of arrival, in pieces of one length, so that nothing is ever
/// moved to make room.
#[derive(Debug, Clone, Default)]
struct Fresh {
    full: Vec<Vec<Remembered>>,
    filling: Vec<Remembered>,
}

/// Remembered transactions that make a piece, and so a batch of a checkpoint.
const PIECE: usize = 8_192;

impl Fresh {
    /// Adds one; where the pieces hold more than `max`, what is older than `horizon_us` goes first.
    fn push(&mut self, new: Remembered, horizon_us: i64, max: usize) {
        if self.filling.len() >= PIECE {
            let full = std::mem::replace(&mut self.filling, Vec::with_capacity(PIECE));
            self.full.push(full);
            if self.full.len() * PIECE > max {
                self.full.iter_mut().for_each(|piece| piece.retain(|known| known.time_us >= horizon_us));
                let kept = self.full.concat();
                self.full = kept.chunks(PIECE).map(<[Remembered]>::to_vec).collect();
            }
        }
        self.filling.push(new);
    }
}

impl Repeats {
    pub(crate) fn new(seed: u64, ids_max: usize) -> Self {
        Self {
            table: HashTable::new(),
            seed,
            ids_max,
            forgotten_before_us: i64::MIN,
            expired_before_us: i64::MIN,
            fresh: None,
        }
    }

    /// The least watermark time that the memory still covers, given where it ends by the clock.
    pub(crate) fn covers_from_us(&self, horizon_us: i64) -> i64 {
        horizon_us.max(self.forgotten_before_us).max(self.expired_before_us)
    }

    /// From now on nothing older than this is remembered, whatever horizon is asked for.
    pub(crate) fn forget_before(&mut self, time_us: i64) {
        self.expired_before_us = self.expired_before_us.max(time_us);
    }

    /// Whether the memory was ever too small.
    pub(crate) fn was_full(&self) -> bool {
        self.forgotten_before_us > i64::MIN
    }

    /// Looks a transaction up and remembers it. `horizon_us` is where the memory ends: what is older
    /// is treated as forgotten, whether it has been freed or not.
    pub(crate) fn see(&mut self, new: Remembered, horizon_us: i64) -> Seen {
        let horizon_us = self.covers_from_us(horizon_us);
        let hash = spread(new.key, self.seed);
        if let Ok(found) = self.table.find_entry(hash, |known| known.key == new.key) {
            let known = *found.get();
            if known.time_us >= horizon_us {
                return if known.fingerprint == new.fingerprint { Seen::Repeat } else { Seen::Conflict };
            }
            // As if it had been freed already, so that when it is freed does not show.
            found.remove();
        }
        self.make_room(horizon_us);
        self.insert(new);
        if let Some(fresh) = &mut self.fresh {
            // Twice what can be in force: there is always much to drop, and dropping stays rare.
            fresh.push(new, horizon_us, 2 * self.table.len() + PIECE);
        }
        Seen::New
    }

    /// Reads the place where the transaction with this key is or will be remembered.
    pub(crate) fn touch(&self, key: u64) -> bool {
        self.table.find(spread(key, self.seed), |known| known.key == key).is_some()
    }

    fn insert(&mut self, new: Remembered) {
        let seed = self.seed;
        self.table.insert_unique(spread(new.key, seed), new, |known| spread(known.key, seed));
    }

    /// Frees what has expired before the table would grow.
    fn make_room(&mut self, horizon_us: i64) {
        if self.table.len() >= self.ids_max {
            self.table.retain(|known| known.time_us >= horizon_us);
            if self.table.len() >= self.ids_max {
                let oldest_us = self.table.iter().map(|known| known.time_us).min().unwrap_or(horizon_us);
                self.forgotten_before_us = oldest_us.saturating_add(HOUR_US);
                let before_us = self.forgotten_before_us;
                self.table.retain(|known| known.time_us >= before_us);
            }
        } else if self.table.len() == self.table.capacity() {
            self.table.retain(|known| known.time_us >= horizon_us);
            // Growing when most are still in force keeps the sweeps rare.
            if self.table.len() * 2 > self.table.capacity() {
                let (seed, more) = (self.seed, self.table.len());
                self.table.reserve(more, |known| spread(known.key, seed));
            }
        }
    }

    /// Everything remembered from `oldest_us` on, in the order of keys.
    pub(crate) fn remembered(&self, oldest_us: i64) -> Vec<Remembered> {
        let mut all: Vec<Remembered> =
            self.table.iter().copied().filter(|known| known.time_us >= oldest_us).collect();
        all.sort_unstable_by_key(|known| known.key);
        all
    }

    /// Where the memory would begin if it had never been full: what is older was forgotten for want of room.
    pub(crate) fn forgotten_before_us(&self) -> i64 {
        self.forgotten_before_us
    }

    /// Where the memory began in what is being restored.
    pub(crate) fn restored(&mut self, forgotten_before_us: i64, oldest_us: i64) {
        self.forgotten_before_us = forgotten_before_us;
        self.expired_before_us = oldest_us;
    }

    /// Remembers what a snapshot holds, the later of two with the same key.
    pub(crate) fn restore(&mut self, known: Remembered) {
        if known.time_us >= self.expired_before_us {
            let seed = self.seed;
            let same = |other: &Remembered| other.key == known.key;
            self.table.entry(spread(known.key, seed), same, |known| spread(known.key, seed)).insert(known);
        }
    }

    /// Keeps from now on what is remembered for [`Repeats::take_fresh`].
    pub(crate) fn track(&mut self) {
        self.fresh.get_or_insert_default();
    }

    /// Number of those that [`Repeats::take_fresh`] would give, at least.
    pub(crate) fn fresh_len(&self) -> usize {
        self.fresh.as_ref().map_or(0, |fresh| fresh.full.len() * PIECE + fresh.filling.len())
    }

    /// What was remembered since this was last asked for, in order and in pieces.
    pub(crate) fn take_fresh(&mut self) -> Vec<Vec<Remembered>> {
        let Some(fresh) = &mut self.fresh else { return Vec::new() };
        let Fresh { mut full, filling } = std::mem::take(fresh);
        full.push(filling);
        full
    }

    /// Number of transactions in memory.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tx(key: u64, fingerprint: u64, time_us: i64) -> Remembered {
        Remembered { key, fingerprint, time_us }
    }

    #[test]
    fn an_entry_takes_24_bytes() {
        assert_eq!(size_of::<Remembered>(), 24);
    }

    #[test]
    fn expiry_is_logical() {
        let mut repeats = Repeats::new(7, 1000);
        assert_eq!(repeats.see(tx(1, 5, 100), 0), Seen::New);
        assert_eq!(repeats.see(tx(1, 5, 100), 100), Seen::Repeat);
        assert_eq!(repeats.see(tx(1, 6, 100), 100), Seen::Conflict);
        assert_eq!(repeats.see(tx(1, 6, 300), 101), Seen::New, "still in the table, but out of memory");
    }

    #[test]
    fn a_full_memory_forgets_the_oldest_and_says_so() {
        let mut repeats = Repeats::new(7, 3);
        for (key, time_us) in [(1, 0), (2, HOUR_US), (3, 2 * HOUR_US)] {
            assert_eq!(repeats.see(tx(key, 1, time_us), 0), Seen::New);
        }
        assert!(!repeats.was_full());
        assert_eq!(repeats.see(tx(4, 1, 3 * HOUR_US), 0), Seen::New);
        assert!(repeats.was_full());
        assert_eq!(
            repeats.covers_from_us(0),
            HOUR_US,
            "what is older is now too old to be told from a repeat"
        );
        assert_eq!(repeats.see(tx(2, 1, HOUR_US), 0), Seen::Repeat);
    }
}
