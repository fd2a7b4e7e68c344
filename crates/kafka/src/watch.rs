//! Notices commits that never return.
//!
//! Two of librdkafka's calls can outlive their time limit when the group's coordinator goes away. Nothing frees a
//! thread from them, so what is left is to say so and to end the process: the state is safe in the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::context::lock;

/// Not at work.
const IDLE: u64 = 0;

/// Every commit that is going on.
#[derive(Debug)]
pub(crate) struct Watch {
    epoch: Instant,
    limit: Duration,
    slots: Mutex<Vec<Weak<Slot>>>,
}

/// One partition's commits.
#[derive(Debug)]
pub(crate) struct Slot {
    epoch: Instant,
    partition: i32,
    since: AtomicU64,
}

/// A commit that is going on, until it is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Slot>);

impl Watch {
    /// A watch that barks after `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { epoch: Instant::now(), limit, slots: Mutex::default() }
    }

    /// A place for a partition's commits.
    pub(crate) fn slot(&self, partition: i32) -> Arc<Slot> {
        let slot = Arc::new(Slot { epoch: self.epoch, partition, since: AtomicU64::new(IDLE) });
        let mut slots = lock(&self.slots);
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        slot
    }

    /// A partition whose commit has taken longer than it may.
    pub(crate) fn stuck(&self) -> Option<i32> {
        let limit = u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX);
        let slots = lock(&self.slots);
        slots.iter().filter_map(Weak::upgrade).find_map(|slot| {
            let since = slot.since.load(Ordering::Relaxed);
            (since != IDLE && slot.now().saturating_sub(since) > limit).then_some(slot.partition)
        })
    }
}

impl Slot {
    /// Milliseconds since the watch was made, never [`IDLE`].
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// A commit begins, or makes progress.
    pub(crate) fn enter(self: &Arc<Self>) -> Busy {
        self.since.store(self.now(), Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

impl Busy {
    /// The commit is alive: it tries again.
    pub(crate) fn progress(&self) {
        self.0.since.store(self.0.now(), Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.since.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_does_not_return_is_noticed() {
        let watch = Watch::new(Duration::from_millis(5));
        let slot = watch.slot(3);
        assert_eq!(watch.stuck(), None);
        let busy = slot.enter();
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(watch.stuck(), Some(3));
        busy.progress();
        assert_eq!(watch.stuck(), None);
        std::thread::sleep(Duration::from_millis(30));
        drop(busy);
        assert_eq!(watch.stuck(), None);
    }
}
