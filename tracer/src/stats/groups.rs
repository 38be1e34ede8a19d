//! Into which group a connection falls. The user chooses by what; how many groups there can be is bounded. What does not fit
//! falls into `other`, which is always there, and is counted.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use finwait_core::observation::{Comm, Workload};
use finwait_core::record::{CloseRecord, Endpoint, Owner, Role};
use finwait_core::{GroupId, NetNs, OpenConnection, Port, TcpState};
use hashbrown::HashMap;
use ipnet::IpNet;

use super::family::Label;

/// The label of what fits nowhere.
pub const OTHER: &str = "other";
const UNKNOWN: &str = "unknown";
const NONE: &str = "none";
/// Digits of a container's id that are shown, as container tools do.
const CONTAINER_DIGITS: usize = 12;

/// What connections are grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Dimension {
    /// Which end opened
    Role,
    /// Port of the end that accepted; ephemeral ports never become a label
    Service,
    /// Name of the process at this end
    Process,
    /// Container
    Container,
    /// systemd unit
    Unit,
    /// Named network of the peer
    Peer,
    /// Network namespace
    Netns,
}

const DIMENSIONS: usize = 7;

impl Dimension {
    /// The label's name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::Service => "service_port",
            Self::Process => "process",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::Peer => "peer_network",
            Self::Netns => "netns",
        }
    }
}

/// A network of peers that has a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNetwork {
    /// The label's value
    pub name: String,
    /// Its addresses
    pub net: IpNet,
}

/// How connections are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// By what; each once
    pub by: Vec<Dimension>,
    /// Groups at most, `other` not counted
    pub max_groups: usize,
    /// For [`Dimension::Peer`]
    pub peers: Vec<PeerNetwork>,
}

impl Default for Grouping {
    fn default() -> Self {
        Self { by: vec![Dimension::Role, Dimension::Service], max_groups: 1000, peers: Vec::new() }
    }
}

/// One label's value, cheap to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Slot {
    /// Not grouped by
    Unused,
    Unknown,
    None,
    Role(Role),
    Port(Port),
    Comm(Comm),
    Container([u8; CONTAINER_DIGITS]),
    Unit(u32),
    Peer(u32),
    Netns(NetNs),
}

/// A value for each of [`Grouping::by`], in that order; the rest is unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key([Slot; DIMENSIONS]);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.iter().take_while(|slot| **slot != Slot::Unused).for_each(|slot| slot.hash(state));
    }
}

/// What of a connection decides its group.
struct Facts<'a> {
    role: Option<Role>,
    local: Endpoint,
    remote: Endpoint,
    netns: Option<NetNs>,
    owner: Option<Comm>,
    workload: Option<&'a Workload>,
}

/// What fits nowhere.
pub(super) const OTHER_GROUP: GroupId = GroupId(0);

/// The groups, for both who ask: the tracker as it learns of connections, the aggregator at each close. They are on one thread, so the
/// lock is always free.
#[derive(Clone, Debug)]
pub(super) struct SharedGroups(Arc<Mutex<Groups>>);

impl SharedGroups {
    pub(super) fn new(grouping: Grouping) -> Self {
        Self(Arc::new(Mutex::new(Groups::new(grouping))))
    }

    /// Nothing is left half done under this lock: a panic elsewhere spoils nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl finwait_core::Grouping for SharedGroups {
    fn group(&mut self, connection: &OpenConnection<'_>) -> GroupId {
        self.lock().of_open(connection)
    }
}

/// The groups there are. They never go away: a counter that did would look like a restart.
#[derive(Debug)]
pub(super) struct Groups {
    grouping: Grouping,
    by_key: HashMap<Key, GroupId>,
    labels: Vec<Arc<[Label]>>,
    units: HashMap<Arc<str>, u32>,
    unit_names: Vec<Arc<str>>,
    overflows: u64,
}

impl Groups {
    pub(super) fn new(mut grouping: Grouping) -> Self {
        // The longest prefix decides.
        grouping.peers.sort_by_key(|peer| std::cmp::Reverse(peer.net.prefix_len()));
        let other = grouping.by.iter().map(|dimension| (dimension.label().into(), OTHER.into())).collect();
        Self {
            grouping,
            by_key: HashMap::new(),
            labels: vec![other],
            units: HashMap::new(),
            unit_names: Vec::new(),
            overflows: 0,
        }
    }

    /// The group of a connection that has ended.
    pub(super) fn of(&mut self, close: &CloseRecord) -> GroupId {
        let group = self.find(&Facts::of_close(close));
        group.unwrap_or_else(|| {
            self.overflows += 1;
            OTHER_GROUP
        })
    }

    /// The group of one that has not.
    fn of_open(&mut self, connection: &OpenConnection<'_>) -> GroupId {
        let facts = Facts::of_open(connection);
        // Up to 6.15 a child shows its ports only when it is established: no group of its own for that moment.
        if connection.state() == TcpState::SynRecv && facts.local.port.is_none() {
            return OTHER_GROUP;
        }
        self.find(&facts).unwrap_or(OTHER_GROUP)
    }

    /// Made where it is new; `None` where it does not fit.
    fn find(&mut self, facts: &Facts<'_>) -> Option<GroupId> {
        let key = self.key(facts)?;
        if let Some(group) = self.by_key.get(&key) {
            return Some(*group);
        }
        if self.by_key.len() >= self.grouping.max_groups {
            return None;
        }
        let labels = self.label(&key);
        let group = GroupId(self.labels.len() as u32);
        self.labels.push(labels);
        self.by_key.insert(key, group);
        Some(group)
    }

    /// Labels of each group, `other` first.
    pub(super) fn labels(&self) -> &[Arc<[Label]>] {
        &self.labels
    }

    /// Groups, `other` not counted.
    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.grouping.max_groups
    }

    /// Closes that fell into `other`.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows
    }

    /// `None` where not even the name of a label can be kept.
    fn key(&mut self, facts: &Facts<'_>) -> Option<Key> {
        let mut key = [Slot::Unused; DIMENSIONS];
        for (place, slot) in key.iter_mut().enumerate().take(self.grouping.by.len()) {
            *slot = match self.grouping.by[place] {
                Dimension::Role => facts.role.map_or(Slot::Unknown, Slot::Role),
                Dimension::Service => facts.service(),
                Dimension::Process => facts.owner.map_or(Slot::Unknown, Slot::Comm),
                Dimension::Container => facts.container(),
                Dimension::Unit => self.unit(facts)?,
                Dimension::Peer => self.peer(facts),
                Dimension::Netns => facts.netns.map_or(Slot::Unknown, Slot::Netns),
            };
        }
        Some(Key(key))
    }

    fn unit(&mut self, facts: &Facts<'_>) -> Option<Slot> {
        let Some(workload) = facts.workload else { return Some(Slot::Unknown) };
        let Some(unit) = workload.unit.as_deref() else { return Some(Slot::None) };
        if let Some(number) = self.units.get(unit) {
            return Some(Slot::Unit(*number));
        }
        if self.unit_names.len() >= self.grouping.max_groups {
            return None;
        }
        let (number, name) = (self.unit_names.len() as u32, Arc::<str>::from(unit));
        self.unit_names.push(name.clone());
        self.units.insert(name, number);
        Some(Slot::Unit(number))
    }

    fn peer(&self, facts: &Facts<'_>) -> Slot {
        let Some(address) = facts.remote.addr else { return Slot::Unknown };
        let named = self.grouping.peers.iter().position(|peer| peer.net.contains(&address));
        named.map_or(Slot::None, |place| Slot::Peer(place as u32))
    }

    fn label(&self, key: &Key) -> Arc<[Label]> {
        let value = |dimension: Dimension, slot: Slot| match slot {
            Slot::Unused | Slot::Unknown => UNKNOWN.to_owned(),
            // A peer in no named network is one of the others.
            Slot::None if dimension == Dimension::Peer => OTHER.to_owned(),
            Slot::None => NONE.to_owned(),
            Slot::Role(role) => role.name().to_owned(),
            Slot::Port(port) => port.to_string(),
            Slot::Comm(comm) => comm.to_string(),
            Slot::Container(digits) => String::from_utf8_lossy(&digits).into_owned(),
            Slot::Unit(number) => self.unit_names[number as usize].to_string(),
            Slot::Peer(place) => self.grouping.peers[place as usize].name.clone(),
            Slot::Netns(netns) => netns.to_string(),
        };
        let by = self.grouping.by.iter().zip(key.0);
        by.map(|(by, slot)| (by.label().into(), value(*by, slot).into())).collect()
    }
}

impl<'a> Facts<'a> {
    fn of_close(close: &'a CloseRecord) -> Self {
        let owners =
            [close.opener.value(), close.acceptor.value(), close.closer.value(), close.holder.as_ref()];
        Self {
            role: close.role.value().copied(),
            local: close.local,
            remote: close.remote,
            netns: close.netns,
            owner: owners.into_iter().flatten().next().map(|owner: &Owner| owner.comm),
            workload: close.workload.as_deref(),
        }
    }

    fn of_open(connection: &'a OpenConnection<'_>) -> Self {
        // A listener is of the service that it waits for.
        let listens = connection.state() == TcpState::Listen;
        Self {
            role: connection.role().or(listens.then_some(Role::Accepted)),
            local: connection.local(),
            remote: connection.remote(),
            netns: connection.netns(),
            owner: connection.owner().map(|owner| owner.comm),
            workload: connection.workload(),
        }
    }

    /// The port of the end that accepted; where both opened, neither is a service's.
    fn service(&self) -> Slot {
        let port = |end: Endpoint| end.port.map_or(Slot::Unknown, Slot::Port);
        match self.role {
            Some(Role::Opened) => port(self.remote),
            Some(Role::Accepted) => port(self.local),
            Some(Role::OpenedBoth) => Slot::None,
            None => Slot::Unknown,
        }
    }

    fn container(&self) -> Slot {
        let Some(workload) = self.workload else { return Slot::Unknown };
        let digits = workload.container.as_ref().and_then(|id| id.as_bytes().first_chunk());
        digits.map_or(Slot::None, |digits| Slot::Container(*digits))
    }
}
