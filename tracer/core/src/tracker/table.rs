//! The bounded table of connections: by cookie, by address where there is no cookie, and by how long nothing happened.

use hashbrown::HashMap;
use tracer_common::TcpState;

use super::connection::Connection;
use crate::id::{Cookie, SockAddr, SocketKey};

/// Place of a connection in the table.
pub(crate) type Slot = u32;

const NIL: Slot = Slot::MAX;

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
const STATES: usize = TcpState::ALL.len() + 1;

#[derive(Debug)]
struct Node {
    connection: Connection,
    queue: Queue,
    /// The state under which it is counted
    counted: TcpState,
    before: Slot,
    after: Slot,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    oldest: Slot,
    newest: Slot,
}

/// See the module. All operations take constant time.
#[derive(Debug)]
pub(crate) struct Table {
    nodes: Vec<Option<Node>>,
    free: Vec<Slot>,
    by_cookie: HashMap<Cookie, Slot>,
    by_address: HashMap<SockAddr, Slot>,
    queues: [Ends; QUEUES],
    len: [usize; QUEUES],
    /// Connections that have not ended, by the kernel's number of their state
    in_state: [usize; STATES],
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            free: Vec::new(),
            by_cookie: HashMap::new(),
            by_address: HashMap::new(),
            queues: [Ends { oldest: NIL, newest: NIL }; QUEUES],
            len: [0; QUEUES],
            in_state: [0; STATES],
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len.iter().sum()
    }

    pub(crate) fn len_of(&self, queue: Queue) -> usize {
        self.len[queue as usize]
    }

    /// How many are in `state` that have not ended, as far as is known.
    pub(crate) fn in_state(&self, state: TcpState) -> usize {
        self.in_state[usize::from(state.raw())]
    }

    pub(crate) fn find(&self, key: SocketKey) -> Option<Slot> {
        match key {
            SocketKey::Cookie(cookie) => self.by_cookie.get(&cookie).copied(),
            SocketKey::Address(address) => self.by_address.get(&address).copied(),
        }
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Connection> {
        self.nodes.get(slot as usize)?.as_ref().map(|node| &node.connection)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.nodes.get_mut(slot as usize)?.as_mut().map(|node| &mut node.connection)
    }

    /// Those that have not ended, as far as is known.
    pub(crate) fn followed(&self) -> impl Iterator<Item = (Slot, &Connection)> {
        (0..).zip(&self.nodes).filter_map(|(slot, node)| {
            let node = node.as_ref().filter(|node| node.queue != Queue::Settling)?;
            Some((slot, &node.connection))
        })
    }

    /// Those in `queue`, the one longest untouched first.
    pub(crate) fn of(&self, queue: Queue) -> impl Iterator<Item = &Connection> {
        let node = |slot: Slot| self.nodes.get(slot as usize)?.as_ref();
        let first = node(self.queues[queue as usize].oldest);
        std::iter::successors(first, move |before| node(before.after)).map(|node| &node.connection)
    }

    /// Takes in a connection whose key is not in the table.
    pub(crate) fn insert(&mut self, connection: Connection, queue: Queue) -> Slot {
        let key = connection.id.socket;
        let counted = connection.state;
        let node = Node { connection, queue, counted, before: NIL, after: NIL };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot as usize] = Some(node);
                slot
            }
            None => {
                self.nodes.push(Some(node));
                (self.nodes.len() - 1) as Slot
            }
        };
        self.index(key, slot);
        self.link(slot, queue);
        slot
    }

    /// Gives the connection another key: its cookie became known.
    pub(crate) fn rekey(&mut self, slot: Slot, key: SocketKey) {
        let Some(old) = self.get(slot).map(|connection| connection.id.socket) else { return };
        self.unindex(old, slot);
        self.index(key, slot);
        if let Some(connection) = self.get_mut(slot) {
            connection.id.socket = key;
        }
    }

    /// Makes the connection the newest of `queue`.
    pub(crate) fn touch(&mut self, slot: Slot, queue: Queue) {
        self.unlink(slot);
        self.link(slot, queue);
    }

    /// The connection's name is another's from now on; it waits for its record.
    pub(crate) fn retire(&mut self, slot: Slot) {
        let Some(key) = self.get(slot).map(|connection| connection.id.socket) else { return };
        self.unindex(key, slot);
        self.touch(slot, Queue::Settling);
    }

    pub(crate) fn oldest(&self, queue: Queue) -> Option<Slot> {
        let slot = self.queues[queue as usize].oldest;
        (slot != NIL).then_some(slot)
    }

    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Connection> {
        self.nodes.get(slot as usize)?.as_ref()?;
        self.unlink(slot);
        let node = self.nodes.get_mut(slot as usize)?.take()?;
        self.unindex(node.connection.id.socket, slot);
        self.free.push(slot);
        Some(node.connection)
    }

    fn index(&mut self, key: SocketKey, slot: Slot) {
        match key {
            SocketKey::Cookie(cookie) => self.by_cookie.insert(cookie, slot),
            SocketKey::Address(address) => self.by_address.insert(address, slot),
        };
    }

    fn unindex(&mut self, key: SocketKey, slot: Slot) {
        if self.find(key) == Some(slot) {
            match key {
                SocketKey::Cookie(cookie) => self.by_cookie.remove(&cookie),
                SocketKey::Address(address) => self.by_address.remove(&address),
            };
        }
    }

    fn node_mut(&mut self, slot: Slot) -> Option<&mut Node> {
        self.nodes.get_mut(slot as usize)?.as_mut()
    }

    fn link(&mut self, slot: Slot, queue: Queue) {
        let newest = self.queues[queue as usize].newest;
        let mut counted = None;
        if let Some(node) = self.node_mut(slot) {
            (node.queue, node.before, node.after) = (queue, newest, NIL);
            node.counted = node.connection.state;
            counted = Some(node.counted);
        }
        if let Some(state) = counted.filter(|_| queue != Queue::Settling) {
            self.in_state[usize::from(state.raw())] += 1;
        }
        match self.node_mut(newest) {
            Some(node) => node.after = slot,
            None => self.queues[queue as usize].oldest = slot,
        }
        self.queues[queue as usize].newest = slot;
        self.len[queue as usize] += 1;
    }

    fn unlink(&mut self, slot: Slot) {
        let Some(node) = self.node_mut(slot) else { return };
        let (queue, counted, before, after) = (node.queue, node.counted, node.before, node.after);
        if queue != Queue::Settling {
            self.in_state[usize::from(counted.raw())] -= 1;
        }
        match self.node_mut(before) {
            Some(node) => node.after = after,
            None => self.queues[queue as usize].oldest = after,
        }
        match self.node_mut(after) {
            Some(node) => node.before = before,
            None => self.queues[queue as usize].newest = before,
        }
        self.len[queue as usize] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::change;
    use tracer_common::TcpState::{Close, SynSent};

    fn key(n: u64) -> SocketKey {
        SocketKey::Cookie(Cookie(n))
    }

    fn insert(table: &mut Table, n: u64, queue: Queue) -> Slot {
        let mut connection = Connection::first_seen(crate::id::BootId(0), key(n), &change(n, Close, SynSent));
        connection.id.socket = key(n);
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
        let moving: Vec<_> = table.of(Queue::Moving).map(|connection| connection.id.socket).collect();
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
        assert!(table.remove(slots[1]).is_some());
        assert!(table.remove(slots[1]).is_none());
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
