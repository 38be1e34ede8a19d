//! The values by which a connection falls into a group, as words that are quick to hash and to compare.

use std::hash::{BuildHasher, Hasher};

use finwait_core::observation::{Comm, Workload};
use finwait_core::record::{CloseRecord, Endpoint, Owner, Role};
use finwait_core::{GroupId, NetNs, OpenConnection, Port, TcpState};
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{CONTAINER_DIGITS, Dimension, Grouping};

/// One label's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
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
pub(super) struct Key {
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
    pub(super) const EMPTY: Self = Self { words: [0; WORDS], len: 0 };

    #[inline(always)]
    fn word(&mut self, word: u64) {
        if let Some(next) = self.words.get_mut(self.len) {
            *next = word;
            self.len += 1;
        }
    }

    #[inline(always)]
    pub(super) fn push(&mut self, slot: Slot) {
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

/// Groups by the hash of their key, which is seeded.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    hasher: DefaultHashBuilder,
    groups: HashTable<(Key, GroupId)>,
}

impl Known {
    #[inline]
    pub(super) fn get(&self, key: &Key) -> Option<GroupId> {
        let found = self.groups.find(key.hash(&self.hasher), |(other, _)| other == key)?;
        Some(found.1)
    }

    /// `key` is not there yet.
    pub(super) fn insert(&mut self, key: Key, group: GroupId) {
        let Self { hasher, groups } = self;
        groups.insert_unique(key.hash(hasher), (key, group), |(key, _)| key.hash(hasher));
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }
}

/// That of which the group is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Ended(&'a CloseRecord),
    Open(&'a OpenConnection<'a>),
}

impl Grouping {
    /// The value of `subject`; `None` where it has to be numbered first.
    #[inline(always)]
    pub(super) fn slot(&self, dimension: Dimension, subject: Subject<'_>) -> Option<Slot> {
        Some(match dimension {
            Dimension::Role => subject.role().map_or(Slot::Unknown, Slot::Role),
            Dimension::Service => subject.service(),
            Dimension::Process => subject.owner().map_or(Slot::Unknown, |owner| Slot::Comm(owner.comm)),
            Dimension::Container => subject.container(),
            Dimension::Peer => self.peer(subject),
            Dimension::Netns => subject.netns().map_or(Slot::Unknown, Slot::Netns),
            Dimension::Unit => return None,
        })
    }

    /// Puts all values of `subject` behind each other, and says whether none has to be numbered first.
    #[inline(always)]
    pub(super) fn key(&self, subject: Subject<'_>, key: &mut Key) -> bool {
        for dimension in &self.by {
            match dimension {
                // By itself, so that no value takes the way through memory.
                Dimension::Role => key.push(subject.role().map_or(Slot::Unknown, Slot::Role)),
                Dimension::Service => key.push(subject.service()),
                other => match self.slot(*other, subject) {
                    Some(slot) => key.push(slot),
                    None => return false,
                },
            }
        }
        true
    }

    fn peer(&self, subject: Subject<'_>) -> Slot {
        let Some(address) = subject.remote().addr else { return Slot::Unknown };
        let named = self.peers.iter().position(|peer| peer.net.contains(&address));
        named.map_or(Slot::None, |place| Slot::Peer(place as u32))
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

    pub(super) fn workload(self) -> Option<&'a Workload> {
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
