//! The entries of the time-wait table, in the order in which they came, and the names by which they are found. It does
//! not judge what happens to them.

use core::hash::{BuildHasher, Hash, Hasher};
use core::net::{IpAddr, Ipv6Addr};

use hashbrown::hash_table::Entry as Led;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::super::slab::{Links, Order, Slab, Slot};
use super::entry::{Entry, Origin, Whereabouts};
use crate::endpoint::Tuple;
use crate::id::{Cookie, NetNs, Port, SockAddr};
use crate::observation::{SocketKind, SocketRow, Subject};
use crate::record::Endpoint;

/// An entry: later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Serial {
    number: u64,
    /// Where it is; another one may come to be there
    slot: Slot,
}

/// Where a connection is, all parts known. At any time a namespace has one socket there, time-wait sockets included.
/// Addresses are 16 bytes, IPv4 as mapped: quick to hash and to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    netns: NetNs,
    ports: (Port, Port),
    local: [u64; 2],
    remote: [u64; 2],
}

impl Place {
    pub(crate) fn of(netns: Option<NetNs>, tuple: &Tuple) -> Option<Self> {
        let end = |end: Endpoint| Some((end.addr?, end.port?));
        Some(Self::between(netns?, end(tuple.local)?, end(tuple.remote)?))
    }

    /// The namespace and both ends.
    pub(crate) fn whereabouts(self) -> Whereabouts {
        let end = |[high, low]: [u64; 2], port| {
            let addr = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).to_canonical();
            Endpoint { addr: Some(addr), port: Some(port) }
        };
        let tuple = Tuple { local: end(self.local, self.ports.0), remote: end(self.remote, self.ports.1) };
        Whereabouts { netns: Some(self.netns), tuple }
    }

    fn between(netns: NetNs, local: (IpAddr, Port), remote: (IpAddr, Port)) -> Self {
        Self { netns, ports: (local.1, remote.1), local: bits(local.0), remote: bits(remote.0) }
    }
}

impl Hash for Place {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ports = u64::from(self.ports.0.0) << 16 | u64::from(self.ports.1.0);
        state.write_u64(u64::from(self.netns.0) << 32 | ports);
        match (ipv4(self.local), ipv4(self.remote)) {
            (Some(local), Some(remote)) => state.write_u64(local << 32 | remote),
            _ => [self.local, self.remote].as_flattened().iter().for_each(|word| state.write_u64(*word)),
        }
    }
}

/// The address that is mapped, where one is.
#[inline]
fn ipv4([high, low]: [u64; 2]) -> Option<u64> {
    (high == 0 && low >> 32 == 0xffff).then_some(low & 0xffff_ffff)
}

fn bits(addr: IpAddr) -> [u64; 2] {
    let bits = match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    };
    [(bits >> 64) as u64, bits as u64]
}

/// What an event or a row tells of which time-wait socket it means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names {
    pub(crate) cookie: Option<Cookie>,
    /// The time-wait socket's own
    pub(crate) address: Option<SockAddr>,
    pub(crate) place: Option<Place>,
}

impl Names {
    pub(crate) fn of_subject(subject: &Subject) -> Self {
        let mini = subject.kind == SocketKind::TimeWait;
        let end = |addr: Option<IpAddr>, port: Option<Port>| Some((addr?, port?));
        let place = || {
            let local = end(subject.local_addr, subject.local_port)?;
            Some(Place::between(subject.netns?, local, end(subject.remote_addr, subject.remote_port)?))
        };
        Self { cookie: subject.cookie, address: subject.sock_addr.filter(|_| mini), place: place() }
    }

    pub(crate) fn of_row(row: &SocketRow) -> Self {
        let end = |addr, port: Option<Port>| Some((addr, port?));
        let place = || {
            let local = end(row.local_addr, row.local_port)?;
            Some(Place::between(row.netns, local, end(row.remote_addr, row.remote_port)?))
        };
        Self { cookie: row.cookie, address: None, place: place() }
    }

    /// Whether both can be names of one time-wait socket.
    pub(crate) fn agree(&self, other: &Names) -> bool {
        !differ(self.cookie, other.cookie)
            && !differ(self.address, other.address)
            && !differ(self.place, other.place)
    }

    /// Whether both have the same name of this kind.
    #[inline]
    fn share(&self, kind: usize, other: &Names) -> bool {
        match kind {
            ADDRESS => self.address.is_some() && self.address == other.address,
            COOKIE => self.cookie.is_some() && self.cookie == other.cookie,
            _ => self.place.is_some() && self.place == other.place,
        }
    }

    /// Half a hash of the name of this kind.
    #[inline]
    fn half(&self, kind: usize, hasher: &DefaultHashBuilder) -> Option<u32> {
        let hash = match kind {
            ADDRESS => hasher.hash_one(self.address?),
            COOKIE => hasher.hash_one(self.cookie?),
            _ => hasher.hash_one(self.place?),
        };
        Some(hash as u32)
    }
}

/// Names, and half a hash of each that was needed so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought {
    pub(crate) names: Names,
    halves: [Option<u32>; KINDS],
}

impl From<Names> for Sought {
    fn from(names: Names) -> Self {
        Self { names, halves: [None; KINDS] }
    }
}

impl Sought {
    #[inline]
    fn half(&mut self, kind: usize, hasher: &DefaultHashBuilder) -> Option<u32> {
        if self.halves[kind].is_none() {
            self.halves[kind] = self.names.half(kind, hasher);
        }
        self.halves[kind]
    }
}

/// Kinds of names.
const ADDRESS: usize = 0;
const COOKIE: usize = 1;
const PLACE: usize = 2;
const KINDS: usize = 3;

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// What a search by several names has come to.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    newest: Option<Serial>,
    /// Names that are known to lead to one that was found: they need not be looked up
    by: [bool; KINDS],
}

#[derive(Debug)]
struct Node {
    entry: Entry,
    number: u64,
    /// Half a hash of each of its names that lead to it, by kind: the last that came by a name has it
    halves: [u32; KINDS],
    found_by: [bool; KINDS],
}

/// What a time-wait socket takes, beside nine bytes for each of its names.
const _: () = assert!(size_of::<Option<Node>>() <= 384);

/// See the module. Names are indexed by eight bytes each: half a hash, by which they are found and moved, and the slot. The
/// hash is seeded, so nobody can choose names that fall together.
#[derive(Debug)]
pub(crate) struct Store {
    nodes: Slab<Node>,
    links: Links,
    order: Order,
    next: u64,
    /// Those without a connection
    unclaimed: usize,
    hasher: DefaultHashBuilder,
    index: [HashTable<(u32, Slot)>; KINDS],
}

impl Store {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Slab::new(),
            links: Links::default(),
            order: Order::EMPTY,
            next: 0,
            unclaimed: 0,
            hasher: DefaultHashBuilder::default(),
            index: [const { HashTable::new() }; KINDS],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn get(&self, serial: Serial) -> Option<&Entry> {
        let node = self.nodes.get(serial.slot)?;
        (node.number == serial.number).then_some(&node.entry)
    }

    pub(crate) fn get_mut(&mut self, serial: Serial) -> Option<&mut Entry> {
        let node = self.nodes.get_mut(serial.slot)?;
        (node.number == serial.number).then_some(&mut node.entry)
    }

    /// The oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Serial, &Entry)> {
        let nodes = self.links.iter(self.order).filter_map(|slot| Some((slot, self.nodes.get(slot)?)));
        nodes.map(|(slot, node)| (Serial { number: node.number, slot }, &node.entry))
    }

    /// Entries of which no connection is known yet.
    pub(crate) fn unclaimed(&self) -> usize {
        self.unclaimed
    }

    /// The connection that left it behind is known from now on.
    pub(crate) fn claim(&mut self, serial: Serial, origin: Origin) {
        if let Some(entry) = self.get_mut(serial)
            && entry.origin.replace(origin).is_none()
        {
            self.unclaimed -= 1;
        }
    }

    /// By address, by cookie or by place: the newest of those that no other name contradicts.
    pub(crate) fn find(&self, sought: &mut Sought) -> Option<Serial> {
        let mut found = Found::default();
        for kind in [ADDRESS, COOKIE, PLACE] {
            self.follow(kind, sought, &mut found);
        }
        found.newest
    }

    pub(crate) fn at_address(&self, sought: &mut Sought) -> Option<Serial> {
        self.named(ADDRESS, sought).map(|(serial, _)| serial)
    }

    pub(crate) fn at_place(&self, place: Place) -> Option<Serial> {
        let names = Names { cookie: None, address: None, place: Some(place) };
        self.named(PLACE, &mut names.into()).map(|(serial, _)| serial)
    }

    /// Its number, and the one that was at its place until now.
    pub(crate) fn insert(&mut self, entry: Entry, sought: &mut Sought) -> (Serial, Option<Serial>) {
        let number = self.next;
        self.next += 1;
        self.unclaimed += usize::from(entry.origin.is_none());
        let node = Node { entry, number, halves: [0; KINDS], found_by: [false; KINDS] };
        let slot = self.nodes.insert(node);
        self.links.append(&mut self.order, slot);
        let [.., displaced] = [ADDRESS, COOKIE, PLACE].map(|kind| self.lead(kind, sought, slot));
        (Serial { number, slot }, displaced)
    }

    /// The entry is known by these names too.
    pub(crate) fn learn(&mut self, serial: Serial, names: &Names) -> Option<&mut Entry> {
        if self.nodes.get(serial.slot)?.found_by == [true; KINDS] {
            return self.get_mut(serial); // it has all names
        }
        let node = self.nodes.get_mut(serial.slot).filter(|node| node.number == serial.number)?;
        let own = &mut node.entry.names;
        own.cookie = own.cookie.or(names.cookie);
        own.address = own.address.or(names.address);
        own.place = own.place.or(names.place);
        let (mut own, found_by) = (Sought::from(*own), node.found_by);
        for kind in [ADDRESS, COOKIE, PLACE] {
            if !found_by[kind] {
                self.lead(kind, &mut own, serial.slot);
            }
        }
        self.get_mut(serial)
    }

    pub(crate) fn remove(&mut self, serial: Serial) {
        let Some(node) = self.nodes.get(serial.slot).filter(|node| node.number == serial.number) else {
            return;
        };
        self.unclaimed -= usize::from(node.entry.origin.is_none());
        for kind in [ADDRESS, COOKIE, PLACE] {
            if node.found_by[kind] {
                forget(&mut self.index[kind], node.halves[kind], serial.slot);
            }
        }
        self.nodes.clear(serial.slot);
        self.links.take_out(&mut self.order, serial.slot);
    }

    pub(crate) fn oldest(&self) -> Option<Serial> {
        let slot = self.order.oldest()?;
        self.nodes.get(slot).map(|node| Serial { number: node.number, slot })
    }

    /// The name of this kind may lead to a newer one.
    #[inline]
    fn follow(&self, kind: usize, sought: &mut Sought, found: &mut Found) {
        if !found.by[kind]
            && let Some((serial, node)) = self.named(kind, sought)
            && node.entry.names.agree(&sought.names)
        {
            if found.newest.is_none_or(|newest| newest.number < serial.number) {
                found.newest = Some(serial);
            }
            for kind in 0..KINDS {
                found.by[kind] |= node.found_by[kind];
            }
        }
    }

    /// To which one the name of this kind leads.
    #[inline]
    fn named(&self, kind: usize, sought: &mut Sought) -> Option<(Serial, &Node)> {
        let half = sought.half(kind, &self.hasher)?;
        let is_it =
            |slot| self.nodes.get(slot).is_some_and(|node| sought.names.share(kind, &node.entry.names));
        let slot = self.index[kind].find(spread(half), |(other, slot)| *other == half && is_it(*slot))?.1;
        self.nodes.get(slot).map(|node| (Serial { number: node.number, slot }, node))
    }

    /// The name of this kind leads to `slot` from now on, and no longer to the one that is returned.
    fn lead(&mut self, kind: usize, sought: &mut Sought, slot: Slot) -> Option<Serial> {
        let half = sought.half(kind, &self.hasher)?;
        let node = self.nodes.get_mut(slot)?;
        (node.halves[kind], node.found_by[kind]) = (half, true);
        let is_it =
            |slot: Slot| self.nodes.get(slot).is_some_and(|node| sought.names.share(kind, &node.entry.names));
        let found = self.index[kind].entry(
            spread(half),
            |(other, slot)| *other == half && is_it(*slot),
            |(half, _)| spread(*half),
        );
        let slot = match found {
            Led::Vacant(vacant) => {
                vacant.insert((half, slot));
                return None;
            }
            Led::Occupied(mut led) => core::mem::replace(&mut led.get_mut().1, slot),
        };
        let node = self.nodes.get_mut(slot)?;
        node.found_by[kind] = false;
        Some(Serial { number: node.number, slot })
    }
}

/// The name of this half of a hash leads to `slot` no longer.
fn forget(index: &mut HashTable<(u32, Slot)>, half: u32, slot: Slot) {
    if let Ok(entry) = index.find_entry(spread(half), |entry| *entry == (half, slot)) {
        entry.remove();
    }
}

/// The table takes a place from the low bits and tells neighbours apart by the high ones.
fn spread(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}
