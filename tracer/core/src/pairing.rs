//! Joins the two ends of a connection within one host into one record. It knows close records and event time, nothing
//! else, and it looks through no address translation: the ends have to name each other.
//!
//! A close record waits a bounded event time for the other end's. Then it is decided, first closed first: it is joined
//! with the one record that fits if that one fits no other; whatever is ambiguous comes out alone, as does what is alone.
//! So the order in which records come in does not matter, as long as they come in before they are due.

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use hashbrown::HashMap;

use crate::id::{ConnId, Port};
use crate::record::{BothEnds, CloseRecord, Endpoint, Record, Role, SeenFrom};
use crate::time::MonoNs;

/// Close records with the same ends that wait at once: a port that is used again and again, or the same private addresses
/// in many namespaces. Each decision looks at all of them.
const SAME_ENDS: usize = 64;

/// How long and how many.
#[derive(Clone, Copy, Debug)]
pub struct PairingConfig {
    /// Event time between the first end's close and the decision
    pub wait_ns: u64,
    /// Close records that wait at once; beyond that the first closed is decided at once
    pub capacity: usize,
}

impl Default for PairingConfig {
    fn default() -> Self {
        Self { wait_ns: 1_000_000_000, capacity: 65_536 }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Pairing {
    config: PairingConfig,
    waiting: BTreeMap<Place, Waiting>,
    by_ends: HashMap<Ends, Vec<Place>>,
    out: VecDeque<Record>,
    taken: u64,
    /// Close records that were joined or let go before their time, for want of room
    hurried: u64,
}

/// Who is decided when: by the moment of its close. The last part only tells equals apart.
type Place = (MonoNs, ConnId, u64);

/// Both ends of a connection, the same from either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Ends((IpAddr, Port), (IpAddr, Port));

#[derive(Debug)]
struct Waiting {
    record: Box<CloseRecord>,
    ends: Ends,
    /// It fits more than one, or one that does: nothing tells which
    ambiguous: bool,
}

impl Pairing {
    /// Nothing waits yet.
    #[must_use]
    pub fn new(config: PairingConfig) -> Self {
        Self { config: PairingConfig { capacity: config.capacity.max(1), ..config }, ..Self::default() }
    }

    /// Takes in a record. What is no end of a connection with both addresses and ports known passes through.
    pub fn take(&mut self, record: Record) {
        let Record::Close(close) = record else {
            self.out.push_back(record);
            return;
        };
        match Ends::of(&close) {
            Some(ends) => self.hold(close, ends),
            None => self.out.push_back(Record::Close(close)),
        }
    }

    /// Every close up to `told_until` has been taken in (see [`Tracker::told_until`](crate::Tracker::told_until)).
    pub fn advance(&mut self, told_until: MonoNs) {
        while let Some(place) = self.first()
            && place.0.plus(self.config.wait_ns) <= told_until
        {
            self.decide(place);
        }
    }

    /// The stream is over: whatever waits is decided.
    pub fn finish(&mut self) {
        while let Some(place) = self.first() {
            self.decide(place);
        }
    }

    /// The next record that is decided.
    pub fn next_record(&mut self) -> Option<Record> {
        self.out.pop_front()
    }

    /// Close records that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Close records that were decided before their time, for want of room.
    #[must_use]
    pub fn hurried(&self) -> u64 {
        self.hurried
    }

    fn hold(&mut self, record: Box<CloseRecord>, ends: Ends) {
        let place = (closed(&record), record.conn_id, self.taken);
        self.taken += 1;
        let group = self.by_ends.entry(ends).or_default();
        group.push(place);
        let crowded = (group.len() > SAME_ENDS).then(|| group.iter().min().copied()).flatten();
        self.waiting.insert(place, Waiting { record, ends, ambiguous: false });
        let full = (self.waiting.len() > self.config.capacity).then(|| self.first()).flatten();
        if let Some(place) = crowded.or(full) {
            self.hurried += 1;
            self.decide(place);
        }
    }

    fn first(&self) -> Option<Place> {
        self.waiting.first_key_value().map(|(place, _)| *place)
    }

    fn decide(&mut self, place: Place) {
        let Some(first) = self.remove(place) else { return };
        let until = place.0.plus(self.config.wait_ns);
        let fitting = self.fitting(&first, until);
        let mate = match fitting[..] {
            [only] if !first.ambiguous && self.fits_no_other(only, until) => Some(only),
            _ => None,
        };
        if let Some(mate) = mate.and_then(|mate| self.remove(mate)) {
            self.out.push_back(Record::BothEnds(Box::new(joined(*first.record, *mate.record))));
            return;
        }
        for place in fitting {
            if let Some(waiting) = self.waiting.get_mut(&place) {
                waiting.ambiguous = true;
            }
        }
        self.out.push_back(Record::Close(first.record));
    }

    /// Those that wait, closed by `until` and may be the other end of `one`.
    fn fitting(&self, one: &Waiting, until: MonoNs) -> Vec<Place> {
        let Some(group) = self.by_ends.get(&one.ends) else { return Vec::new() };
        let fits = |place: &&Place| {
            place.0 <= until
                && self.waiting.get(*place).is_some_and(|other| are_ends_of_one(&one.record, &other.record))
        };
        group.iter().filter(fits).copied().collect()
    }

    /// The record that is being decided does not wait any more, so nothing else may fit.
    fn fits_no_other(&self, place: Place, until: MonoNs) -> bool {
        self.waiting.get(&place).is_some_and(|mate| !mate.ambiguous && self.fitting(mate, until).is_empty())
    }

    fn remove(&mut self, place: Place) -> Option<Waiting> {
        let waiting = self.waiting.remove(&place)?;
        self.forget(waiting.ends, place);
        Some(waiting)
    }

    fn forget(&mut self, ends: Ends, place: Place) {
        if let Some(group) = self.by_ends.get_mut(&ends) {
            group.retain(|other| *other != place);
            if group.is_empty() {
                self.by_ends.remove(&ends);
            }
        }
    }
}

impl Ends {
    /// `None` where an address or a port is not known, or where one socket is both ends.
    fn of(record: &CloseRecord) -> Option<Self> {
        let (local, remote) = (end(record.local)?, end(record.remote)?);
        match local.cmp(&remote) {
            core::cmp::Ordering::Less => Some(Self(local, remote)),
            core::cmp::Ordering::Greater => Some(Self(remote, local)),
            core::cmp::Ordering::Equal => None,
        }
    }
}

fn end(endpoint: Endpoint) -> Option<(IpAddr, Port)> {
    let addr = endpoint.addr?.to_canonical();
    (!addr.is_unspecified()).then_some((addr, endpoint.port?))
}

/// Whether two records of the same ends may be the two sides of one connection.
fn are_ends_of_one(one: &CloseRecord, other: &CloseRecord) -> bool {
    end(one.local) == end(other.remote)
        && one.conn_id.boot == other.conn_id.boot
        && in_reach(one, other)
        && overlap(one, other)
        && opener_first(one, other).is_some()
}

/// A loopback address leads nowhere but into its own namespace.
fn in_reach(one: &CloseRecord, other: &CloseRecord) -> bool {
    let loopback = |end: Endpoint| end.addr.is_some_and(|addr| addr.to_canonical().is_loopback());
    match (one.netns, other.netns) {
        (Some(one_netns), Some(netns)) if one_netns != netns => !loopback(one.local) && !loopback(one.remote),
        _ => true,
    }
}

/// What was seen from the middle on began at some time before.
fn overlap(one: &CloseRecord, other: &CloseRecord) -> bool {
    began(one) <= closed(other) && began(other) <= closed(one)
}

fn began(record: &CloseRecord) -> MonoNs {
    match (record.seen_from, record.steps.first()) {
        (SeenFrom::Handshake, Some(first)) => first.at,
        _ => MonoNs(0),
    }
}

fn closed(record: &CloseRecord) -> MonoNs {
    record.closed_at.unwrap_or(record.last_seen_at)
}

/// Whether `one` asked for the connection rather than `other`; `None` where nothing tells, or where their roles do not go
/// together. Where both asked, the lower id comes first.
fn opener_first(one: &CloseRecord, other: &CloseRecord) -> Option<bool> {
    use Role::{Accepted, Opened, OpenedBoth};
    match (one.role.value(), other.role.value()) {
        (Some(Opened), None | Some(Accepted)) | (None, Some(Accepted)) => Some(true),
        (Some(Accepted), None | Some(Opened)) | (None, Some(Opened)) => Some(false),
        (Some(OpenedBoth), None | Some(OpenedBoth)) | (None, Some(OpenedBoth)) => {
            Some(one.conn_id <= other.conn_id)
        }
        _ => None,
    }
}

fn joined(one: CloseRecord, other: CloseRecord) -> BothEnds {
    match opener_first(&one, &other) {
        Some(false) => BothEnds { opener_side: other, acceptor_side: one },
        _ => BothEnds { opener_side: one, acceptor_side: other },
    }
}
