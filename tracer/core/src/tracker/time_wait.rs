//! Time-wait sockets: what a connection leaves behind for a minute. A bounded table of its own, that holds nothing up.
//!
//! An entry begins with the CLOSE of a connection that leaves a time-wait socket, and gives exactly one record: when it
//! ended, when its place is needed, or when the run ends. What is proven, by source:
//!
//! * **fentry** shows it asked for, armed and killed. All of it happens before (asked, armed) or after (the rest) its
//!   connection's CLOSE, on one CPU, so an arming that is missing while nothing was lost proves that there was no room.
//! * **timer** shows the timer alone, and not even that when it is set anew within its bucket of the timer wheel: so
//!   TIME_WAIT that began in a mini-socket's FIN_WAIT2 is an interval there, and rearmings are not counted.
//! * **sweep** shows presence and absence at some moment of each dump: every time is an interval. Its 2MSL are over if a
//!   dump showed it in TIME_WAIT with nothing left on its timer (the wheel fires up to some seconds later). That a
//!   connection took its place is proven if it was there in a dump and the same addresses and ports were another
//!   connection's before its time was over; that nothing else killed it the moment before is not shown. FIN_WAIT2 that
//!   ended by time is never proven: the peer's FIN and a kill may both lie between two dumps.
//!
//! A reset in answer to a segment for it (tcp_v4_rcv, TCP_TW_RST) proves late data with every source.

mod entry;
mod store;
mod verdict;

use std::collections::VecDeque;

use hashbrown::{HashMap, HashSet};
use tracer_common::TcpState;

use self::entry::{End, Entry, Origin, Sighting, Taker, Whereabouts};
pub(super) use self::store::{Names, Place};
use self::store::{Serial, Sought, Store};
use self::verdict::{Court, missed, taken_by_sweep};
use super::ended::TOLD;
use super::ports::{Held, PortSpace, Ports};
use super::{Audit, Connection};
use crate::claim::{Claim, Evidence, Reason};
use crate::id::{BootId, NetNs, SocketKey};
use crate::observation::{
    DumpBegin, DumpEnd, Hooks, Host, Program, ResetEvent, SocketKind, SocketRow, StateChange, TimeWaitChange,
    TimeWaitEvent, TimeWaitSource,
};
use crate::record::{Role, TimeWaitEnd, TimeWaitRecord};
use crate::time::MonoNs;

/// A dump under way: which entries it showed, and how.
#[derive(Debug)]
struct Dump {
    begin: MonoNs,
    shown: HashMap<Serial, Sighting>,
}

/// What the tracker lends for a call.
pub(crate) struct Lent<'a> {
    pub(crate) audit: &'a Audit,
    /// Ports that connections hold, and those that entries do
    pub(crate) ports: &'a mut Ports,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TimeWaits {
    capacity: usize,
    settle_ns: u64,
    boot: BootId,
    hooks: Hooks,
    store: Store,
    /// Entries to look at when their settling time is over, in the order in which they came there
    settling: VecDeque<Serial>,
    dump: Option<Dump>,
    /// Newest time-wait socket that was armed and could not be kept or told from others
    unmatched_until: Option<MonoNs>,
    records: VecDeque<Box<TimeWaitRecord>>,
    /// Those that were taken back
    #[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
    told: Vec<Box<TimeWaitRecord>>,
    newest: MonoNs,
}

impl TimeWaits {
    /// An empty table for `capacity` entries.
    pub(crate) fn new(capacity: usize, settle_ns: u64) -> Self {
        Self {
            capacity: capacity.max(1),
            settle_ns,
            boot: BootId::default(),
            hooks: Hooks::default(),
            store: Store::new(),
            settling: VecDeque::new(),
            dump: None,
            unmatched_until: None,
            records: VecDeque::new(),
            told: Vec::new(),
            newest: MonoNs(0),
        }
    }

    pub(crate) fn begin(&mut self, host: &Host) {
        (self.boot, self.hooks) = (host.boot_id, host.hooks);
    }

    pub(crate) fn next_record(&mut self) -> Option<Box<TimeWaitRecord>> {
        self.records.pop_front()
    }

    /// The room of a record that has been told is for the next.
    pub(crate) fn take_back(&mut self, record: Box<TimeWaitRecord>) {
        if self.told.len() < TOLD {
            self.told.push(record);
        }
    }

    /// Something shows time-wait sockets.
    pub(crate) fn watches(&self) -> bool {
        self.hooks.time_wait != TimeWaitSource::Off
    }

    /// Entries whose end waits for a watermark.
    pub(crate) fn is_settling(&self) -> bool {
        !self.settling.is_empty()
    }

    /// The socket of `connection` reached CLOSE. `from_fin_wait2` is what its last transition tells of a time-wait socket;
    /// `None` if it leaves none, as far as that shows.
    pub(crate) fn closed(
        &mut self,
        connection: &Connection,
        from_fin_wait2: Option<Claim<bool>>,
        (role, held): (Option<Role>, Held),
        lent: &mut Lent<'_>,
    ) {
        if !self.watches() {
            return;
        }
        let at = connection.last_seen_at();
        self.newest = self.newest.max(at);
        let leaves_none = from_fin_wait2.is_none_or(|claim| claim.value().is_none());
        if leaves_none && self.store.unclaimed() == 0 {
            return;
        }
        let mut sought = Sought::from(names(connection));
        let before = before_last(connection);
        let early = self.early(&mut sought, before);
        if early.is_none() && leaves_none {
            return;
        }
        let serial = early.unwrap_or_else(|| self.insert(at, &mut sought, lent));
        let placed = sought.names.place.is_some();
        self.store.claim(serial, origin(connection, placed, before, from_fin_wait2));
        let Some(entry) = self.store.learn(serial, &sought.names) else { return };
        entry.last_at = entry.last_at.max(at);
        if entry.port == Held::NOTHING {
            let space = || Some((PortSpace::of(connection, role)?, role.is_some()));
            entry.port = lent.ports.leave(held, space);
        }
        if entry.end.is_some() || !entry.existed() {
            queue(&mut self.settling, serial, entry);
        }
    }

    /// Something happened to a time-wait socket.
    pub(crate) fn event(&mut self, event: &TimeWaitEvent, lent: &mut Lent<'_>) {
        if !self.watches() {
            return;
        }
        self.newest = self.newest.max(event.at);
        let mut sought = Sought::from(Names::of_subject(&event.subject));
        match event.change {
            TimeWaitChange::Asked => {
                let serial = self.insert(event.at, &mut sought, lent);
                if let Some(entry) = self.store.get_mut(serial) {
                    entry.asked = Some(event.substate);
                }
            }
            TimeWaitChange::Armed => self.armed(&mut sought, event, lent),
            TimeWaitChange::Disarmed | TimeWaitChange::Expired => {
                let Some(serial) = self.store.find(&mut sought) else { return };
                let Some(entry) = self.store.learn(serial, &sought.names) else { return };
                match event.change {
                    TimeWaitChange::Expired => entry.expire(event),
                    _ => entry.disarm(event),
                }
                if entry.end.is_some() {
                    queue(&mut self.settling, serial, entry);
                }
            }
        }
    }

    /// A reset was sent: in answer to a segment for a time-wait socket, it is that one's end.
    pub(crate) fn reset(&mut self, event: &ResetEvent) {
        if event.stream.program != Program::SendReset || event.subject.kind != SocketKind::TimeWait {
            return;
        }
        let Some(serial) = self.store.find(&mut Names::of_subject(&event.subject).into()) else { return };
        self.newest = self.newest.max(event.at);
        let hooked = self.hooks.time_wait != TimeWaitSource::Sweep;
        if let Some(entry) = self.store.get_mut(serial) {
            entry.answer(event.at, hooked);
            queue(&mut self.settling, serial, entry);
        }
    }

    /// Whether a connection that made `change` may have taken a time-wait socket's place: once it got past SYN_SENT it holds
    /// one.
    #[inline]
    pub(crate) fn may_be_taken(&self, change: &StateChange) -> bool {
        matches!(change.new, TcpState::SynRecv | TcpState::Established)
            && self.watches()
            && self.store.len() > 0
    }

    /// `connection` made such a `change`: no time-wait socket is left at its place.
    pub(crate) fn opening(&mut self, connection: &Connection, change: &StateChange) {
        let Some(place) = Place::of(connection.netns(), &connection.tuple) else { return };
        let Some(serial) = self.store.at_place(place) else { return };
        let taker = taker(connection, change);
        let sweep = self.hooks.time_wait == TimeWaitSource::Sweep;
        let own = |origin: &Origin| {
            (origin.socket, origin.generation) == (connection.socket, connection.generation)
        };
        let Some(entry) = self.store.get_mut(serial) else { return };
        if entry.origin.as_ref().is_none_or(|origin| own(origin) || origin.at > change.at) {
            return;
        }
        if entry.end.is_none() {
            let cause = if sweep { taken_by_sweep(entry, &taker) } else { Claim::Unknown(Reason::HookLoss) };
            entry.vanish(taker.at, cause, Evidence::SameTuple);
            if cause.value() == Some(&TimeWaitEnd::ReusedByConnect)
                && let Some(end) = &mut entry.end
            {
                end.by = taker.opener.map(Box::new);
            }
        }
        entry.taker.get_or_insert_with(|| Box::new(taker));
        queue(&mut self.settling, serial, entry);
    }

    /// A dump of time-wait sockets begins.
    pub(crate) fn dump_begin(&mut self, begin: &DumpBegin) {
        self.dump = Some(Dump { begin: begin.at, shown: HashMap::new() });
    }

    /// It shows this one.
    pub(crate) fn row(&mut self, row: &SocketRow) {
        if !row.mini {
            return;
        }
        let (Some(dump), Some(serial)) = (&mut self.dump, self.store.find(&mut Names::of_row(row).into()))
        else {
            return;
        };
        let sighting = Sighting { begin: dump.begin, substate: row.state, timer_ns: row.timer_ns };
        dump.shown.insert(serial, sighting);
    }

    /// The dump is complete for some namespaces: what it did not show there is gone.
    pub(crate) fn dump_end(&mut self, end: &DumpEnd) {
        let Some(dump) = self.dump.take() else { return };
        self.newest = self.newest.max(end.at);
        let complete: HashSet<NetNs> = end.complete.iter().copied().collect();
        for (serial, sighting) in &dump.shown {
            if let Some(entry) = self.store.get_mut(*serial).filter(|entry| !entry.is_over()) {
                entry.sight(*sighting, end.at);
            }
        }
        let missing: Vec<Serial> = self
            .store
            .iter()
            .filter(|(serial, entry)| entry.end.is_none() && !dump.shown.contains_key(serial))
            .filter(|(_, entry)| {
                entry.origin.as_ref().is_some_and(|origin| {
                    let netns = entry.whereabouts(origin).netns;
                    origin.at < dump.begin && netns.is_some_and(|netns| complete.contains(&netns))
                })
            })
            .map(|(serial, _)| serial)
            .collect();
        let sweep = self.hooks.time_wait == TimeWaitSource::Sweep;
        for serial in missing {
            if let Some(entry) = self.store.get_mut(serial) {
                let cause = if sweep { missed(entry) } else { Claim::Unknown(Reason::HookLoss) };
                entry.vanish(end.at, cause, Evidence::SocketDump);
                queue(&mut self.settling, serial, entry);
            }
        }
    }

    /// No event before `at` can still come: what ended long enough before is told, once every loss up to then is known.
    pub(crate) fn advance(&mut self, at: MonoNs, lent: &mut Lent<'_>) {
        while let Some(serial) = self.settling.front().copied() {
            if let Some(entry) = self.store.get_mut(serial) {
                let moment = match (&entry.end, &entry.origin) {
                    (Some(end), _) => Some(end.at),
                    (None, Some(origin)) if !entry.existed() => Some(origin.at),
                    _ => None,
                };
                let settled = moment.map(|moment| moment.plus(self.settle_ns));
                if settled.is_some_and(|settled| settled > at || !lent.audit.covers(settled)) {
                    return;
                }
                entry.queued = false;
                if moment.is_some() {
                    self.conclude(serial, lent);
                }
            }
            self.settling.pop_front();
        }
    }

    /// The stream is over.
    pub(crate) fn finish(&mut self, lent: &mut Lent<'_>) {
        self.settling.clear();
        while let Some(serial) = self.store.oldest() {
            self.conclude(serial, lent);
            self.give_up(serial, lent);
        }
    }

    /// Its settling time is over: tells what ended, or never was.
    fn conclude(&mut self, serial: Serial, lent: &mut Lent<'_>) {
        let court = self.court(lent.audit);
        let Some(entry) = self.store.get_mut(serial) else { return };
        if entry.end.is_none() {
            let Some(cause) = court.never(entry, self.unmatched_until) else { return };
            entry.end = Some(End {
                at: entry.last_at,
                cause,
                when: Claim::Unknown(Reason::DidNotHappen),
                by: Claim::Unknown(Reason::NoTask),
                substate: None,
                unexplained: None,
                vanished: false,
            });
        }
        self.give_up(serial, lent);
    }

    /// Follows the entry no longer. One without a connection has nothing to tell.
    fn give_up(&mut self, serial: Serial, lent: &mut Lent<'_>) {
        let court = self.court(lent.audit);
        let Some(entry) = self.store.get(serial) else { return };
        lent.ports.give_back_left(entry.port);
        match &entry.origin {
            Some(origin) => {
                let record = court.record(entry, origin);
                self.records.push_back(match self.told.pop() {
                    Some(mut told) => {
                        *told = record;
                        told
                    }
                    None => Box::new(record),
                });
            }
            None => self.unmatched_until = self.unmatched_until.max(Some(entry.since)),
        }
        self.store.remove(serial);
    }

    fn court<'a>(&self, audit: &'a Audit) -> Court<'a> {
        Court { boot: self.boot, audit, hooks: self.hooks, settle_ns: self.settle_ns, now: self.newest }
    }

    /// One of these names, first seen at `since`.
    fn insert(&mut self, since: MonoNs, sought: &mut Sought, lent: &mut Lent<'_>) -> Serial {
        while self.store.len() >= self.capacity
            && let Some(oldest) = self.store.oldest()
        {
            self.give_up(oldest, lent);
        }
        let (serial, displaced) = self.store.insert(Entry::new(sought.names, since), sought);
        if let Some(displaced) = displaced {
            self.displace(displaced, since);
        }
        serial
    }

    /// Its timer was set. Another's at the same address is over.
    fn armed(&mut self, sought: &mut Sought, event: &TimeWaitEvent, lent: &mut Lent<'_>) {
        if sought.names.place.is_none() {
            self.unmatched_until = self.unmatched_until.max(Some(event.at));
        }
        let own = |entry: &Entry| entry.may_be_armed(event.at, self.settle_ns);
        let found = self.store.find(sought).filter(|serial| self.store.get(*serial).is_some_and(own));
        if found.is_none()
            && let Some(serial) = self.store.at_address(sought)
        {
            self.vanish(serial, event.at, Evidence::TimeWaitHook);
        }
        let serial = found.unwrap_or_else(|| self.insert(event.at, sought, lent));
        if let Some(entry) = self.store.learn(serial, &sought.names) {
            entry.arm(event);
        }
    }

    /// What the hooks saw of it before its connection's CLOSE.
    fn early(&mut self, sought: &mut Sought, before: MonoNs) -> Option<Serial> {
        let serial = self.store.find(sought)?;
        let entry = self.store.get(serial)?;
        if entry.origin.is_some() {
            return None;
        }
        if entry.since < before {
            // An earlier connection's, whose CLOSE was lost; but what came last may be this one's.
            self.unmatched_until = self.unmatched_until.max(Some(entry.last_at));
            self.store.remove(serial);
            return None;
        }
        Some(serial)
    }

    /// A time-wait socket at whose place there is another one now is gone.
    fn displace(&mut self, serial: Serial, at: MonoNs) {
        if self.store.get(serial).is_some_and(|entry| entry.origin.is_some() && entry.end.is_none()) {
            // What was seen of the later one until now may have been taken for this one's.
            self.unmatched_until = self.unmatched_until.max(Some(at));
            self.vanish(serial, at, Evidence::SameTuple);
        }
    }

    /// It is gone, and its end was not seen.
    fn vanish(&mut self, serial: Serial, at: MonoNs, proof: Evidence) {
        let reason = match self.hooks.time_wait {
            TimeWaitSource::Sweep => Reason::BetweenDumps,
            _ => Reason::HookLoss,
        };
        if let Some(entry) = self.store.get_mut(serial).filter(|entry| entry.end.is_none()) {
            entry.vanish(at, Claim::Unknown(reason), proof);
            queue(&mut self.settling, serial, entry);
        }
    }
}

/// Once its settling time is over, it is to be looked at.
fn queue(settling: &mut VecDeque<Serial>, serial: Serial, entry: &mut Entry) {
    if !entry.queued {
        entry.queued = true;
        settling.push_back(serial);
    }
}

fn taker(connection: &Connection, change: &StateChange) -> Taker {
    let birth = connection.trace().first();
    let opened_at = birth.filter(|step| (step.old, step.new) == (TcpState::Close, TcpState::SynSent));
    let accepted = birth.is_some_and(|step| (step.old, step.new) == (TcpState::Listen, TcpState::SynRecv));
    let way = match (opened_at, accepted) {
        (Some(_), _) => Some(TimeWaitEnd::ReusedByConnect),
        (None, true) => Some(TimeWaitEnd::ReusedBySyn),
        (None, false) => None,
    };
    let opener = match connection.opener.as_deref() {
        Some(owner) => Claim::known(*owner, [Evidence::SynSent, Evidence::LockOwned, Evidence::SameTuple]),
        None => Claim::Unknown(Reason::NoTask),
    };
    Taker { at: change.at, way, opened_at: opened_at.map(|step| step.at), opener }
}

fn names(connection: &Connection) -> Names {
    let known = match connection.socket {
        SocketKey::Cookie(cookie) => Some(cookie),
        SocketKey::Address(_) => None,
    };
    let cookie = connection.end().and_then(|end| end.cookie).or(known);
    Names { cookie, address: None, place: Place::of(connection.netns(), &connection.tuple) }
}

/// The event before the last one.
fn before_last(connection: &Connection) -> MonoNs {
    connection.trace().iter().rev().nth(1).map_or(MonoNs(0), |trace| trace.at)
}

/// `placed`: its place is among the names of the entry.
fn origin(
    connection: &Connection,
    placed: bool,
    before: MonoNs,
    from_fin_wait2: Option<Claim<bool>>,
) -> Origin {
    let end = connection.end();
    Origin {
        socket: connection.socket,
        generation: connection.generation,
        family: connection.family,
        whereabouts: (!placed)
            .then(|| Box::new(Whereabouts { netns: connection.netns(), tuple: connection.tuple })),
        cgroup: connection.cgroup(),
        at: connection.last_seen_at(),
        before,
        orphan: end.and_then(|end| end.flags).is_some_and(|flags| flags.dead),
        from_fin_wait2: from_fin_wait2.unwrap_or(Claim::Unknown(Reason::DidNotHappen)),
    }
}
