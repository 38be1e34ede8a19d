//! The state machine: observations in, records out.
//!
//! Per socket the order of observations is the truth; times are never sorted. A connection is known by its socket's
//! key and its generation; a loss makes unknown only what rests on the absence of an event.

mod audit;
mod closing;
mod connection;
mod end;
mod ended;
mod hooked;
mod index;
mod interned;
mod late;
mod open;
mod population;
mod ports;
mod slab;
mod sockets;
mod step;
mod surroundings;
mod table;
mod time_wait;
mod trace;
mod workloads;

use std::collections::VecDeque;

use hashbrown::HashMap;
use tracer_common::TcpState;

pub(crate) use self::audit::Audit;
pub(crate) use self::connection::{Connection, ECONNABORTED, STEPS, difference};
use self::connection::{Ends, Expected};
pub(crate) use self::end::End;
pub(crate) use self::hooked::SentReset;
use self::interned::Interned;
pub(crate) use self::late::LocalBegin;
pub use self::open::ClosingConnection;
use self::population::Ungrouped;
pub use self::population::{GroupId, GroupPopulation, Grouping, OpenConnection};
pub use self::ports::{PortSpace, PortsTaken};
use self::sockets::Listing;
use self::table::{Queue, Slot, Table};
use self::time_wait::{Lent, TimeWaits};
pub(crate) use self::trace::{Space, Trace};
use self::workloads::Workloads;
use crate::accounting::Accounting;
use crate::id::{BootId, SocketKey};
use crate::observation::{Hooks, Host, Observation, StateChange, Tier};
use crate::record::{CloseRecord, Record, TransitionRecord};
use crate::time::MonoNs;

/// How much the tracker may hold, and how long it waits.
#[derive(Clone, Copy, Debug)]
pub struct TrackerConfig {
    /// Connections followed at once
    pub capacity: usize,
    /// Event time between CLOSE and the close record
    pub settle_ns: u64,
    /// Whether transition records are wanted
    pub transitions: bool,
    /// Time-wait sockets followed at once; the default is the kernel's own largest default (tcp_max_tw_buckets)
    pub time_waits: usize,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self { capacity: 262_144, settle_ns: 50_000_000, transitions: true, time_waits: 262_144 }
    }
}

/// Behind a kernel filter a handshake is given up after this: longer than connect() tries by default (127 s).
const HANDSHAKE_NS: u64 = 150_000_000_000;

/// What became of every connection that was taken in: their sum is always `begun`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Connections and listeners taken in
    pub begun: u64,
    /// Ended with a close record
    pub closed: u64,
    /// Listeners that ended; they have no close record
    pub listeners: u64,
    /// Put out of the full table
    pub evicted: u64,
    /// Never got past the handshake, behind a kernel filter
    pub unfollowed: u64,
    /// Followed now
    pub open: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    boot: BootId,
    filtered: bool,
    hooks: Hooks,
    tier: Tier,
    table: Table,
    interned: Interned,
    /// First records of children that have no name of their own yet
    held: HashMap<Slot, Box<TransitionRecord>>,
    time_waits: TimeWaits,
    /// The dump of connections under way
    listing: Option<Listing>,
    workloads: Workloads,
    grouping: Box<dyn Grouping>,
    /// Of that
    by_owner: bool,
    audit: Audit,
    records: VecDeque<Record>,
    /// Those that were taken back
    #[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
    told: Vec<Box<CloseRecord>>,
    received: u64,
    duplicates: u64,
    chain_breaks: u64,
    fates: Fates,
    newest: MonoNs,
    /// The last one
    watermark: MonoNs,
    /// It may have let the settling time of a connection be over
    may_be_due: bool,
}

impl Tracker {
    /// An empty tracker, to which all connections are one group.
    #[must_use]
    pub fn new(config: TrackerConfig) -> Self {
        Self::with_grouping(config, Box::new(Ungrouped))
    }

    /// An empty tracker, which counts open connections by the groups that `grouping` puts them into.
    #[must_use]
    pub fn with_grouping(config: TrackerConfig, grouping: Box<dyn Grouping>) -> Self {
        Self {
            config: TrackerConfig { capacity: config.capacity.max(1), ..config },
            boot: BootId::default(),
            filtered: false,
            hooks: Hooks::default(),
            tier: Tier::TpBtf,
            listing: None,
            workloads: Workloads::default(),
            by_owner: grouping.is_by_owner(),
            grouping,
            table: Table::new(),
            interned: Interned::new(),
            held: HashMap::new(),
            time_waits: TimeWaits::new(config.time_waits, config.settle_ns),
            audit: Audit::default(),
            records: VecDeque::new(),
            told: Vec::new(),
            received: 0,
            duplicates: 0,
            chain_breaks: 0,
            fates: Fates::default(),
            newest: MonoNs(0),
            watermark: MonoNs(0),
            may_be_due: false,
        }
    }

    /// Takes in one observation.
    pub fn observe(&mut self, observation: &Observation) {
        while self.may_be_due {
            self.may_be_due = self.settle_one();
        }
        match observation {
            Observation::Host(host) => self.begin(host),
            Observation::Clock(_) => {}
            Observation::StateChange(change) => self.state_change(change),
            Observation::Watermark(watermark) => self.advance(watermark.at),
            Observation::Counters(counters) => self.audit.count(counters, self.duplicates),
            Observation::Reset(event) => self.reset(event),
            Observation::Retransmit(event) => self.retransmit(event),
            Observation::Accept(event) => self.accept(event),
            Observation::TimeWait(event) => {
                self.audit.number(event.stream, event.seq, event.at);
                let mut lent = Lent { audit: &self.audit, ports: self.table.ports_mut() };
                self.time_waits.event(event, &mut lent);
            }
            Observation::DumpBegin(begin) => self.dump_begin(begin),
            Observation::Socket(row) => self.row(row),
            Observation::DumpEnd(end) => self.dump_end(end),
            Observation::Cgroup(names) => self.workloads.learn(names),
            Observation::Resumed(resumed) => self.audit.resume(resumed),
        }
    }

    /// The next record that is due. Those of closes are made as they are asked for, or before the next observation is taken in.
    pub fn next_record(&mut self) -> Option<Record> {
        // One by one, so that a record is told before the next is made.
        while self.records.is_empty() && self.may_be_due {
            self.may_be_due = self.settle_one();
        }
        self.records.pop_front().or_else(|| self.time_waits.next_record().map(Record::TimeWait))
    }

    /// The stream is over: whatever has closed is reported. What is still open has no end to report.
    pub fn finish(&mut self) {
        while let Some(slot) = self.table.oldest(Queue::Settling) {
            self.end(slot);
        }
        self.time_waits.finish(&mut Lent { audit: &self.audit, ports: self.table.ports_mut() });
    }

    /// The books.
    #[must_use]
    pub fn accounting(&self) -> Accounting {
        let counters = self.audit.counters();
        Accounting {
            received: self.received,
            duplicates: self.duplicates,
            lost_ring: counters.lost_ring,
            recursion_missed: counters.recursion_missed,
            // A repetition that the shadow made rescued nothing.
            rescued: counters.rescued.map(|rescued| rescued.saturating_sub(self.duplicates)),
            gaps: self.audit.gaps(),
            chain_breaks: self.chain_breaks,
            evicted: self.fates.evicted,
            decode_errors: counters.decode_errors,
            counted: counters.transitions.saturating_sub(self.duplicates),
            hooks_lost: counters.hooks_lost,
        }
    }

    /// Connections followed now that have not ended, listeners included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.table.len() - self.table.len_of(Queue::Settling)
    }

    /// A record waits for a watermark and for the counters; without one, nothing is due however long it is quiet.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.table.len_of(Queue::Settling) > 0 || self.time_waits.is_settling()
    }

    /// Until when every close has been told, with `watermark` the newest that was observed.
    #[must_use]
    pub fn told_until(&self, watermark: MonoNs) -> MonoNs {
        let oldest = self.table.oldest(Queue::Settling).and_then(|slot| self.table.get(slot));
        oldest.map_or(watermark, |connection| connection.last_seen_at().min(watermark))
    }

    /// What became of every connection.
    #[must_use]
    pub fn fates(&self) -> Fates {
        Fates { open: self.table.len() as u64, ..self.fates }
    }

    fn begin(&mut self, host: &Host) {
        if host.boot_id != self.boot {
            self.finish(); // sockets of another boot
        }
        self.boot = host.boot_id;
        self.filtered = host.filtered;
        self.hooks = host.hooks;
        self.tier = host.tier;
        self.audit.begin(host.since);
        self.time_waits.begin(host);
    }

    /// No event before `at` can still come: what closed long enough before is reported, once every loss up to its end
    /// is known.
    fn advance(&mut self, at: MonoNs) {
        self.table.pass(at);
        self.forget_handshakes(at);
        (self.watermark, self.may_be_due) = (at, true);
        self.time_waits.advance(at, &mut Lent { audit: &self.audit, ports: self.table.ports_mut() });
    }

    /// Reports one connection whose settling time is over; says whether there was one.
    fn settle_one(&mut self) -> bool {
        let Some(slot) = self.table.oldest(Queue::Settling) else { return false };
        let due = self.table.get(slot).is_none_or(|connection| {
            let closed_at = connection.last_seen_at();
            // A reset comes after the close that it belongs to.
            let settled = closed_at.plus(self.config.settle_ns);
            settled <= self.watermark && self.audit.covers(settled)
        });
        if due {
            self.end(slot);
        }
        due
    }

    fn state_change(&mut self, change: &StateChange) {
        self.audit.number(change.stream, change.seq, change.at);
        self.newest = self.newest.max(change.at);
        self.table.pass(change.at);
        if let Some(listing) = &mut self.listing {
            listing.touch(change);
        }
        let Some(key) = key_of(change) else {
            self.received += 1; // a socket without any name: nothing to follow
            return;
        };
        let found =
            self.find(key, change).and_then(|slot| Some((slot, self.table.get(slot)?.expects(change))));
        if let Some((_, Expected::Repeated)) = found {
            self.duplicates += 1;
            return;
        }
        self.received += 1;
        let (slot, ends) = match found {
            Some((slot, Expected::Next(ends))) => {
                self.name_by(slot, key);
                (slot, ends)
            }
            _ => (self.begin_connection(key, found.map(|(slot, _)| slot), change), Ends::Shown),
        };
        self.step(slot, change, ends);
    }

    /// By the event's own key; else by the socket's address, where it was known by that alone.
    fn find(&mut self, key: SocketKey, change: &StateChange) -> Option<Slot> {
        self.table.find_for_event(key).or_else(|| self.table.find(SocketKey::Address(change.sock_addr?)))
    }

    /// A connection known by its address alone is known by its cookie from now on.
    fn name_by(&mut self, slot: Slot, key: SocketKey) {
        if !self.table.knows_addresses() {
            return;
        }
        let by_address =
            self.table.get(slot).is_some_and(|connection| matches!(connection.socket, SocketKey::Address(_)));
        if by_address && matches!(key, SocketKey::Cookie(_)) {
            self.table.rekey(slot, key);
        }
    }

    fn begin_connection(&mut self, key: SocketKey, before: Option<Slot>, change: &StateChange) -> Slot {
        if let Some(before) = before {
            self.table.retire(before);
        }
        if self.table.len() >= self.config.capacity {
            self.make_room();
        }
        self.fates.begun += 1;
        let connection = Connection::first_seen(key, change, &mut self.interned);
        self.table.insert(connection, Queue::Moving)
    }

    fn forget_handshakes(&mut self, at: MonoNs) {
        while self.filtered
            && let Some(slot) = self.table.oldest(Queue::Opening)
            && self.table.get(slot).is_some_and(|c| c.last_seen_at().plus(HANDSHAKE_NS) <= at)
        {
            self.give_up(slot);
        }
    }

    fn make_room(&mut self) {
        if let Some(slot) = self.table.oldest(Queue::Settling) {
            self.end(slot);
            return;
        }
        let order = match self.filtered {
            true => [Queue::Opening, Queue::Established, Queue::Moving, Queue::CloseWait],
            false => [Queue::Established, Queue::Opening, Queue::Moving, Queue::CloseWait],
        };
        if let Some(slot) = order.into_iter().find_map(|queue| self.table.oldest(queue)) {
            self.give_up(slot);
        }
    }

    /// Follows the connection no longer.
    fn give_up(&mut self, slot: Slot) {
        let Some(connection) = self.table.get(slot) else { return };
        let unfollowed = self.filtered && queue_of(connection.state) == Queue::Opening;
        *(if unfollowed { &mut self.fates.unfollowed } else { &mut self.fates.evicted }) += 1;
        self.table.remove(slot);
        self.release(slot);
    }
}

/// The name under which the event's socket is known: its own cookie, else its address.
fn key_of(change: &StateChange) -> Option<SocketKey> {
    let address = change.sock_addr.map(SocketKey::Address);
    let cookie = change.cookie.map(SocketKey::Cookie);
    if own_cookie(change) { cookie.or(address) } else { address.or(cookie) }
}

/// Up to 6.12 a child's first transition comes before its cookie and its remote port are set: the cookie is its
/// listener's (`inet_csk_clone_lock`; later kernels set both first).
fn own_cookie(change: &StateChange) -> bool {
    change.cookie.is_some()
        && !((change.old, change.new) == (TcpState::Listen, TcpState::SynRecv) && change.dport.is_none())
}

fn queue_of(state: TcpState) -> Queue {
    match state {
        TcpState::Established => Queue::Established,
        TcpState::SynSent | TcpState::SynRecv => Queue::Opening,
        TcpState::CloseWait => Queue::CloseWait,
        TcpState::Close => Queue::Settling,
        _ => Queue::Moving,
    }
}
