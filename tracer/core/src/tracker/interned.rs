//! Values that many connections have alike, kept once and shared. Bounded: a value that has not come for a while may be kept
//! twice, which costs memory and changes nothing.

use core::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;

use super::surroundings::Surroundings;
use crate::record::Owner;

/// Values of one kind that are remembered.
const REMEMBERED: usize = 1024;

/// The values that came last, each in the one place that its hash gives it.
#[derive(Debug)]
struct Remembered<T> {
    hasher: DefaultHashBuilder,
    places: Box<[Option<Arc<T>>]>,
}

impl<T: Clone + Eq + Hash> Remembered<T> {
    fn new() -> Self {
        Self { hasher: DefaultHashBuilder::default(), places: vec![None; REMEMBERED].into_boxed_slice() }
    }

    fn share(&mut self, value: &T) -> Arc<T> {
        let place = self.hasher.hash_one(value) as usize % REMEMBERED;
        match &mut self.places[place] {
            Some(known) if **known == *value => known.clone(),
            other => other.insert(Arc::new(value.clone())).clone(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Interned {
    owners: Remembered<Owner>,
    surroundings: Remembered<Surroundings>,
}

impl Interned {
    pub(crate) fn new() -> Self {
        Self { owners: Remembered::new(), surroundings: Remembered::new() }
    }

    pub(crate) fn owner(&mut self, owner: &Owner) -> Arc<Owner> {
        self.owners.share(owner)
    }

    pub(crate) fn surroundings(&mut self, surroundings: &Surroundings) -> Arc<Surroundings> {
        self.surroundings.share(surroundings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_value_is_kept_once_and_memory_is_bounded() {
        let mut numbers = Remembered::new();
        let first = numbers.share(&7_u64);
        assert!(Arc::ptr_eq(&first, &numbers.share(&7)));
        for number in 0..10 * REMEMBERED as u64 {
            assert_eq!(*numbers.share(&number), number);
        }
        assert_eq!(numbers.places.len(), REMEMBERED);
        assert_eq!(*first, 7, "whoever has it keeps it");
    }
}
