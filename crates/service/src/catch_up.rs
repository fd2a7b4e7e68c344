//! Which of the mandates that a shard refers to have changed in the registry since it took them in.

use std::sync::Arc;

use weir_engine::Shard;

use crate::registry::{Cursor, Intaken, Taken, View};

/// What a batch that decides nothing takes in at most. Where more has changed than that, such batches go ahead of the
/// next records', so that no transaction is too large for the log; what changes in the moment between the two is taken
/// in with the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Mandates.
    pub mandates: usize,
    /// Bytes of their records, which the last one may exceed.
    pub bytes: usize,
}

impl Portion {
    /// What a service takes in: some megabytes of journal.
    pub const OF_SERVICE: Self = Self { mandates: 10_000, bytes: 8 << 20 };
    /// No bound.
    pub const WHOLE: Self = Self { mandates: usize::MAX, bytes: usize::MAX };

    /// What is left after a mandate, where there was room for it.
    fn less(self, taken: &Taken) -> Option<Self> {
        let bytes = taken.text.as_ref().map_or(0, |text| text.len());
        let room = self.mandates > 0 && self.bytes > 0;
        room.then(|| Self { mandates: self.mandates - 1, bytes: self.bytes.saturating_sub(bytes) })
    }
}

/// How far a shard has come.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// Changes before this were taken in; to begin with, everything has to be compared.
    cursor: Cursor,
    /// Where comparing began in the changes, and how many mandates have been compared.
    compared: Option<(Cursor, usize)>,
    /// Whether the registry has read all that the state can know of; else what it does not have may still come.
    has_read_on: bool,
}

impl CatchUp {
    /// Whether the registry is known to have read all that the state can know of.
    pub(crate) fn has_read_on(&self) -> bool {
        self.has_read_on
    }

    /// The registry has read all that the state can know of.
    pub(crate) fn read_on(&mut self) {
        self.has_read_on = true;
        // What was compared before is to be compared again: what was not there then is gone.
        self.compared = None;
    }

    /// Whether there may be anything.
    pub(crate) fn is_due(&self, view: &View<'_>) -> bool {
        self.cursor != view.now()
    }

    /// Whether there may be more than a portion.
    pub(crate) fn is_behind(&self, shard: &Shard, view: &View<'_>, portion: Portion) -> bool {
        let Some(changes) = view.changes_since(self.cursor) else {
            return shard.mandate_versions().next().is_some();
        };
        let newer = changes.filter_map(|(_, id)| newer(shard, view, id));
        let mut room = Some(portion);
        for (_, taken) in newer {
            room = room.and_then(|room| room.less(&taken));
            if room.is_none() {
                return true;
            }
        }
        false
    }

    /// Adds to `intaken` what has changed, at most a portion of it; says whether there is more.
    pub(crate) fn take(
        &mut self,
        shard: &Shard,
        view: &View<'_>,
        mut room: Portion,
        intaken: &mut Intaken,
    ) -> bool {
        if view.changes_since(self.cursor).is_none() {
            let (begun, from) = self.compared.take().unwrap_or((view.now(), 0));
            for (at, (id, version, has_terms)) in shard.mandate_versions().enumerate().skip(from) {
                let (id, taken) = match view.get(id) {
                    Some((id, taken)) if taken.version > version => (id, taken),
                    // Its tombstone is gone from the topic as well.
                    None if has_terms && self.has_read_on => (Arc::from(id), Taken { version, text: None }),
                    _ => continue,
                };
                let Some(left) = room.less(&taken) else {
                    self.compared = Some((begun, at));
                    return true;
                };
                room = left;
                intaken.insert(id, taken);
            }
            if !self.has_read_on {
                return false;
            }
            self.cursor = begun;
        }
        let Some(changes) = view.changes_since(self.cursor) else { return false };
        for (at, id) in changes {
            let Some((id, taken)) = newer(shard, view, id) else { continue };
            if intaken.get(&id) == Some(&taken) {
                continue;
            }
            let Some(left) = room.less(&taken) else {
                self.cursor = at;
                return true;
            };
            room = left;
            intaken.insert(id, taken);
        }
        self.cursor = view.now();
        false
    }
}

/// The newest state of a mandate that the shard has met in an older one.
fn newer(shard: &Shard, view: &View<'_>, id: &str) -> Option<(Arc<str>, Taken)> {
    let version = shard.mandate_version(id)?;
    view.get(id).filter(|(_, taken)| taken.version > version)
}

#[cfg(test)]
mod tests {
    use weir_engine::Config;
    use weir_events::codec::parse_mandate;
    use weir_log::{Partitioner, Record};

    use super::*;
    use crate::registry::{Registry, RegistrySettings};

    const ALL: usize = 6;

    fn registry() -> Registry {
        Registry::new(RegistrySettings {
            base_currency: Config::default().base_currency.0,
            mandates_max: 100,
            topic: None,
            partitioner: Partitioner::Any,
            partitions: 1,
        })
    }

    fn text(n: usize) -> String {
        format!(r#"{{"mandate_id":"m{n}","agent_id":"a","user_id":"u"}}"#)
    }

    fn put(registry: &Registry, numbers: std::ops::Range<usize>, offset: i64) {
        for (n, offset) in numbers.zip(offset..) {
            let (key, value) = (format!("m{n}"), text(n));
            let record = Record {
                offset,
                timestamp_us: None,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
            };
            registry.put(0, record).unwrap().unwrap();
        }
    }

    /// A shard that has met every mandate in its first version.
    fn shard(registry: &Registry) -> Shard {
        let config = Config::default();
        let mut shard = Shard::new(&config, 1);
        for n in 0..ALL {
            let record = parse_mandate(text(n).as_bytes(), config.base_currency.0).unwrap();
            let version = registry.view().get(&format!("m{n}")).unwrap().1.version;
            shard.apply_version(&shard.prepare(&record), version).unwrap();
        }
        shard
    }

    /// What a batch does with what it has taken.
    fn apply(shard: &mut Shard, intaken: Intaken) {
        for (id, taken) in intaken {
            let gone = || format!(r#"{{"mandate_id":"{id}","deleted":true}}"#).into_bytes();
            let text = taken.text.as_deref().map_or_else(gone, <[u8]>::to_vec);
            let record = parse_mandate(&text, Config::default().base_currency.0).unwrap();
            assert_eq!(record.mandate_id(), &*id);
            shard.apply_version(&shard.prepare(&record), taken.version).unwrap();
        }
    }

    /// Takes portions in until there is no more; gives how many mandates each had.
    fn take_all(
        catch_up: &mut CatchUp,
        shard: &mut Shard,
        registry: &Registry,
        portion: Portion,
    ) -> Vec<usize> {
        let mut portions = Vec::new();
        loop {
            let mut intaken = Intaken::new();
            let more = catch_up.take(shard, &registry.view(), portion, &mut intaken);
            portions.push(intaken.len());
            assert!(intaken.values().all(|taken| taken.text.is_some()));
            apply(shard, intaken);
            if !more {
                return portions;
            }
        }
    }

    fn check(portion: Portion, portions: &[usize], behind: bool) {
        // Both ways: everything compared, and by the changes.
        for compared in [false, true] {
            let registry = registry();
            put(&registry, 0..ALL, 0);
            let mut shard = shard(&registry);
            let mut catch_up = CatchUp { has_read_on: true, ..CatchUp::default() };
            if !compared {
                assert_eq!(take_all(&mut catch_up, &mut shard, &registry, portion), [0]);
            }
            put(&registry, 0..ALL, 10);
            // Nobody has met this one.
            put(&registry, ALL..ALL + 1, 20);
            assert!(catch_up.is_due(&registry.view()));
            assert_eq!(catch_up.is_behind(&shard, &registry.view(), portion), behind || compared);
            assert_eq!(take_all(&mut catch_up, &mut shard, &registry, portion), portions, "{portion:?}");
            assert!(!catch_up.is_due(&registry.view()));
            assert!(!catch_up.is_behind(&shard, &registry.view(), portion));
        }
    }

    #[test]
    fn what_has_changed_is_taken_in_by_portions() {
        let of = |mandates, bytes| Portion { mandates, bytes };
        let one = text(0).len();
        check(Portion::WHOLE, &[6], false);
        check(of(6, usize::MAX), &[6], false);
        check(of(5, usize::MAX), &[5, 1], true);
        check(of(1, usize::MAX), &[1; 6], true);
        check(of(9, 6 * one), &[6], false);
        check(of(9, 5 * one), &[5, 1], true);
        check(of(9, 1), &[1; 6], true);
    }

    #[test]
    fn what_is_gone_is_taken_in_once_all_was_read() {
        let (all, read) = (registry(), registry());
        put(&all, 0..ALL, 0);
        let mut shard = shard(&all);
        // The topic holds two of them any more, in newer versions.
        put(&read, 4..ALL, 10);
        let mut catch_up = CatchUp::default();
        let portion = Portion { mandates: 1, ..Portion::WHOLE };
        let mut intaken = Intaken::new();
        assert!(catch_up.take(&shard, &read.view(), portion, &mut intaken));
        assert_eq!(intaken.keys().map(|id| &**id).collect::<Vec<_>>(), ["m4"]);
        // Comparing begins again, with those that were passed over.
        catch_up.read_on();
        let mut gone = Vec::new();
        let mut more = true;
        while more {
            let mut intaken = Intaken::new();
            more = catch_up.take(&shard, &read.view(), portion, &mut intaken);
            let of_gone = |(id, taken): (&Arc<str>, &Taken)| taken.text.is_none().then(|| id.to_string());
            gone.extend(intaken.iter().filter_map(of_gone));
            apply(&mut shard, intaken);
        }
        assert_eq!(gone, ["m0", "m1", "m2", "m3"]);
        assert!(!catch_up.is_due(&read.view()));
    }

    #[test]
    fn what_changes_while_portions_are_taken_in_is_not_missed() {
        let registry = registry();
        put(&registry, 0..ALL, 0);
        let mut shard = shard(&registry);
        let mut catch_up = CatchUp { has_read_on: true, ..CatchUp::default() };
        put(&registry, 0..ALL, 10);
        let portion = Portion { mandates: 4, ..Portion::WHOLE };
        let mut intaken = Intaken::new();
        assert!(catch_up.take(&shard, &registry.view(), portion, &mut intaken));
        // One that was just taken in and one that was not.
        put(&registry, 0..1, 20);
        put(&registry, 5..6, 30);
        take_all(&mut catch_up, &mut shard, &registry, portion);
        for n in 0..ALL {
            let id = format!("m{n}");
            let newest = registry.view().get(&id).unwrap().1.version;
            // The first portion was never applied here.
            let expected = if (1..4).contains(&n) { n as i64 } else { newest };
            assert_eq!(shard.mandate_version(&id), Some(expected), "{id}");
        }
    }
}
