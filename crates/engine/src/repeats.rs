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
    ids_max: usize,
    /// What is older than this was forgotten before its time, because the memory was full.
    forgotten_before_us: i64,
}

impl Repeats {
    pub(crate) fn new(seed: u64, ids_max: usize) -> Self {
        Self { table: HashTable::new(), seed, ids_max, forgotten_before_us: i64::MIN }
    }

    /// The least watermark time that the memory still covers, given where it ends by the clock.
    pub(crate) fn covers_from_us(&self, horizon_us: i64) -> i64 {
        horizon_us.max(self.forgotten_before_us)
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
        if let Some(known) = self.table.find_mut(hash, |known| known.key == new.key) {
            if known.time_us < horizon_us {
                *known = new;
                return Seen::New;
            }
            return if known.fingerprint == new.fingerprint { Seen::Repeat } else { Seen::Conflict };
        }
        self.make_room(horizon_us);
        self.insert(new);
        Seen::New
    }

    /// Reads the place where the transaction with this key is or will be remembered.
    pub(crate) fn touch(&self, key: u64) -> bool {
        self.table.find(spread(key, self.seed), |known| known.key == key).is_some()
    }

    pub(crate) fn insert(&mut self, new: Remembered) {
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

    /// Everything remembered, in the order of keys, and from where on the memory is whole.
    pub(crate) fn remembered(&self) -> (Vec<Remembered>, i64) {
        let mut all: Vec<Remembered> = self.table.iter().copied().collect();
        all.sort_unstable_by_key(|known| known.key);
        (all, self.forgotten_before_us)
    }

    pub(crate) fn restore(
        &mut self,
        remembered: impl IntoIterator<Item = Remembered>,
        forgotten_before_us: i64,
    ) {
        self.forgotten_before_us = forgotten_before_us;
        for known in remembered {
            self.insert(known);
        }
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
