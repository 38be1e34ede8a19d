//! The bounded table of connections: by cookie, by address where there is no cookie, and by how long nothing happened.

use tracer_common::TcpState;

use super::connection::Connection;
use super::index::Index;
use super::population::{GroupId, Population};
use super::ports::{Held, PortSpace, Ports};
pub(crate) use super::slab::Slot;
use super::slab::{Links, Order, Slab};
use crate::id::SocketKey;
use crate::record::Role;
use crate::time::MonoNs;

/// Which order of idleness a connection stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// ESTABLISHED: nothing happens there for as long as the connection is in use; evicted first
    Established,
    /// SYN_SENT and SYN_RECV
    Opening,
    /// CLOSE_WAIT: the application's turn, for as long as it likes
    CloseWait,
    /// Every other state that will be left
    Moving,
    /// Closed, waiting for its record
    Settling,
}

const QUEUES: usize = 5;

/// How far a connection has come to be counted as opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// Not established, as far as was seen
    Not,
    /// Established, and still to be accepted
    Unaccepted,
    Counted,
}

#[derive(Debug)]
struct Node {
    connection: Connection,
    queue: Queue,
    /// The state under which it is counted, and since when
    counted: TcpState,
    came: MonoNs,
    group: GroupId,
    role: Option<Role>,
    /// Its cgroup was named when it was put into its group
    named: bool,
    opening: Opening,
    port: Held,
}

impl Node {
    /// It is counted as opened, in the group that is returned.
    fn open(&mut self) -> GroupId {
        self.opening = Opening::Counted;
        self.group
    }
}

/// What became of a connection that made a step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Advanced {
    /// Which end opened was not known before
    pub(crate) role_learned: bool,
    /// Its cgroup was named when it was put into its group
    pub(crate) named: bool,
}

/// What a connection that is open takes, beside nine bytes to find it by and its share of what it has in common with others.
/// A million of them are to fit into 320 MiB with all the rest of the process.
const _: () = assert!(size_of::<Option<Node>>() <= 240);

/// See the module. All operations take constant time.
#[derive(Debug)]
pub(crate) struct Table {
    nodes: Slab<Node>,
    index: Index,
    links: Links,
    queues: [Order; QUEUES],
    /// Connections that have not ended, by group and state
    population: Population,
    ports: Ports,
    /// Event time
    now: MonoNs,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Slab::new(),
            index: Index::default(),
            links: Links::default(),
            queues: [Order::EMPTY; QUEUES],
            population: Population::default(),
            ports: Ports::default(),
            now: MonoNs(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn len_of(&self, queue: Queue) -> usize {
        self.queues[queue as usize].len()
    }

    /// How many are in `state` that have not ended, as far as is known.
    pub(crate) fn in_state(&self, state: TcpState) -> usize {
        self.population.sockets(state) as usize
    }

    /// It is `at` now, or later.
    pub(crate) fn pass(&mut self, at: MonoNs) {
        self.now = self.now.max(at);
    }

    pub(crate) fn now(&self) -> MonoNs {
        self.now
    }

    /// See [`Population`].
    pub(crate) fn population(&self) -> &Population {
        &self.population
    }

    pub(crate) fn find(&self, key: SocketKey) -> Option<Slot> {
        self.index.find(key, |slot| self.get(slot).is_some_and(|connection| connection.socket == key))
    }

    /// Likewise, of an event: others of the same connection are likely to be near.
    pub(crate) fn find_for_event(&mut self, key: SocketKey) -> Option<Slot> {
        let nodes = &self.nodes;
        self.index.find_again(key, |slot| nodes.get(slot).is_some_and(|node| node.connection.socket == key))
    }

    /// Whether some connection may be known by its address alone.
    pub(crate) fn knows_addresses(&self) -> bool {
        self.index.knows_addresses()
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Connection> {
        self.nodes.get(slot).map(|node| &node.connection)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.nodes.get_mut(slot).map(|node| &mut node.connection)
    }

    /// Those that have not ended, as far as is known.
    pub(crate) fn followed(&self) -> impl Iterator<Item = (Slot, &Connection)> {
        let followed = self.nodes.iter().filter(|(_, node)| node.queue != Queue::Settling);
        followed.map(|(slot, node)| (slot, &node.connection))
    }

    /// Those in `queue`, the one longest untouched first.
    pub(crate) fn of(&self, queue: Queue) -> impl Iterator<Item = &Connection> {
        self.grouped(queue).map(|(_, connection)| connection)
    }

    /// Likewise, with their groups.
    pub(crate) fn grouped(&self, queue: Queue) -> impl Iterator<Item = (GroupId, &Connection)> {
        let slots = self.links.iter(self.queues[queue as usize]);
        slots.filter_map(|slot| self.nodes.get(slot)).map(|node| (node.group, &node.connection))
    }

    /// Takes in a connection whose key is not in the table.
    pub(crate) fn insert(&mut self, connection: Connection, queue: Queue) -> Slot {
        let key = connection.socket;
        let node = Node {
            counted: connection.state,
            connection,
            queue,
            came: self.now,
            group: GroupId::default(),
            role: None,
            named: false,
            opening: Opening::Not,
            port: Held::NOTHING,
        };
        if queue != Queue::Settling {
            self.population.enter(node.group, node.counted, node.came);
        }
        let slot = self.nodes.insert(node);
        self.index.insert(key, slot);
        self.links.append(&mut self.queues[queue as usize], slot);
        slot
    }

    /// Gives the connection another key: its cookie became known.
    pub(crate) fn rekey(&mut self, slot: Slot, key: SocketKey) {
        let Some(old) = self.get(slot).map(|connection| connection.socket) else { return };
        self.index.remove(old, slot);
        self.index.insert(key, slot);
        if let Some(connection) = self.get_mut(slot) {
            connection.socket = key;
        }
    }

    /// Makes the connection the newest of `queue`.
    pub(crate) fn touch(&mut self, slot: Slot, queue: Queue) {
        self.advance(slot, queue, |_| {});
    }

    /// Likewise, and `learn` takes in what it has learned on the way.
    #[inline]
    fn advance<T: Default>(&mut self, slot: Slot, queue: Queue, learn: impl FnOnce(&mut Node) -> T) -> T {
        let Some(node) = self.nodes.get_mut(slot) else { return T::default() };
        let learned = learn(node);
        let (before, state, now) = (node.queue, node.connection.state, self.now);
        match (before, queue) {
            (Queue::Settling, Queue::Settling) => {}
            (Queue::Settling, _) => self.population.enter(node.group, state, now),
            (_, Queue::Settling) => {
                self.population.leave(node.group, node.counted, node.came, now);
                self.ports.give_back(std::mem::replace(&mut node.port, Held::NOTHING));
            }
            _ => self.population.pass(node.group, (node.counted, state), node.came, now),
        }
        (node.queue, node.counted, node.came) = (queue, state, now);
        self.links.take_out(&mut self.queues[before as usize], slot);
        self.links.append(&mut self.queues[queue as usize], slot);
        learned
    }

    /// The connection belongs to `group` from now on, which its cgroup's name decided or not.
    pub(crate) fn regroup(&mut self, slot: Slot, group: GroupId, named: bool) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(slot) else { return };
        node.named = named;
        if node.group == group {
            return;
        }
        if node.queue != Queue::Settling {
            self.population.leave(node.group, node.counted, node.came, now);
            self.population.enter(group, node.counted, now);
            node.came = now;
        }
        node.group = group;
    }

    /// Which end opened, as far as its steps have told.
    pub(crate) fn role(&self, slot: Slot) -> Option<Role> {
        self.nodes.get(slot)?.role
    }

    /// The connection has made a step: it is the newest of `queue`, and the states may tell how it came about.
    pub(crate) fn step(&mut self, slot: Slot, queue: Queue, (old, new): (TcpState, TcpState)) -> Advanced {
        self.advance(slot, queue, |node| {
            let before = node.role;
            match (old, new) {
                (TcpState::SynSent, TcpState::SynRecv) => node.role = Some(Role::OpenedBoth),
                (TcpState::Listen, TcpState::SynRecv) => node.role = Some(Role::Accepted),
                (TcpState::SynSent, _) | (_, TcpState::SynSent) => {
                    node.role = node.role.or(Some(Role::Opened));
                }
                _ => {}
            }
            Advanced { role_learned: node.role != before, named: node.named }
        })
    }

    /// The step has had its consequences for where the connection belongs. It is counted once it is opened: where accept() is
    /// seen, an accepted one from then on, so that its owner is known; or from the next step on, should it have escaped.
    pub(crate) fn arrive(&mut self, slot: Slot, (old, new): (TcpState, TcpState), accepts_seen: bool) {
        let Some(node) = self.nodes.get_mut(slot) else { return };
        let established = new == TcpState::Established && old != TcpState::Established;
        match node.opening {
            Opening::Not if established && accepts_seen && node.role == Some(Role::Accepted) => {
                node.opening = Opening::Unaccepted;
            }
            Opening::Not if !established => {}
            Opening::Not | Opening::Unaccepted => self.population.opened(node.open()),
            Opening::Counted => {}
        }
        Self::hold(node, &mut self.ports);
    }

    /// The connection holds a port from now on until it has ended, if this end opened it.
    pub(crate) fn hold_port(&mut self, slot: Slot) {
        if let Some(node) = self.nodes.get_mut(slot) {
            Self::hold(node, &mut self.ports);
        }
    }

    #[inline]
    fn hold(node: &mut Node, ports: &mut Ports) {
        if node.port == Held::NOTHING
            && node.queue != Queue::Settling
            && node.connection.state != TcpState::Listen
            && let Some(space) = PortSpace::of(&node.connection, node.role)
        {
            node.port = ports.take(space, node.role.is_some());
        }
    }

    /// Ports that connections hold, and their time-wait sockets.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Ports, for a time-wait socket to take or to give back.
    pub(crate) fn ports_mut(&mut self) -> &mut Ports {
        &mut self.ports
    }

    /// A connection that ends, which end opened, the port that it holds; and where a time-wait socket may keep that.
    pub(crate) fn ending(&mut self, slot: Slot) -> Option<(&Connection, Option<Role>, Held, &mut Ports)> {
        let node = self.nodes.get(slot)?;
        Some((&node.connection, node.role, node.port, &mut self.ports))
    }

    /// It was accepted.
    pub(crate) fn accepted(&mut self, slot: Slot) {
        if let Some(node) = self.nodes.get_mut(slot).filter(|node| node.opening == Opening::Unaccepted) {
            self.population.opened(node.open());
        }
    }

    /// The connection's name is another's from now on; it waits for its record.
    pub(crate) fn retire(&mut self, slot: Slot) {
        let Some(key) = self.get(slot).map(|connection| connection.socket) else { return };
        self.index.remove(key, slot);
        self.touch(slot, Queue::Settling);
    }

    pub(crate) fn oldest(&self, queue: Queue) -> Option<Slot> {
        self.queues[queue as usize].oldest()
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let Some(node) = self.nodes.get(slot) else { return false };
        if node.queue != Queue::Settling {
            self.population.leave(node.group, node.counted, node.came, self.now);
        }
        self.links.take_out(&mut self.queues[node.queue as usize], slot);
        self.ports.give_back(node.port);
        self.index.remove(node.connection.socket, slot);
        self.nodes.clear(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Cookie, SockAddr};
    use crate::testing::change;
    use crate::tracker::interned::Interned;
    use tracer_common::TcpState::{Close, SynSent};

    fn key(n: u64) -> SocketKey {
        SocketKey::Cookie(Cookie(n))
    }

    fn insert(table: &mut Table, n: u64, queue: Queue) -> Slot {
        let connection = Connection::first_seen(key(n), &change(n, Close, SynSent), &mut Interned::new());
        table.insert(connection, queue)
    }

    #[test]
    fn the_oldest_of_a_queue_is_the_one_longest_untouched() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (1..=3).map(|n| insert(&mut table, n, Queue::Moving)).collect();
        table.touch(slots[0], Queue::Moving);
        assert_eq!(table.oldest(Queue::Moving), Some(slots[1]));
        table.touch(slots[1], Queue::Established);
        assert_eq!(table.oldest(Queue::Moving), Some(slots[2]));
        assert_eq!(table.oldest(Queue::Established), Some(slots[1]));
        assert_eq!((table.len_of(Queue::Moving), table.len_of(Queue::Established)), (2, 1));
        let moving: Vec<_> = table.of(Queue::Moving).map(|connection| connection.socket).collect();
        assert_eq!(moving, [key(3), key(1)]);
        assert_eq!(table.of(Queue::Settling).count(), 0);
    }

    #[test]
    fn each_is_counted_in_the_state_it_is_in_until_it_has_ended() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (1..=2).map(|n| insert(&mut table, n, Queue::Opening)).collect();
        table.get_mut(slots[0]).unwrap().state = TcpState::CloseWait;
        table.touch(slots[0], Queue::CloseWait);
        let (was, is) = (table.get(slots[1]).unwrap().state, TcpState::CloseWait);
        assert_eq!((table.in_state(was), table.in_state(is)), (1, 1));
        table.retire(slots[0]);
        table.remove(slots[1]);
        assert_eq!((table.in_state(was), table.in_state(is)), (0, 0));
        table.remove(slots[0]);
        assert_eq!(table.in_state(is), 0);
    }

    #[test]
    fn what_is_removed_is_found_no_more_and_its_place_is_used_again() {
        let mut table = Table::new();
        let slots: Vec<Slot> = (1..=3).map(|n| insert(&mut table, n, Queue::Moving)).collect();
        assert!(table.remove(slots[1]));
        assert!(!table.remove(slots[1]));
        assert_eq!(table.find(key(2)), None);
        assert_eq!(insert(&mut table, 9, Queue::Moving), slots[1]);
        assert_eq!(table.find(key(9)), Some(slots[1]));
        assert_eq!(table.len(), 3);
        assert_eq!(table.oldest(Queue::Moving), Some(slots[0]));
    }

    #[test]
    fn a_new_key_replaces_the_old_one() {
        let mut table = Table::new();
        let slot = insert(&mut table, 1, Queue::Moving);
        table.rekey(slot, SocketKey::Address(SockAddr(7)));
        assert_eq!(table.find(key(1)), None);
        assert_eq!(table.find(SocketKey::Address(SockAddr(7))), Some(slot));
    }
}
