//! Dumps of the sockets that there are: they make known the connections from before finwait, and repair the table after
//! a loss. An event always outweighs a row, because every event from before the dump's end is handed over before its rows.
//!
//! Rows are joined to connections by cookie. A connection known by its address alone (5.10 shows a cookie only once one
//! was made, and a dump makes them) is joined by namespace, addresses and ports. The classic tier never shows a cookie:
//! there a connection from a row would never meet its events, and dumps of connections are left out.

use hashbrown::{HashMap, HashSet};
use tracer_common::TcpState;

use super::interned::Interned;
use super::surroundings::Surroundings;
use super::table::Slot;
use super::time_wait::{Names, Place};
use super::{Connection, Tracker, queue_of};
use crate::endpoint::{Tuple, canonical, known};
use crate::id::{Cookie, NetNs, SocketKey};
use crate::observation::{DumpBegin, DumpEnd, DumpScope, Program, SocketRow, StateChange, Stream, Tier};
use crate::record::{Endpoint, Owner};
use crate::time::MonoNs;

/// connect() shows SYN_SENT before its socket can be listed, and a child SYN_RECV likewise; never this long before.
const UNLISTED_NS: u64 = 1_000_000_000;

/// A dump of connections under way.
#[derive(Debug)]
pub(super) struct Listing {
    begin: MonoNs,
    /// Sockets that had an event since it began, by cookie and, where it showed none, by place
    touched: HashSet<Cookie>,
    touched_places: HashSet<Place>,
    /// Sockets that it shows
    shown: HashSet<Cookie>,
    /// Made at the first row
    nameless: Option<Nameless>,
}

/// Connections known by their address alone.
#[derive(Debug, Default)]
struct Nameless {
    by_place: HashMap<Place, Slot>,
    /// Remote ends of those that no event showed a local port of yet: connect() enters SYN_SENT before it has one
    portless: HashSet<(Option<NetNs>, Endpoint)>,
}

impl Listing {
    pub(super) fn touch(&mut self, change: &StateChange) {
        match change.cookie {
            Some(cookie) => drop(self.touched.insert(cookie)),
            None => self.touched_places.extend(Place::of(change.netns, &Tuple::of(change))),
        }
    }
}

impl Tracker {
    pub(super) fn dump_begin(&mut self, begin: &DumpBegin) {
        match begin.scope {
            DumpScope::TimeWait => self.time_waits.dump_begin(begin),
            DumpScope::Connections if self.tier == Tier::Classic => {}
            DumpScope::Connections => {
                self.listing = Some(Listing {
                    begin: begin.at,
                    touched: HashSet::new(),
                    touched_places: HashSet::new(),
                    shown: HashSet::new(),
                    nameless: None,
                });
            }
        }
    }

    pub(super) fn row(&mut self, row: &SocketRow) {
        if row.mini {
            self.time_waits.row(row);
            return;
        }
        let Some(mut listing) = self.listing.take() else { return };
        if let Some(cookie) = row.cookie.filter(|_| is_connection(row.state)) {
            listing.shown.insert(cookie);
            self.join(&mut listing, cookie, row);
        }
        self.listing = Some(listing);
    }

    /// What two dumps in a row did not show in the namespaces that they are complete for has ended unseen. One alone proves
    /// nothing: the kernel lists its table in pieces, and a socket that others make change its place may be passed over.
    pub(super) fn dump_end(&mut self, end: &DumpEnd) {
        if end.scope == DumpScope::TimeWait {
            self.time_waits.dump_end(end);
            return;
        }
        let Some(listing) = self.listing.take() else { return };
        let complete: HashSet<NetNs> = end.complete.iter().copied().collect();
        let gone: Vec<Slot> = self
            .table
            .followed()
            .filter(|(_, connection)| {
                let SocketKey::Cookie(cookie) = connection.socket else { return false };
                let unseen = !listing.touched.contains(&cookie) && !listing.shown.contains(&cookie);
                let listed = connection.netns().is_some_and(|netns| complete.contains(&netns));
                unseen && listed && connection.state != TcpState::Listen && was_listable(connection, &listing)
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in gone {
            match self.table.get_mut(slot) {
                Some(connection) if !connection.unlisted => connection.unlisted = true,
                _ => self.table.retire(slot),
            }
        }
    }

    fn join(&mut self, listing: &mut Listing, cookie: Cookie, row: &SocketRow) {
        let key = SocketKey::Cookie(cookie);
        let place = Names::of_row(row).place;
        let touched = listing.touched.contains(&cookie)
            || place.is_some_and(|place| listing.touched_places.contains(&place));
        let known = self.table.find(key);
        let Some(slot) = known.or_else(|| self.named_by_row(listing, place.filter(|_| !touched)?, key, row))
        else {
            if !touched && !self.may_be_portless(listing, row) {
                self.list(listing.begin, cookie, row);
            }
            return;
        };
        self.join_at(slot, touched, listing.begin, cookie, row);
        self.regroup(slot);
    }

    fn join_at(&mut self, slot: Slot, touched: bool, begin: MonoNs, cookie: Cookie, row: &SocketRow) {
        let Some(connection) = self.table.get_mut(slot) else { return };
        let before = connection.last_seen_at() < begin;
        let another = connection.state == TcpState::Close || connection.tuple.contradicts(&tuple(row));
        if touched || !before {
            // The row may be older than the connection: the same descriptor connected again.
            if !another && connection.generation < begin.0 {
                fill(connection, row, &mut self.interned);
            }
        } else if another {
            self.table.retire(slot);
            self.list(begin, cookie, row);
        } else {
            fill(connection, row, &mut self.interned);
            // Another state than the last one seen: transitions are missing. The next one's old state will show it.
            if std::mem::replace(&mut connection.state, row.state) != row.state {
                self.table.touch(slot, queue_of(row.state));
            }
        }
    }

    /// A connection known by its address alone that is in the row's place gets the row's cookie; unless its state shows
    /// that transitions are missing, of which one may have been its end.
    fn named_by_row(
        &mut self,
        listing: &mut Listing,
        place: Place,
        key: SocketKey,
        row: &SocketRow,
    ) -> Option<Slot> {
        let slot = self.nameless(listing).by_place.remove(&place)?;
        let connection = self.table.get(slot)?;
        let lost = self.audit.lost_between(connection.last_seen_at(), listing.begin);
        if lost || connection.state != row.state {
            self.table.retire(slot);
            return None;
        }
        self.table.rekey(slot, key);
        Some(slot)
    }

    /// Whether the row may be of a connection whose next event will name it. One from before that looks like it is then
    /// known only by its next event, too.
    fn may_be_portless(&self, listing: &mut Listing, row: &SocketRow) -> bool {
        let remote = tuple(row).remote;
        let portless = &self.nameless(listing).portless;
        portless.contains(&(Some(row.netns), remote)) || portless.contains(&(None, remote))
    }

    fn nameless<'a>(&self, listing: &'a mut Listing) -> &'a mut Nameless {
        listing.nameless.get_or_insert_with(|| {
            let mut nameless = Nameless::default();
            let followed = self.table.followed();
            let by_address = followed.filter(|(_, c)| matches!(c.socket, SocketKey::Address(_)));
            for (slot, connection) in by_address {
                if connection.tuple.local.port.is_none() {
                    nameless.portless.insert((connection.netns(), connection.tuple.remote));
                } else if let Some(place) = Place::of(connection.netns(), &connection.tuple) {
                    nameless.by_place.insert(place, slot);
                }
            }
            nameless
        })
    }

    /// A connection that was there before any of its events was seen.
    fn list(&mut self, at: MonoNs, cookie: Cookie, row: &SocketRow) {
        self.fates.begun += 1;
        if self.table.len() >= self.config.capacity {
            self.fates.evicted += 1; // those that are followed by their events are worth more
            return;
        }
        // No event yet: a stream that no shadow can repeat.
        let stream = Stream { cpu: 0, program: Program::Shadow, depth: 0 };
        let socket = SocketKey::Cookie(cookie);
        let there = Surroundings { netns: Some(row.netns), ..Surroundings::default() };
        let there = self.interned.surroundings(&there);
        let mut connection = Connection::new(socket, at, row.family, row.state, stream, there);
        connection.listed = true;
        connection.tuple.learn(tuple(row));
        fill(&mut connection, row, &mut self.interned);
        self.table.pass(at);
        let slot = self.table.insert(connection, queue_of(row.state));
        self.regroup(slot);
        self.table.hold_port(slot);
    }
}

/// Listeners, request sockets (listed as SYN_RECV) and sockets at rest are not taken.
fn is_connection(state: TcpState) -> bool {
    use TcpState::{CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynSent};
    matches!(state, SynSent | Established | FinWait1 | FinWait2 | CloseWait | Closing | LastAck)
}

/// Whether the dump would have shown it, had it been there.
fn was_listable(connection: &Connection, listing: &Listing) -> bool {
    let opening = matches!(connection.state, TcpState::SynSent | TcpState::SynRecv);
    let margin = if opening { UNLISTED_NS } else { 0 };
    // In SYN_RECV it cannot be told from a request that has no socket yet.
    !matches!(connection.state, TcpState::Close | TcpState::SynRecv)
        && connection.last_seen_at().plus(margin) < listing.begin
}

/// Adds what no event showed.
fn fill(connection: &mut Connection, row: &SocketRow, interned: &mut Interned) {
    connection.unlisted = false;
    connection.had_inode |= row.inode.is_some();
    let known = connection.surroundings();
    let filled = Surroundings {
        netns: known.netns,
        cgroup: known.cgroup.or(row.cgroup),
        uid: known.uid.or(row.uid),
        mark: known.mark.or(row.mark),
        is_mptcp: known.is_mptcp,
    };
    connection.surround(&filled, interned);
    if let Some(task) = &row.holder {
        connection.holder = Some(interned.owner(&Owner::from(task)));
    }
}

fn tuple(row: &SocketRow) -> Tuple {
    let local = Endpoint { addr: Some(canonical(row.local_addr)), port: row.local_port };
    Tuple { local, remote: Endpoint { addr: known(Some(row.remote_addr)), port: row.remote_port } }
}
