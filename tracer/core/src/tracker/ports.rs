//! Which connections hold ephemeral ports, by where they go. connect() may give the same local port to connections that go
//! elsewhere: ports run out for one namespace, local address and remote end at a time (`__inet_hash_connect`, 6.18).

use core::hash::{BuildHasher, Hash, Hasher};
use std::net::IpAddr;

use hashbrown::{DefaultHashBuilder, HashTable};

use crate::id::{NetNs, Port};
use crate::record::Role;

use super::Connection;

/// Spaces counted at once; what goes elsewhere is counted together.
const SPACES: usize = 65_536;
/// Linux takes ephemeral ports from here on (net.ipv4.ip_local_port_range).
const EPHEMERAL: Port = Port(32_768);

/// What a local port is free or taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortSpace {
    /// Network namespace
    pub netns: NetNs,
    /// Local address
    pub local: IpAddr,
    /// Remote end
    pub remote: (IpAddr, Port),
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl Hash for PortSpace {
    /// In whole words: a space is looked up for every connection.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(bits(self.local));
        state.write_u128(bits(self.remote.0));
        state.write_u64(u64::from(self.netns.0) << 32 | u64::from(self.remote.1.0));
    }
}

impl PortSpace {
    /// Where `connection` holds an ephemeral port, if this end opened it. Of one that was there before finwait that is not
    /// known: it is taken in where its ports look like it, so that a host with many clients is not one of many spaces.
    pub(super) fn of(connection: &Connection, role: Option<Role>) -> Option<Self> {
        let (local, remote) = (connection.tuple.local, connection.tuple.remote);
        match role {
            Some(Role::Accepted) => return None,
            Some(Role::Opened | Role::OpenedBoth) => {}
            None if local.port? >= EPHEMERAL && remote.port? < EPHEMERAL => {}
            None => return None,
        }
        Some(Self {
            netns: connection.netns()?,
            local: local.addr.filter(|address| !address.is_unspecified())?,
            remote: (remote.addr?, remote.port?),
        })
    }
}

/// How many ports of a space are taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortsTaken {
    /// By connections that have not ended
    pub connections: u32,
    /// By time-wait sockets, those of FIN_WAIT2 included; 0 where these are not watched
    pub time_wait: u32,
}

impl PortsTaken {
    /// By both.
    #[must_use]
    pub fn all(self) -> u32 {
        self.connections.saturating_add(self.time_wait)
    }
}

/// Which count a connection is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held(u32);

impl Held {
    /// In none.
    pub(super) const NOTHING: Self = Self(u32::MAX);
    const ELSEWHERE: Self = Self(u32::MAX - 1);
}

#[derive(Clone, Copy, Debug)]
struct Use {
    space: PortSpace,
    taken: PortsTaken,
    /// A connection to there was opened here: its remote port is a service's
    opened: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ports {
    uses: Vec<Use>,
    free: Vec<u32>,
    hasher: DefaultHashBuilder,
    /// Places in `uses` by the hash of their space
    by_space: HashTable<u32>,
    elsewhere: u64,
}

impl Ports {
    /// A connection in `space` takes a port. Whether this end `opened` it is not known of one that was there before finwait:
    /// that counts once another shows that this end opens connections to there.
    pub(super) fn take(&mut self, space: PortSpace, opened: bool) -> Held {
        let held = self.find(space, opened);
        self.count(held, |taken| taken.connections += 1);
        held
    }

    /// The connection gives its port back.
    pub(super) fn give_back(&mut self, held: Held) {
        self.uncount(held, |taken| taken.connections = taken.connections.saturating_sub(1));
    }

    /// The time-wait socket of a connection that held `held` holds the port too. Of a connection that held none, `space` says
    /// whether it could have, and whether this end opened it.
    pub(super) fn leave(&mut self, held: Held, space: impl FnOnce() -> Option<(PortSpace, bool)>) -> Held {
        let held = match held {
            Held::NOTHING => match space() {
                Some((space, opened)) => self.find(space, opened),
                None => return Held::NOTHING,
            },
            held => held,
        };
        self.count(held, |taken| taken.time_wait += 1);
        held
    }

    /// The time-wait socket is gone.
    pub(super) fn give_back_left(&mut self, held: Held) {
        self.uncount(held, |taken| taken.time_wait = taken.time_wait.saturating_sub(1));
    }

    /// Every space in which a port is held, by how many, and whether connections are opened to there.
    pub(super) fn all(&self) -> impl Iterator<Item = (PortSpace, PortsTaken, bool)> {
        let held = self.uses.iter().filter(|used| used.taken.all() > 0);
        held.map(|used| (used.space, used.taken, used.opened))
    }

    fn find(&mut self, space: PortSpace, opened: bool) -> Held {
        let hash = self.hasher.hash_one(space);
        let place = match self.by_space.find(hash, |place| is_of(&self.uses, *place, &space)) {
            Some(place) => *place,
            None if self.by_space.len() >= SPACES => return Held::ELSEWHERE,
            None => self.insert(space, hash),
        };
        if let Some(used) = self.uses.get_mut(place as usize) {
            used.opened |= opened;
        }
        Held(place)
    }

    fn count(&mut self, held: Held, one_more: impl FnOnce(&mut PortsTaken)) {
        match self.uses.get_mut(held.0 as usize) {
            Some(used) => one_more(&mut used.taken),
            None => self.elsewhere += u64::from(held == Held::ELSEWHERE),
        }
    }

    fn uncount(&mut self, held: Held, one_less: impl FnOnce(&mut PortsTaken)) {
        if held == Held::ELSEWHERE {
            self.elsewhere = self.elsewhere.saturating_sub(1);
        }
        let Some(used) = self.uses.get_mut(held.0 as usize) else { return };
        one_less(&mut used.taken);
        if used.taken.all() == 0
            && let Ok(found) =
                self.by_space.find_entry(self.hasher.hash_one(used.space), |place| *place == held.0)
        {
            found.remove();
            self.free.push(held.0);
        }
    }

    fn insert(&mut self, space: PortSpace, hash: u64) -> u32 {
        let used = Use { space, taken: PortsTaken::default(), opened: false };
        let place = match self.free.pop() {
            Some(place) => {
                self.uses[place as usize] = used;
                place
            }
            None => {
                self.uses.push(used);
                (self.uses.len() - 1) as u32
            }
        };
        let (uses, hasher) = (&self.uses, &self.hasher);
        let hash_of = |place: &u32| uses.get(*place as usize).map_or(0, |used| hasher.hash_one(used.space));
        self.by_space.insert_unique(hash, place, hash_of);
        place
    }
}

fn is_of(uses: &[Use], place: u32, space: &PortSpace) -> bool {
    uses.get(place as usize).is_some_and(|used| used.space == *space)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(port: u16) -> PortSpace {
        let remote = (IpAddr::from([10, 0, 0, 2]), Port::new(port).unwrap());
        PortSpace { netns: NetNs(1), local: IpAddr::from([10, 0, 0, 1]), remote }
    }

    fn taken(connections: u32, time_wait: u32) -> PortsTaken {
        PortsTaken { connections, time_wait }
    }

    #[test]
    fn a_time_wait_socket_holds_its_connections_port() {
        let mut ports = Ports::default();
        let held = ports.take(space(443), true);
        let left = ports.leave(held, || None);
        assert_eq!(ports.all().collect::<Vec<_>>(), [(space(443), taken(1, 1), true)]);
        ports.give_back(held);
        assert_eq!(ports.all().collect::<Vec<_>>(), [(space(443), taken(0, 1), true)]);
        ports.give_back_left(left);
        assert_eq!(ports.all().count(), 0);
        assert_eq!(ports.leave(Held::NOTHING, || None), Held::NOTHING);
        let left = ports.leave(Held::NOTHING, || Some((space(80), false)));
        assert_eq!(ports.all().collect::<Vec<_>>(), [(space(80), taken(0, 1), false)]);
        ports.give_back_left(left);
        assert_eq!(ports.all().count(), 0);
    }

    #[test]
    fn ports_are_counted_by_where_connections_go_until_they_end() {
        let mut ports = Ports::default();
        let held: Vec<_> = (0..3).map(|_| ports.take(space(443), true)).collect();
        ports.take(space(80), true);
        let mut all: Vec<_> = ports.all().collect();
        all.sort_unstable();
        assert_eq!(all, [(space(80), taken(1, 0), true), (space(443), taken(3, 0), true)]);
        held.into_iter().for_each(|held| ports.give_back(held));
        assert_eq!(ports.all().collect::<Vec<_>>(), [(space(80), taken(1, 0), true)]);
        ports.take(space(22), true);
        assert_eq!(ports.uses.len(), 2, "the place is used again");
    }

    #[test]
    fn one_from_before_counts_once_another_shows_the_way() {
        let mut ports = Ports::default();
        let before = ports.take(space(443), false);
        assert_eq!(ports.all().collect::<Vec<_>>(), [(space(443), taken(1, 0), false)]);
        let opened = ports.take(space(443), true);
        assert_eq!(ports.all().collect::<Vec<_>>(), [(space(443), taken(2, 0), true)]);
        ports.give_back(opened);
        ports.give_back(before);
        ports.give_back(Held::NOTHING);
        assert_eq!(ports.all().count(), 0);
    }

    #[test]
    fn what_finds_no_room_is_counted_together() {
        let mut ports = Ports::default();
        for port in 1..=u16::MAX {
            ports.take(space(port), true);
        }
        let other = PortSpace { netns: NetNs(2), ..space(1) };
        ports.take(other, true);
        let held = ports.take(PortSpace { netns: NetNs(3), ..space(1) }, true);
        assert_eq!((held, ports.elsewhere), (Held::ELSEWHERE, 1));
        ports.give_back(held);
        assert_eq!(ports.elsewhere, 0);
    }
}
