//! Entities by key: a dense vector of them and a table of hashes to find them.

use std::hash::{BuildHasher, Hasher};
use std::ops::{Index, IndexMut};

use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// Mixes a name's fixed hash with the seed of this process, so that nobody who has read the code
/// can choose names that crowd one bucket. Nothing printed depends on it.
pub(crate) fn spread(hash: u64, seed: u64) -> u64 {
    let product = u128::from(hash ^ seed) * 0x9e37_79b9_7f4a_7c15;
    #[allow(clippy::cast_possible_truncation, reason = "both halves are folded together")]
    let folded = (product >> 64) as u64 ^ product as u64;
    folded
}

/// Hash of a key for look-ups alone: keyed with the process's seed, and never kept in state.
pub(crate) fn seeded(seed: u64, key: &str) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(key.as_bytes());
    hasher.finish()
}

/// Entities with dense numbers, found by hash and equality.
#[derive(Debug, Clone)]
pub(crate) struct Table<T> {
    items: Vec<T>,
    index: HashTable<(u64, u32)>,
    seed: u64,
}

impl<T> Table<T> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { items: Vec::new(), index: HashTable::new(), seed }
    }

    /// Number of the entity with this hash for which `is` holds.
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&T) -> bool) -> Option<u32> {
        let matches =
            |&(known, at): &(u64, u32)| known == hash && self.items.get(at as usize).is_some_and(&is);
        self.index.find(spread(hash, self.seed), matches).map(|&(_, at)| at)
    }

    /// Number of an entity with this hash, which is most likely the one meant.
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        self.index.find(spread(hash, self.seed), |&(known, _)| known == hash).map(|&(_, at)| at)
    }

    /// Adds an entity that is not there and returns its number.
    pub(crate) fn insert(&mut self, hash: u64, item: T) -> u32 {
        let at = u32::try_from(self.items.len()).unwrap_or(u32::MAX);
        self.items.push(item);
        let seed = self.seed;
        self.index.insert_unique(spread(hash, seed), (hash, at), |&(known, _)| spread(known, seed));
        at
    }

    /// Number of entities.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Every entity in the order of numbers.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.items.iter()
    }
}

#[allow(clippy::indexing_slicing, reason = "numbers are handed out by `insert` and never taken back")]
impl<T> Index<u32> for Table<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.items[at as usize]
    }
}

#[allow(clippy::indexing_slicing, reason = "numbers are handed out by `insert` and never taken back")]
impl<T> IndexMut<u32> for Table<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.items[at as usize]
    }
}
