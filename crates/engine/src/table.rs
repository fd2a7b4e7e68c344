//! Entities by key: a dense vector of them and a table of hashes to find them.

use std::hash::{BuildHasher, Hasher};
use std::ops::Index;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::packed::{Keep, Plain, Read, Slot, WHOLE_MAX};
use crate::rows::{Packed, Rows, Stored};
use crate::tracked::{Bits, Tracked};

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

/// Rows per record batch of a whole table.
pub const ROWS_PER_BATCH: usize = 65_536;

/// Where to find an entity: half of its hash, which is enough to tell nearly all apart and half as much to keep,
/// and its number.
#[derive(Debug, Clone, Copy)]
struct Entry {
    half: u32,
    at: u32,
}

impl Entry {
    fn new(hash: u64, seed: u64, at: u32) -> Self {
        let half = u32::try_from(spread(hash, seed) >> 32).unwrap_or_default();
        Self { half, at }
    }

    /// The hash that places it: the table looks at the lowest and at the highest bits.
    fn hash(&self) -> u64 {
        u64::from(self.half).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Entities with dense numbers, found by hash and equality.
///
/// There is no way to change one but [`Table::change`], so that no checkpoint misses any.
#[derive(Debug, Clone)]
pub(crate) struct Table<K> {
    kept: Vec<K>,
    index: HashTable<Entry>,
    seed: u64,
    /// Only where checkpoints are taken.
    tracked: Option<Box<Tracked>>,
    /// Those used since the hand went by.
    used: Bits,
    hand: usize,
    packed: usize,
}

#[allow(clippy::indexing_slicing, reason = "numbers are handed out by `insert` and never taken back")]
impl<K: Keep> Table<K> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            kept: Vec::new(),
            index: HashTable::new(),
            seed,
            tracked: None,
            used: Bits::default(),
            hand: 0,
            packed: 0,
        }
    }

    /// Number of the entity with this hash for which `is` holds.
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&K::Entity) -> bool) -> Option<u32> {
        let wanted = Entry::new(hash, self.seed, 0);
        let matches = |entry: &Entry| entry.half == wanted.half && self.kept[entry.at as usize].ask(&is);
        self.index.find(wanted.hash(), matches).map(|entry| entry.at)
    }

    /// Number of an entity with this hash, which is most likely the one meant.
    pub(crate) fn candidate(&self, hash: u64) -> Option<u32> {
        let wanted = Entry::new(hash, self.seed, 0);
        self.index.find(wanted.hash(), |entry| entry.half == wanted.half).map(|entry| entry.at)
    }

    /// Makes room for so many more entities.
    pub(crate) fn reserve(&mut self, count: usize) {
        self.kept.reserve(count);
        self.index.reserve(count, Entry::hash);
    }

    /// Adds an entity that is not there and returns its number.
    pub(crate) fn insert(&mut self, hash: u64, entity: K::Entity) -> u32 {
        let at = self.add(hash, K::keep(entity));
        self.used.set(at);
        at
    }

    fn add(&mut self, hash: u64, kept: K) -> u32 {
        let at = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        self.kept.push(kept);
        if let Some(tracked) = &mut self.tracked {
            tracked.made(at);
        }
        let entry = Entry::new(hash, self.seed, at);
        self.index.insert_unique(entry.hash(), entry, Entry::hash);
        at
    }

    /// An entity that is about to change.
    #[inline]
    pub(crate) fn change(&mut self, at: u32) -> &mut K::Entity {
        let entity = Self::whole(&mut self.kept[at as usize], &mut self.used, &mut self.packed, at);
        if let Some(tracked) = &mut self.tracked {
            tracked.before_change(at, entity);
        }
        entity
    }

    /// An entity of which something is about to change that its row does not hold.
    #[inline]
    pub(crate) fn change_unstored(&mut self, at: u32) -> &mut K::Entity {
        Self::whole(&mut self.kept[at as usize], &mut self.used, &mut self.packed, at)
    }

    #[inline]
    fn whole<'k>(kept: &'k mut K, used: &mut Bits, packed: &mut usize, at: u32) -> &'k mut K::Entity {
        used.set(at);
        *packed -= usize::from(kept.is_packed());
        kept.change()
    }

    /// Notes from now on what changes.
    pub(crate) fn track(&mut self) {
        self.tracked.get_or_insert_default();
    }

    /// The changes, and the entities that they are of.
    pub(crate) fn tracked(&mut self) -> Option<(&mut Tracked, &[K])> {
        self.tracked.as_deref_mut().map(|tracked| (tracked, &*self.kept))
    }

    /// All rows in batches of [`ROWS_PER_BATCH`]; one empty batch where there are none.
    pub(crate) fn batches(&self) -> Result<Vec<RecordBatch>, ArrowError> {
        let (mut rows, mut batches) = (Rows::default(), Vec::new());
        for (number, kept) in (0..).zip(&self.kept) {
            kept.put(number, &mut rows);
            if rows.len() == ROWS_PER_BATCH {
                batches.push(rows.batch(K::Entity::TABLE)?);
            }
        }
        if rows.len() > 0 || batches.is_empty() {
            batches.push(rows.batch(K::Entity::TABLE)?);
        }
        Ok(batches)
    }

    /// Number of entities.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }
}

#[allow(clippy::indexing_slicing, reason = "numbers are handed out by `insert` and never taken back")]
impl<T: Packed> Table<Slot<T>> {
    /// An entity to be read.
    #[inline]
    pub(crate) fn read(&self, at: u32) -> Read<'_, T> {
        self.kept[at as usize].read()
    }

    /// Every entity in the order of numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Read<'_, T>> {
        self.kept.iter().map(Slot::read)
    }

    /// Adds an entity that is not there as its row, which can be unpacked.
    pub(crate) fn insert_row(&mut self, hash: u64, row: &[u8]) -> u32 {
        self.packed += 1;
        self.add(hash, Slot::Packed(row.into()))
    }

    /// Packs those of the next `count` ones that were not used since this came by the last time.
    pub(crate) fn pack_idle(&mut self, count: usize, scratch: &mut Vec<u8>) {
        let whole = self.kept.len() - self.packed;
        if whole.saturating_sub(WHOLE_MAX) == 0 {
            return;
        }
        for _ in 0..count.min(self.kept.len()) {
            self.hand = if self.hand + 1 < self.kept.len() { self.hand + 1 } else { 0 };
            if !self.used.take(u32::try_from(self.hand).unwrap_or(u32::MAX)) {
                self.packed += usize::from(self.kept[self.hand].pack(scratch));
            }
        }
    }
}

impl<T> Table<Plain<T>> {
    /// Every entity in the order of numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.kept.iter().map(|kept| &kept.0)
    }
}

#[allow(clippy::indexing_slicing, reason = "numbers are handed out by `insert` and never taken back")]
impl<T> Index<u32> for Table<Plain<T>> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        &self.kept[at as usize].0
    }
}
