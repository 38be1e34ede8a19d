//! Values that many connections have alike, kept once and shared; and room that connections had, for later ones.

use core::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::late::Late;
use super::surroundings::Surroundings;
use crate::record::Owner;

/// Room that is kept for later, of each kind: as much as closes within a moment.
const SPARE: usize = 256;

/// So many may be kept without a look at which of them are still needed.
const UNSWEPT: usize = 1024;

/// The values of one kind. Those that nobody has any more are swept out before they are more than the others, so the work
/// for it is a constant share of all.
#[derive(Debug)]
struct Values<T> {
    hasher: DefaultHashBuilder,
    values: HashTable<Arc<T>>,
    /// Those asked for last, by a number that they are likely to differ in
    recent: [Option<Arc<T>>; RECENT],
    sweep_at: usize,
}

/// A power of two.
const RECENT: usize = 64;

impl<T: Copy + Eq + Hash> Values<T> {
    fn new() -> Self {
        let hasher = DefaultHashBuilder::default();
        Self { hasher, values: HashTable::new(), recent: [const { None }; RECENT], sweep_at: UNSWEPT }
    }

    #[inline]
    fn share(&mut self, value: &T, number: u64) -> Arc<T> {
        let way = number as usize % RECENT;
        match &self.recent[way] {
            Some(recent) if **recent == *value => recent.clone(),
            _ => {
                let shared = self.look_up(value);
                self.recent[way] = Some(shared.clone());
                shared
            }
        }
    }

    fn look_up(&mut self, value: &T) -> Arc<T> {
        let hash = self.hasher.hash_one(value);
        if let Some(known) = self.values.find(hash, |known| **known == *value) {
            return known.clone();
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = UNSWEPT.max(2 * self.values.len());
        }
        let shared = Arc::new(*value);
        self.values.insert_unique(hash, shared.clone(), |other| self.hasher.hash_one(**other));
        shared
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Interned {
    owners: Values<Owner>,
    surroundings: Values<Surroundings>,
    #[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
    lates: Vec<Box<Late>>,
}

impl Interned {
    pub(crate) fn new() -> Self {
        Self { owners: Values::new(), surroundings: Values::new(), lates: Vec::new() }
    }

    pub(crate) fn owner(&mut self, owner: &Owner) -> Arc<Owner> {
        self.owners.share(owner, owner.pid.0.into())
    }

    pub(crate) fn surroundings(&mut self, surroundings: &Surroundings) -> Arc<Surroundings> {
        self.surroundings.share(surroundings, surroundings.cgroup.map_or(0, |cgroup| cgroup.0))
    }

    /// Of a connection that begins to close: nothing is known of it.
    pub(super) fn late(&mut self) -> Box<Late> {
        self.lates.pop().unwrap_or_default()
    }

    /// The room of what a connection had is somebody else's now.
    pub(super) fn take_back(&mut self, mut late: Box<Late>) {
        if self.lates.len() < SPARE {
            late.clear();
            self.lates.push(late);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_is_kept_once() {
        let mut numbers = Values::new();
        let first = numbers.share(&7_u64, 7);
        (0..100_000).for_each(|number| drop(numbers.share(&number, number)));
        assert!(Arc::ptr_eq(&first, &numbers.share(&7, 7)));
    }

    #[test]
    fn what_nobody_has_any_more_does_not_pile_up() {
        let mut numbers = Values::new();
        let held: Vec<_> = (0..3000).map(|number| numbers.share(&number, number)).collect();
        (3000..100_000).for_each(|number| drop(numbers.share(&number, number)));
        assert!(numbers.values.len() <= 2 * held.len());
        drop(held);
        (0..20_000).for_each(|number| drop(numbers.share(&number, number)));
        assert!(numbers.values.len() <= UNSWEPT);
    }
}
