//! The entries of the time-wait table, in the order in which they came, and the names by which they are found. It does
//! not judge what happens to them.

use core::net::IpAddr;
use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::entry::Entry;
use crate::endpoint::{Tuple, canonical};
use crate::id::{Cookie, NetNs, Port, SockAddr};
use crate::observation::{SocketKind, SocketRow, Subject};
use crate::record::Endpoint;

/// Number of an entry: later ones are greater.
pub(crate) type Serial = u64;

/// Where a connection is, all parts known. At any time a namespace has one socket there, time-wait sockets included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    netns: NetNs,
    local: (IpAddr, Port),
    remote: (IpAddr, Port),
}

impl Place {
    pub(crate) fn of(netns: Option<NetNs>, tuple: &Tuple) -> Option<Self> {
        let end = |end: Endpoint| Some((end.addr?, end.port?));
        Some(Self { netns: netns?, local: end(tuple.local)?, remote: end(tuple.remote)? })
    }
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
        let end = |addr: Option<IpAddr>, port| Some((canonical(addr?), port?));
        let place = || {
            Some(Place {
                netns: subject.netns?,
                local: end(subject.local_addr, subject.local_port)?,
                remote: end(subject.remote_addr, subject.remote_port)?,
            })
        };
        Self { cookie: subject.cookie, address: subject.sock_addr.filter(|_| mini), place: place() }
    }

    pub(crate) fn of_row(row: &SocketRow) -> Self {
        let end = |addr, port: Option<Port>| Some((canonical(addr), port?));
        let place = || {
            Some(Place {
                netns: row.netns,
                local: end(row.local_addr, row.local_port)?,
                remote: end(row.remote_addr, row.remote_port)?,
            })
        };
        Self { cookie: row.cookie, address: None, place: place() }
    }

    /// Whether both can be names of one time-wait socket.
    pub(crate) fn agree(&self, other: &Names) -> bool {
        !differ(self.cookie, other.cookie)
            && !differ(self.address, other.address)
            && !differ(self.place, other.place)
    }
}

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: BTreeMap<Serial, Box<Entry>>,
    next: Serial,
    by_cookie: HashMap<Cookie, Serial>,
    by_address: HashMap<SockAddr, Serial>,
    by_place: HashMap<Place, Serial>,
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, serial: Serial) -> Option<&Entry> {
        self.entries.get(&serial).map(Box::as_ref)
    }

    pub(crate) fn get_mut(&mut self, serial: Serial) -> Option<&mut Entry> {
        self.entries.get_mut(&serial).map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Serial, &Entry)> {
        self.entries.iter().map(|(serial, entry)| (*serial, entry.as_ref()))
    }

    /// By address, else by cookie, else by place: the newest that has it, unless another name contradicts.
    pub(crate) fn find(&self, names: &Names) -> Option<Serial> {
        let by_address = names.address.and_then(|address| self.by_address.get(&address));
        let by_cookie = names.cookie.and_then(|cookie| self.by_cookie.get(&cookie));
        let by_place = names.place.and_then(|place| self.by_place.get(&place));
        [by_address, by_cookie, by_place]
            .into_iter()
            .flatten()
            .copied()
            .find(|serial| self.get(*serial).is_some_and(|entry| entry.names.agree(names)))
    }

    pub(crate) fn at_address(&self, address: SockAddr) -> Option<Serial> {
        self.by_address.get(&address).copied()
    }

    pub(crate) fn at_place(&self, place: &Place) -> Option<Serial> {
        self.by_place.get(place).copied()
    }

    pub(crate) fn insert(&mut self, entry: Entry) -> Serial {
        let serial = self.next;
        self.next += 1;
        let names = entry.names;
        self.entries.insert(serial, Box::new(entry));
        self.index(serial, &names);
        serial
    }

    /// The entry is known by these names too.
    pub(crate) fn learn(&mut self, serial: Serial, names: &Names) {
        let Some(entry) = self.get_mut(serial) else { return };
        entry.names.cookie = entry.names.cookie.or(names.cookie);
        entry.names.address = entry.names.address.or(names.address);
        entry.names.place = entry.names.place.or(names.place);
        let names = entry.names;
        self.index(serial, &names);
    }

    pub(crate) fn remove(&mut self, serial: Serial) -> Option<Box<Entry>> {
        let entry = self.entries.remove(&serial)?;
        let names = &entry.names;
        if let Some(cookie) = names.cookie.filter(|name| self.by_cookie.get(name) == Some(&serial)) {
            self.by_cookie.remove(&cookie);
        }
        if let Some(address) = names.address.filter(|name| self.by_address.get(name) == Some(&serial)) {
            self.by_address.remove(&address);
        }
        if let Some(place) = names.place.filter(|name| self.by_place.get(name) == Some(&serial)) {
            self.by_place.remove(&place);
        }
        Some(entry)
    }

    pub(crate) fn oldest(&self) -> Option<Serial> {
        self.entries.first_key_value().map(|(serial, _)| *serial)
    }

    fn index(&mut self, serial: Serial, names: &Names) {
        if let Some(cookie) = names.cookie {
            self.by_cookie.insert(cookie, serial);
        }
        if let Some(address) = names.address {
            self.by_address.insert(address, serial);
        }
        if let Some(place) = names.place {
            self.by_place.insert(place, serial);
        }
    }
}
