//! Into which group a connection falls. The user chooses by what; how many groups there can be is bounded. What does not fit
//! falls into `other`, which is always there, and is counted.

mod key;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use finwait_core::record::CloseRecord;
use finwait_core::{GroupId, OpenConnection, TcpState};
use hashbrown::HashMap;
use ipnet::IpNet;

use self::key::{Key, Known, Slot, Subject};
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

/// What fits nowhere.
pub(super) const OTHER_GROUP: GroupId = GroupId(0);

/// The groups, for both who ask: the tracker as it learns of connections, the aggregator at each close. They are on one thread, so the
/// lock is always free; and each asks once for a group, as that never changes.
#[derive(Clone, Debug)]
pub(super) struct SharedGroups {
    grouping: Arc<Grouping>,
    /// Those that were asked for here
    known: Known,
    groups: Arc<Mutex<Groups>>,
}

impl SharedGroups {
    pub(super) fn new(mut grouping: Grouping) -> Self {
        // The longest prefix decides.
        grouping.peers.sort_by_key(|peer| std::cmp::Reverse(peer.net.prefix_len()));
        let grouping = Arc::new(grouping);
        let groups = Arc::new(Mutex::new(Groups::new(grouping.clone())));
        Self { grouping, known: Known::default(), groups }
    }

    /// Nothing is left half done under this lock: a panic elsewhere spoils nothing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group of a connection that has ended.
    pub(super) fn of(&mut self, close: &CloseRecord) -> GroupId {
        let group = self.find(Subject::Ended(close));
        group.unwrap_or_else(|| {
            self.lock().overflows += 1;
            OTHER_GROUP
        })
    }

    /// Made where it is new; `None` where it does not fit.
    fn find(&mut self, subject: Subject<'_>) -> Option<GroupId> {
        let mut key = Key::EMPTY;
        if !self.grouping.key(subject, &mut key) {
            return self.lock().numbered(subject);
        }
        if let Some(group) = self.known.get(&key) {
            return Some(group);
        }
        let group = self.lock().find(key, subject)?;
        self.known.insert(key, group);
        Some(group)
    }
}

impl finwait_core::Grouping for SharedGroups {
    fn group(&mut self, connection: &OpenConnection<'_>) -> GroupId {
        // Up to 6.15 a child shows its ports only when it is established: no group of its own for that moment.
        if connection.state() == TcpState::SynRecv && connection.local().port.is_none() {
            return OTHER_GROUP;
        }
        self.find(Subject::Open(connection)).unwrap_or(OTHER_GROUP)
    }

    fn is_by_owner(&self) -> bool {
        self.grouping.by.contains(&Dimension::Process)
    }
}

/// The groups there are. They never go away: a counter that did would look like a restart.
#[derive(Debug)]
pub(super) struct Groups {
    grouping: Arc<Grouping>,
    known: Known,
    labels: Vec<Arc<[Label]>>,
    units: HashMap<Arc<str>, u32>,
    unit_names: Vec<Arc<str>>,
    overflows: u64,
}

impl Groups {
    fn new(grouping: Arc<Grouping>) -> Self {
        let other = grouping.by.iter().map(|dimension| (dimension.label().into(), OTHER.into())).collect();
        Self {
            grouping,
            known: Known::default(),
            labels: vec![other],
            units: HashMap::new(),
            unit_names: Vec::new(),
            overflows: 0,
        }
    }

    /// The group of what has values that are numbered here.
    fn numbered(&mut self, subject: Subject<'_>) -> Option<GroupId> {
        let mut key = Key::EMPTY;
        for place in 0..self.grouping.by.len() {
            key.push(self.slot(self.grouping.by[place], subject)?);
        }
        self.find(key, subject)
    }

    /// Made where it is new; `None` where it does not fit.
    fn find(&mut self, key: Key, subject: Subject<'_>) -> Option<GroupId> {
        self.known.get(&key).or_else(|| self.make(key, subject))
    }

    #[cold]
    fn make(&mut self, key: Key, subject: Subject<'_>) -> Option<GroupId> {
        if self.known.len() >= self.grouping.max_groups {
            return None;
        }
        let mut labels = Vec::with_capacity(self.grouping.by.len());
        for place in 0..self.grouping.by.len() {
            let dimension = self.grouping.by[place];
            let slot = self.slot(dimension, subject)?;
            labels.push((dimension.label().into(), self.value(dimension, slot).into()));
        }
        let group = GroupId(self.labels.len() as u32);
        self.labels.push(labels.into());
        self.known.insert(key, group);
        Some(group)
    }

    /// Labels of each group, `other` first.
    pub(super) fn labels(&self) -> &[Arc<[Label]>] {
        &self.labels
    }

    /// Groups, `other` not counted.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn limit(&self) -> usize {
        self.grouping.max_groups
    }

    /// Closes that fell into `other`.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows
    }

    /// `None` where not even the name of a label can be kept.
    fn slot(&mut self, dimension: Dimension, subject: Subject<'_>) -> Option<Slot> {
        match self.grouping.slot(dimension, subject) {
            None => self.unit(subject),
            slot => slot,
        }
    }

    fn unit(&mut self, subject: Subject<'_>) -> Option<Slot> {
        let Some(workload) = subject.workload() else { return Some(Slot::Unknown) };
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

    fn value(&self, dimension: Dimension, slot: Slot) -> String {
        match slot {
            Slot::Unknown => UNKNOWN.to_owned(),
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
        }
    }
}
