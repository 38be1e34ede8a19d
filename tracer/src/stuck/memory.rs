//! What earlier dumps prove of the sockets that are still there.

use std::collections::HashMap;
use std::net::SocketAddr;

use finwait_core::{Cookie, MonoNs, NetNs, TcpState};

use super::age::{Age, Entered, stated_ns};
use crate::probe::host::jiffy_ns;
use crate::snapshot::{Dump, Row};

/// A connection. A descriptor that connects again keeps its cookie, but hardly both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    cookie: Option<Cookie>,
    local: SocketAddr,
    remote: SocketAddr,
}

impl Key {
    fn of(row: &Row) -> Self {
        Self { cookie: row.cookie, local: row.local, remote: row.remote }
    }
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    state: TcpState,
    entered: Entered,
    bytes_received: Option<u64>,
}

/// One namespace as it was last seen.
#[derive(Debug)]
struct Last {
    begin: MonoNs,
    /// Nothing hints at sockets missing from that dump
    whole: bool,
    seen: HashMap<Key, Seen>,
}

/// What was seen so far. Holds no more than the last dump of each namespace.
#[derive(Debug)]
pub struct Memory {
    jiffy_ns: u64,
    namespaces: HashMap<NetNs, Last>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { jiffy_ns: jiffy_ns(), namespaces: HashMap::new() }
    }
}

impl Memory {
    /// Takes `dump` in and gives the age of each of its rows, in their order.
    pub fn observe(&mut self, dump: &Dump) -> Vec<Age> {
        let last = self.namespaces.remove(&dump.netns);
        let mut seen = HashMap::with_capacity(dump.rows.len());
        let mut ages = Vec::with_capacity(dump.rows.len());
        for row in &dump.rows {
            let entered = self.entered(row, dump, last.as_ref());
            ages.push(entered.age(dump.begin, dump.end));
            seen.insert(Key::of(row), Seen { state: row.state, entered, bytes_received: row.bytes_received });
        }
        let last = Last { begin: dump.begin, whole: !dump.interrupted, seen };
        self.namespaces.insert(dump.netns, last);
        ages
    }

    fn entered(&self, row: &Row, dump: &Dump, last: Option<&Last>) -> Entered {
        let stated = MonoNs(dump.end.0.saturating_sub(stated_ns(row, self.jiffy_ns)));
        match last.map(|last| (last, last.seen.get(&Key::of(row)))) {
            None => Entered { after: None, before: stated },
            Some((_, Some(seen))) if is_same(seen, row) => {
                Entered { before: seen.entered.before.min(stated), ..seen.entered }
            }
            // It was in another state: that is as good as a proof.
            Some((last, Some(_))) => Entered { after: Some(last.begin), before: stated },
            Some((last, None)) => Entered { after: last.whole.then_some(last.begin), before: stated },
        }
    }
}

/// Whether `row` still is what was seen. A mini-socket that took over has no counters.
fn is_same(seen: &Seen, row: &Row) -> bool {
    let shrunk = seen.bytes_received.zip(row.bytes_received).is_some_and(|(before, now)| now < before);
    seen.state == row.state && !shrunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::SocketKind;
    use crate::stuck::samples_for_tests::{dump, row};

    const SECOND: u64 = 1_000_000_000;

    fn ages(memory: &mut Memory, second: u64, rows: Vec<Row>) -> Vec<(u64, Option<u64>)> {
        let ages = memory.observe(&dump(second, rows));
        ages.iter().map(|age| (age.at_least_ns / SECOND, age.at_most_ns.map(|ns| ns / SECOND))).collect()
    }

    #[test]
    fn what_was_there_from_the_start_is_at_least_as_old_as_the_watch() {
        let mut memory = Memory::default();
        assert_eq!(ages(&mut memory, 10, vec![row(TcpState::LastAck)]), [(0, None)]);
        assert_eq!(ages(&mut memory, 13, vec![row(TcpState::LastAck)]), [(2, None)]);
        assert_eq!(ages(&mut memory, 16, vec![row(TcpState::LastAck)]), [(5, None)]);
    }

    /// Dumps of these tests take half a second.
    #[test]
    fn what_appeared_while_watching_has_an_age_to_the_interval() {
        let mut memory = Memory::default();
        ages(&mut memory, 10, vec![]);
        assert_eq!(ages(&mut memory, 13, vec![row(TcpState::LastAck)]), [(0, Some(3))]);
        assert_eq!(ages(&mut memory, 16, vec![row(TcpState::LastAck)]), [(2, Some(6))]);
    }

    #[test]
    fn another_state_begins_anew() {
        let mut memory = Memory::default();
        ages(&mut memory, 10, vec![row(TcpState::FinWait1)]);
        assert_eq!(ages(&mut memory, 13, vec![row(TcpState::LastAck)]), [(0, Some(3))]);
    }

    #[test]
    fn another_connection_of_the_same_ends_begins_anew() {
        let mut memory = Memory::default();
        let first = Row { bytes_received: Some(100), ..row(TcpState::LastAck) };
        ages(&mut memory, 10, vec![first.clone()]);
        let fewer = Row { bytes_received: Some(1), ..first.clone() };
        assert_eq!(ages(&mut memory, 13, vec![fewer]), [(0, Some(3))]);
        let other = Row { cookie: Some(Cookie(99)), ..first };
        assert_eq!(ages(&mut memory, 16, vec![other]), [(0, Some(3))]);
    }

    #[test]
    fn a_mini_socket_that_took_over_goes_on_in_the_same_state() {
        let mut memory = Memory::default();
        ages(&mut memory, 10, vec![Row { bytes_received: Some(7), ..row(TcpState::FinWait2) }]);
        let mini = Row { kind: SocketKind::TimeWait, last_ack_recv_ms: None, ..row(TcpState::FinWait2) };
        assert_eq!(ages(&mut memory, 13, vec![mini]), [(2, None)]);
    }

    #[test]
    fn an_interrupted_dump_does_not_prove_that_a_socket_was_not_there() {
        let mut memory = Memory::default();
        memory.observe(&Dump { interrupted: true, ..dump(10, vec![]) });
        assert_eq!(ages(&mut memory, 13, vec![row(TcpState::LastAck)]), [(0, None)]);
    }

    #[test]
    fn what_the_kernel_stated_earlier_still_counts() {
        let mut memory = Memory::default();
        let waiting = |ms| Row { last_ack_recv_ms: Some(ms), ..row(TcpState::CloseWait) };
        assert_eq!(ages(&mut memory, 1_000, vec![waiting(420_000)]), [(299, None)]);
        // An acknowledgement came meanwhile.
        assert_eq!(ages(&mut memory, 1_010, vec![waiting(10)]), [(309, None)]);
    }

    #[test]
    fn namespaces_are_kept_apart() {
        let mut memory = Memory::default();
        ages(&mut memory, 10, vec![row(TcpState::LastAck)]);
        let other = Dump { netns: NetNs(2), ..dump(13, vec![row(TcpState::LastAck)]) };
        assert_eq!(memory.observe(&other)[0].at_least_ns, 0);
    }
}
