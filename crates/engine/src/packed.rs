//! Entities that nobody pays with take a fraction of the room: they are kept as the bytes of their row in a
//! snapshot, and unpacked on use. No output tells which are packed.

use std::borrow::Cow;
use std::ops::Deref;

use weir_events::time::HOUR_US;

use crate::rows::{Packed, Rows, Stored};

/// How long an entity is idle, in event time, before it is packed; it may take twice as long. Builds for tests
/// pack at once, so that every test of what is decided is a test of this.
const IDLE_US: i64 = if cfg!(debug_assertions) { 0 } else { HOUR_US };
/// How often in that time the tables are gone over, a part of them each time.
const PARTS: i64 = 4_096;
/// As many entities of a table as may be whole however long they are idle: those of a smaller shard never pay for
/// being unpacked.
pub(crate) const WHOLE_MAX: usize = if cfg!(debug_assertions) { 0 } else { 1 << 20 };
/// Entities looked at with one transaction, of each table: so many that a day's leap of the watermark is made
/// up for soon, and so few that no transaction waits.
const LOOKED_AT_MAX: usize = 16;

/// How a table keeps an entity.
pub(crate) trait Keep {
    /// What is kept.
    type Entity: Stored;

    fn keep(entity: Self::Entity) -> Self;

    /// What is to be said of the entity.
    fn ask<R>(&self, question: impl FnOnce(&Self::Entity) -> R) -> R;

    /// The entity to be changed; it is whole from here on.
    fn change(&mut self) -> &mut Self::Entity;

    /// Whether it has to be unpacked for that.
    #[inline]
    fn is_packed(&self) -> bool {
        false
    }

    /// Adds its row.
    fn put(&self, number: u32, rows: &mut Rows);
}

/// An entity that is always whole.
#[derive(Debug, Clone)]
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: Stored> Keep for Plain<T> {
    type Entity = T;

    fn keep(entity: T) -> Self {
        Self(entity)
    }

    #[inline]
    fn ask<R>(&self, question: impl FnOnce(&T) -> R) -> R {
        question(&self.0)
    }

    #[inline]
    fn change(&mut self) -> &mut T {
        &mut self.0
    }

    fn put(&self, number: u32, rows: &mut Rows) {
        rows.push(number, &self.0);
    }
}

/// An entity that is packed when it is idle.
#[derive(Debug, Clone)]
pub(crate) enum Slot<T> {
    Whole(Box<T>),
    Packed(Box<[u8]>),
}

impl<T: Packed> Keep for Slot<T> {
    type Entity = T;

    fn keep(entity: T) -> Self {
        Self::Whole(Box::new(entity))
    }

    fn ask<R>(&self, question: impl FnOnce(&T) -> R) -> R {
        question(&self.read())
    }

    #[inline]
    fn change(&mut self) -> &mut T {
        loop {
            match self {
                Self::Whole(entity) => return entity,
                Self::Packed(bytes) => *self = Self::Whole(unpacked(bytes)),
            }
        }
    }

    #[inline]
    fn is_packed(&self) -> bool {
        matches!(self, Self::Packed(_))
    }

    fn put(&self, number: u32, rows: &mut Rows) {
        match self {
            Self::Whole(entity) => rows.push(number, &**entity),
            Self::Packed(bytes) => rows.push_packed::<T>(number, bytes),
        }
    }
}

impl<T: Packed> Slot<T> {
    /// The entity to be read.
    #[inline]
    pub(crate) fn read(&self) -> Read<'_, T> {
        match self {
            Self::Whole(entity) => Read::Whole(entity),
            Self::Packed(bytes) => Read::Unpacked(unpacked(bytes)),
        }
    }

    /// Packs it; whether it was whole. `scratch` is room to work in.
    pub(crate) fn pack(&mut self, scratch: &mut Vec<u8>) -> bool {
        let whole = matches!(self, Self::Whole(_));
        if let Self::Whole(entity) = self {
            scratch.clear();
            // States are plain data of known length, which postcard always encodes.
            let bytes = postcard::to_extend(entity, std::mem::take(scratch)).unwrap_or_default();
            *self = Self::Packed(bytes.as_slice().into());
            *scratch = bytes;
        }
        whole
    }
}

/// What was packed is always sound.
#[cold]
fn unpacked<T: Packed>(bytes: &[u8]) -> Box<T> {
    Box::new(postcard::from_bytes(bytes).unwrap_or_default())
}

/// An entity to be read: where it stands, or unpacked for this.
#[derive(Debug)]
pub(crate) enum Read<'a, T> {
    Whole(&'a T),
    Unpacked(Box<T>),
}

impl<'a, T> Read<'a, T> {
    /// One of its texts, borrowed where it can be.
    pub(crate) fn text(self, of: impl FnOnce(&T) -> &str) -> Cow<'a, str> {
        match self {
            Self::Whole(entity) => Cow::Borrowed(of(entity)),
            Self::Unpacked(entity) => Cow::Owned(of(&entity).to_owned()),
        }
    }
}

impl<T> Deref for Read<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Whole(entity) => entity,
            Self::Unpacked(entity) => entity,
        }
    }
}

/// When the tables are gone over, so that every entity is looked at once in the time that it may be idle.
#[derive(Debug, Clone)]
pub(crate) struct Rounds {
    idle_us: i64,
    /// Watermark up to which the tables were gone over.
    passed_us: Option<i64>,
    /// Entities still to be looked at in the longest table.
    owed: usize,
}

impl Default for Rounds {
    fn default() -> Self {
        Self { idle_us: IDLE_US, passed_us: None, owed: 0 }
    }
}

impl Rounds {
    /// Packs after another time; 0: at once.
    pub(crate) fn pack_after(&mut self, idle_us: i64) {
        self.idle_us = idle_us;
    }

    /// How many entities of each table are to be looked at now; `len` is the length of the longest.
    #[inline]
    pub(crate) fn due(&mut self, watermark_us: i64, len: usize) -> usize {
        let part_us = self.idle_us / PARTS;
        let passed_us = *self.passed_us.get_or_insert(watermark_us);
        if watermark_us - passed_us >= part_us {
            let parts = (watermark_us - passed_us).checked_div(part_us).unwrap_or(PARTS).min(PARTS);
            let more = len.saturating_mul(usize::try_from(parts).unwrap_or_default());
            let of_parts = usize::try_from(PARTS).unwrap_or(usize::MAX);
            // One round is enough, however long nothing came.
            self.owed = self.owed.saturating_add(more.div_ceil(of_parts)).min(len);
            self.passed_us = Some(watermark_us);
        }
        let now = self.owed.min(LOOKED_AT_MAX);
        self.owed -= now;
        now
    }
}
