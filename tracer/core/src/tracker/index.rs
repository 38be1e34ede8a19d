//! Slots of connections by key. It does not know what is in the slots.

use core::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::slab::Slot;
use crate::id::SocketKey;

/// Keys that were asked for last, by a number that they are likely to differ in. A power of two.
const RECENT: usize = 64;

/// See the module. An entry is eight bytes: half a hash, by which it is found and moved without a look at the connection, and
/// the slot. The hash is seeded, so nobody can choose keys that fall together.
#[derive(Debug)]
pub(super) struct Index {
    hasher: DefaultHashBuilder,
    entries: HashTable<(u32, Slot)>,
    /// Those that are addresses: few, if any
    addresses: usize,
    /// Found last, and still there: what happens to one connection mostly happens within a moment
    recent: [Option<(SocketKey, Slot)>; RECENT],
}

impl Default for Index {
    fn default() -> Self {
        Self {
            hasher: DefaultHashBuilder::default(),
            entries: HashTable::new(),
            addresses: 0,
            recent: [None; RECENT],
        }
    }
}

impl Index {
    pub(super) fn find(&self, key: SocketKey, is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        if self.addresses == 0 && is_address(key) {
            return None;
        }
        let half = self.half(key);
        let found = self.entries.find(spread(half), |(other, slot)| *other == half && is_it(*slot))?;
        Some(found.1)
    }

    /// Likewise, of a key that will be asked for again soon.
    #[inline]
    pub(super) fn find_again(&mut self, key: SocketKey, is_it: impl Fn(Slot) -> bool) -> Option<Slot> {
        if let Some((recent, slot)) = self.recent[way(key)]
            && recent == key
        {
            return Some(slot);
        }
        let slot = self.find(key, is_it)?;
        self.recent[way(key)] = Some((key, slot));
        Some(slot)
    }

    /// `key` is not there yet.
    pub(super) fn insert(&mut self, key: SocketKey, slot: Slot) {
        let half = self.half(key);
        self.addresses += usize::from(is_address(key));
        self.entries.insert_unique(spread(half), (half, slot), |(half, _)| spread(*half));
        self.recent[way(key)] = Some((key, slot));
    }

    /// Does nothing if the key is another slot's.
    pub(super) fn remove(&mut self, key: SocketKey, slot: Slot) {
        let half = self.half(key);
        if let Ok(entry) = self.entries.find_entry(spread(half), |entry| *entry == (half, slot)) {
            entry.remove();
            self.addresses -= usize::from(is_address(key));
        }
        if self.recent[way(key)] == Some((key, slot)) {
            self.recent[way(key)] = None;
        }
    }

    /// Whether some key is an address.
    pub(super) fn knows_addresses(&self) -> bool {
        self.addresses > 0
    }

    #[inline]
    fn half(&self, key: SocketKey) -> u32 {
        self.hasher.hash_one(number(key)) as u32
    }
}

fn is_address(key: SocketKey) -> bool {
    matches!(key, SocketKey::Address(_))
}

/// The two kinds seldom fall together this way, and are told apart where they do.
#[inline]
fn number(key: SocketKey) -> u64 {
    match key {
        SocketKey::Cookie(cookie) => cookie.0,
        SocketKey::Address(address) => !address.0,
    }
}

/// Cookies are given out one by one; addresses differ in what is above a cache line's bits.
#[inline]
fn way(key: SocketKey) -> usize {
    let number = number(key);
    (number ^ number >> 6) as usize % RECENT
}

/// The table takes a place from the low bits and tells neighbours apart by the high ones.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Cookie, SockAddr};

    #[test]
    fn a_key_that_was_just_found_leads_to_its_new_slot_once_it_is_another_ones() {
        let key = SocketKey::Cookie(Cookie(5));
        let mut index = Index::default();
        index.insert(key, 1);
        assert_eq!(index.find_again(key, |_| true), Some(1));
        index.remove(key, 2);
        assert_eq!(index.find_again(key, |_| true), Some(1), "that was another slot's");
        index.remove(key, 1);
        assert_eq!(index.find_again(key, |_| true), None);
        index.insert(key, 3);
        assert_eq!(index.find_again(key, |_| true), Some(3));
    }

    #[test]
    fn keys_that_share_a_place_among_the_recent_ones_are_told_apart() {
        let keys = [5, 5 + (64 << 6), 9].map(|number| SocketKey::Cookie(Cookie(number)));
        assert_eq!(way(keys[0]), way(SocketKey::Cookie(Cookie(5 + (64 << 6)))));
        let mut index = Index::default();
        (1..).zip(keys).for_each(|(slot, key)| index.insert(key, slot));
        for _ in 0..2 {
            for (slot, key) in (1..).zip(keys) {
                assert_eq!(index.find_again(key, |found| found == slot), Some(slot));
            }
        }
        let address = SocketKey::Address(SockAddr(!5));
        assert_eq!(index.find_again(address, |_| false), None, "its number is a cookie's");
    }
}
