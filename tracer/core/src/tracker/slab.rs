//! Things in numbered places, which are used again; and orders in which places stand. It does not know what is in them.
//!
//! Neighbours in an order are kept apart from what is in the places: who comes or goes touches no other's.

/// Number of a place.
pub(crate) type Slot = u32;

const NIL: Slot = Slot::MAX;

/// See the module. It never gives room back.
#[derive(Debug)]
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    /// How many places are taken.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&T> {
        self.places.get(slot as usize)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut T> {
        self.places.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn insert(&mut self, value: T) -> Slot {
        match self.free.pop() {
            Some(slot) => {
                self.places[slot as usize] = Some(value);
                slot
            }
            None => {
                self.places.push(Some(value));
                (self.places.len() - 1) as Slot
            }
        }
    }

    /// Whether something was there.
    pub(super) fn clear(&mut self, slot: Slot) -> bool {
        let Some(place) = self.places.get_mut(slot as usize).filter(|place| place.is_some()) else {
            return false;
        };
        *place = None;
        self.free.push(slot);
        true
    }

    /// All that is there, by place.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        (0..).zip(&self.places).filter_map(|(slot, place)| Some((slot, place.as_ref()?)))
    }
}

/// Both ends of an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    oldest: Slot,
    newest: Slot,
    len: usize,
}

impl Order {
    /// Nobody stands in it.
    pub(super) const EMPTY: Self = Self { oldest: NIL, newest: NIL, len: 0 };

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<Slot> {
        (self.oldest != NIL).then_some(self.oldest)
    }
}

#[derive(Clone, Copy, Debug)]
struct Neighbours {
    older: Slot,
    newer: Slot,
}

/// The neighbours of each place, which stands in one order at most.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Neighbours>);

impl Links {
    /// `slot`, which stands in no order, is the newest of `order`.
    pub(super) fn append(&mut self, order: &mut Order, slot: Slot) {
        let own = Neighbours { older: order.newest, newer: NIL };
        let place = slot as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, own);
        }
        self.0[place] = own;
        match self.0.get_mut(order.newest as usize) {
            Some(newest) => newest.newer = slot,
            None => order.oldest = slot,
        }
        order.newest = slot;
        order.len += 1;
    }

    /// `slot`, which stands in `order`, goes.
    pub(super) fn take_out(&mut self, order: &mut Order, slot: Slot) {
        let Some(Neighbours { older, newer }) = self.0.get(slot as usize).copied() else { return };
        match self.0.get_mut(older as usize) {
            Some(neighbours) => neighbours.newer = newer,
            None => order.oldest = newer,
        }
        match self.0.get_mut(newer as usize) {
            Some(neighbours) => neighbours.older = older,
            None => order.newest = older,
        }
        order.len -= 1;
    }

    /// Those in `order`, the oldest first.
    pub(super) fn iter(&self, order: Order) -> impl Iterator<Item = Slot> {
        let newer = |slot: &Slot| self.0.get(*slot as usize).map(|place| place.newer);
        std::iter::successors(order.oldest(), move |slot| newer(slot).filter(|newer| *newer != NIL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_was_cleared_is_used_again() {
        let mut slab = Slab::new();
        let slots = ["a", "b", "c"].map(|text| slab.insert(text));
        assert!(slab.clear(slots[1]) && !slab.clear(slots[1]) && !slab.clear(99));
        assert_eq!((slab.get(slots[1]), slab.len()), (None, 2));
        assert_eq!(slab.insert("d"), slots[1]);
        assert_eq!(slab.iter().map(|(_, text)| *text).collect::<String>(), "adc");
    }

    #[test]
    fn whoever_goes_leaves_the_others_in_their_order() {
        let (mut links, mut order, mut other) = (Links::default(), Order::EMPTY, Order::EMPTY);
        (0..5).for_each(|slot| links.append(&mut order, slot));
        for (slot, rest) in [(2, vec![0, 1, 3, 4]), (0, vec![1, 3, 4]), (4, vec![1, 3])] {
            links.take_out(&mut order, slot);
            links.append(&mut other, slot);
            assert_eq!(links.iter(order).collect::<Vec<_>>(), rest);
        }
        assert_eq!(links.iter(other).collect::<Vec<_>>(), [2, 0, 4]);
        assert_eq!((order.len(), order.oldest(), other.len()), (2, Some(1), 3));
        [1, 3].into_iter().for_each(|slot| links.take_out(&mut order, slot));
        assert_eq!((order.len(), order.oldest(), links.iter(order).count()), (0, None, 0));
    }
}
