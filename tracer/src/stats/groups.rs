//! Into which group a connection falls. The user chooses by what; how many groups there can be is bounded. What does not fit
//! falls into `other`, which is always there, and is counted.

use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use finwait_core::observation::{Comm, Workload};
use finwait_core::record::{CloseRecord, Endpoint, Owner, Role};
use finwait_core::{GroupId, NetNs, OpenConnection, Port, TcpState};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
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

/// One label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
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

/// The values of all dimensions take so many words at most: [`Slot::Comm`] takes three, [`Slot::Container`] two.
const WORDS: usize = 10;

/// A word that says what kind of value it is of.
const fn small(kind: u64, value: u32) -> u64 {
    kind << 32 | value as u64
}

/// A value for each of [`Grouping::by`], in that order, as words that are quick to hash and to compare.
#[derive(Clone, Copy, Debug)]
struct Key {
    words: [u64; WORDS],
    len: usize,
}

/// As the hash: only what the key is long.
impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && (0..self.len.min(WORDS)).all(|at| self.words[at] == other.words[at])
    }
}

impl Key {
    const EMPTY: Self = Self { words: [0; WORDS], len: 0 };

    #[inline]
    fn word(&mut self, word: u64) {
        if let Some(next) = self.words.get_mut(self.len) {
            *next = word;
            self.len += 1;
        }
    }

    #[inline]
    fn push(&mut self, slot: Slot) {
        match slot {
            Slot::Unknown => self.word(small(0, 0)),
            Slot::None => self.word(small(0, 1)),
            Slot::Role(role) => self.word(small(1, role as u32)),
            Slot::Port(port) => self.word(small(2, u32::from(port.0))),
            Slot::Unit(number) => self.word(small(3, number)),
            Slot::Peer(place) => self.word(small(4, place)),
            Slot::Netns(netns) => self.word(small(5, netns.0)),
            Slot::Comm(comm) => self.comm(comm),
            Slot::Container(digits) => {
                let mut bytes = [0; 16];
                bytes[..CONTAINER_DIGITS].copy_from_slice(&digits);
                let bytes = u128::from_le_bytes(bytes);
                self.word(small(7, (bytes >> 64) as u32));
                self.word(bytes as u64);
            }
        }
    }

    fn comm(&mut self, comm: Comm) {
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(comm.as_bytes()).for_each(|(byte, of_comm)| *byte = *of_comm);
        let bytes = u128::from_le_bytes(bytes);
        self.word(small(6, 0));
        self.word(bytes as u64);
        self.word((bytes >> 64) as u64);
    }

    #[inline]
    fn hash(&self, hasher: &DefaultHashBuilder) -> u64 {
        let mut state = hasher.build_hasher();
        // Two at a time are hashed at once; what is not used is 0.
        for pair in self.words.chunks_exact(2).take(self.len.div_ceil(2)) {
            state.write_u128(u128::from(pair[0]) << 64 | u128::from(pair[1]));
        }
        state.finish()
    }
}

/// That of which the group is asked.
#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    Ended(&'a CloseRecord),
    Open(&'a OpenConnection<'a>),
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
    hasher: DefaultHashBuilder,
    /// Groups by the hash of their key
    by_key: HashTable<(Key, GroupId)>,
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
            hasher: DefaultHashBuilder::default(),
            by_key: HashTable::new(),
            labels: vec![other],
            units: HashMap::new(),
            unit_names: Vec::new(),
            overflows: 0,
        }
    }

    /// The group of a connection that has ended.
    pub(super) fn of(&mut self, close: &CloseRecord) -> GroupId {
        let group = self.find(Subject::Ended(close));
        group.unwrap_or_else(|| {
            self.overflows += 1;
            OTHER_GROUP
        })
    }

    /// The group of one that has not.
    fn of_open(&mut self, connection: &OpenConnection<'_>) -> GroupId {
        // Up to 6.15 a child shows its ports only when it is established: no group of its own for that moment.
        if connection.state() == TcpState::SynRecv && connection.local().port.is_none() {
            return OTHER_GROUP;
        }
        self.find(Subject::Open(connection)).unwrap_or(OTHER_GROUP)
    }

    /// Made where it is new; `None` where it does not fit.
    fn find(&mut self, subject: Subject<'_>) -> Option<GroupId> {
        let mut key = Key::EMPTY;
        for place in 0..self.grouping.by.len() {
            key.push(self.slot(self.grouping.by[place], subject)?);
        }
        let hash = key.hash(&self.hasher);
        match self.by_key.find(hash, |(other, _)| *other == key) {
            Some((_, group)) => Some(*group),
            None => self.make(key, hash, subject),
        }
    }

    #[cold]
    fn make(&mut self, key: Key, hash: u64, subject: Subject<'_>) -> Option<GroupId> {
        if self.by_key.len() >= self.grouping.max_groups {
            return None;
        }
        let mut labels = Vec::with_capacity(self.grouping.by.len());
        for dimension in self.grouping.by.clone() {
            let slot = self.slot(dimension, subject)?;
            labels.push((dimension.label().into(), self.value(dimension, slot).into()));
        }
        let group = GroupId(self.labels.len() as u32);
        self.labels.push(labels.into());
        self.by_key.insert_unique(hash, (key, group), |(key, _)| key.hash(&self.hasher));
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
    #[inline(always)]
    fn slot(&mut self, dimension: Dimension, subject: Subject<'_>) -> Option<Slot> {
        Some(match dimension {
            Dimension::Role => subject.role().map_or(Slot::Unknown, Slot::Role),
            Dimension::Service => subject.service(),
            Dimension::Process => subject.owner().map_or(Slot::Unknown, |owner| Slot::Comm(owner.comm)),
            Dimension::Container => subject.container(),
            Dimension::Unit => self.unit(subject)?,
            Dimension::Peer => self.peer(subject),
            Dimension::Netns => subject.netns().map_or(Slot::Unknown, Slot::Netns),
        })
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

    fn peer(&self, subject: Subject<'_>) -> Slot {
        let Some(address) = subject.remote().addr else { return Slot::Unknown };
        let named = self.grouping.peers.iter().position(|peer| peer.net.contains(&address));
        named.map_or(Slot::None, |place| Slot::Peer(place as u32))
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

impl<'a> Subject<'a> {
    fn role(self) -> Option<Role> {
        match self {
            Self::Ended(close) => close.role.value().copied(),
            // A listener is of the service that it waits for.
            Self::Open(open) => {
                let listens = open.state() == TcpState::Listen;
                open.role().or(listens.then_some(Role::Accepted))
            }
        }
    }

    fn local(self) -> Endpoint {
        match self {
            Self::Ended(close) => close.local,
            Self::Open(open) => open.local(),
        }
    }

    fn remote(self) -> Endpoint {
        match self {
            Self::Ended(close) => close.remote,
            Self::Open(open) => open.remote(),
        }
    }

    fn netns(self) -> Option<NetNs> {
        match self {
            Self::Ended(close) => close.netns,
            Self::Open(open) => open.netns(),
        }
    }

    fn owner(self) -> Option<&'a Owner> {
        match self {
            Self::Ended(close) => {
                let known = close.opener.value().or(close.acceptor.value()).or(close.closer.value());
                known.or(close.holder.as_ref())
            }
            Self::Open(open) => open.owner(),
        }
    }

    fn workload(self) -> Option<&'a Workload> {
        match self {
            Self::Ended(close) => close.workload.as_deref(),
            Self::Open(open) => open.workload(),
        }
    }

    /// The port of the end that accepted; where both opened, neither is a service's.
    fn service(self) -> Slot {
        let port = |end: Endpoint| end.port.map_or(Slot::Unknown, Slot::Port);
        match self.role() {
            Some(Role::Opened) => port(self.remote()),
            Some(Role::Accepted) => port(self.local()),
            Some(Role::OpenedBoth) => Slot::None,
            None => Slot::Unknown,
        }
    }

    fn container(self) -> Slot {
        let Some(workload) = self.workload() else { return Slot::Unknown };
        let digits = workload.container.as_ref().and_then(|id| id.as_bytes().first_chunk());
        digits.map_or(Slot::None, |digits| Slot::Container(*digits))
    }
}
