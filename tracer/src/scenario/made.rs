//! What was made, and what is true of it.

use std::net::SocketAddr;

use finwait_core::TcpState;
use finwait_core::record::{
    CloseKind, FinOutcome, FirstCloser, LocalCause, Owner, ResetCause, ResetDirection, Role, Successor,
    TimeoutCause, Waves,
};

/// What is true, and how much of it the events show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact<T> {
    /// True, and proven by the events: a complete record says it.
    Shown(T),
    /// True, but the events may leave it open: a record says it or says that it is unknown.
    True(T),
    /// It did not happen: a record must not claim it.
    Never,
    /// Not known here: nothing can be said about a record's claim.
    Open,
}

impl<T: Copy> Fact<T> {
    /// [`Fact::Shown`] where it is true.
    fn shown(self) -> Self {
        self.truth().map_or(self, Self::Shown)
    }

    /// What is true, where that is known.
    #[must_use]
    pub fn truth(self) -> Option<T> {
        match self {
            Self::Shown(value) | Self::True(value) => Some(value),
            Self::Never | Self::Open => None,
        }
    }
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SideName {
    /// The one that connected
    Client,
    /// The one that accepted
    Server,
}

impl SideName {
    /// `client` or `server`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// The reset that ends one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeReset {
    /// Who sent it
    pub direction: Fact<ResetDirection>,
    /// Why
    pub cause: Fact<ResetCause>,
    /// Bytes received that were not read
    pub unread: Fact<u32>,
}

/// One socket's part in a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeSide {
    /// Every transition, in order
    pub transitions: Vec<(TcpState, TcpState)>,
    /// Which end asked for the connection
    pub role: Fact<Role>,
    /// The thread that called connect()
    pub opener: Fact<Owner>,
    /// The thread that began this side's close
    pub closer: Fact<Owner>,
    /// Which end closed first
    pub first_closer: Fact<FirstCloser>,
    /// How it ended
    pub kind: Fact<CloseKind>,
    /// The reset
    pub reset: Option<MadeReset>,
    /// Three segments or four
    pub waves: Fact<Waves>,
    /// What took the socket's place
    pub successor: Fact<Successor>,
    /// Payload bytes acknowledged by the peer
    pub bytes_sent: Fact<u64>,
    /// Payload bytes received
    pub bytes_received: Fact<u64>,
    /// What began this side's share of the close
    pub cause: Fact<LocalCause>,
    /// What became of this side's FIN
    pub fin_outcome: Fact<FinOutcome>,
    /// What the kernel gave up waiting for
    pub timeout: Fact<TimeoutCause>,
    /// The FIN waited behind unsent data
    pub unsent: bool,
}

impl MadeSide {
    /// The same, as if the events proved all that is true.
    pub(super) fn shown_where_true(self) -> Self {
        Self {
            role: self.role.shown(),
            opener: self.opener.shown(),
            closer: self.closer.shown(),
            first_closer: self.first_closer.shown(),
            kind: self.kind.shown(),
            waves: self.waves.shown(),
            successor: self.successor.shown(),
            cause: self.cause.shown(),
            fin_outcome: self.fin_outcome.shown(),
            timeout: self.timeout.shown(),
            bytes_sent: self.bytes_sent.shown(),
            bytes_received: self.bytes_received.shown(),
            reset: self.reset.map(|reset| MadeReset {
                direction: reset.direction.shown(),
                cause: reset.cause.shown(),
                unread: reset.unread.shown(),
            }),
            ..self
        }
    }

    /// A side that passes through `states`; a state twice in a row is close() after shutdown().
    #[must_use]
    pub fn through(states: &[TcpState]) -> Self {
        Self {
            transitions: states.windows(2).map(|pair| (pair[0], pair[1])).collect(),
            role: Fact::Open,
            opener: Fact::Open,
            closer: Fact::Open,
            first_closer: Fact::Open,
            kind: Fact::Open,
            reset: None,
            waves: Fact::Open,
            successor: Fact::Open,
            bytes_sent: Fact::Open,
            bytes_received: Fact::Open,
            cause: Fact::Open,
            fin_outcome: Fact::Open,
            timeout: Fact::Open,
            unsent: false,
        }
    }
}

/// One connection, described by the client's ends. IPv4-mapped addresses are given as IPv4.
#[derive(Clone, Debug, PartialEq)]
pub struct MadeConnection {
    /// The scenario
    pub name: &'static str,
    /// The client's end; port 0 where the kernel chose one and took it back unseen
    pub local: SocketAddr,
    /// The end that was connected to
    pub remote: SocketAddr,
    /// The client's socket
    pub client: MadeSide,
    /// The server's socket: none for a refused connect or one that meets itself
    pub server: Option<MadeSide>,
}

impl MadeConnection {
    /// The sides there are, the client's first.
    pub fn sides(&self) -> impl Iterator<Item = (SideName, &MadeSide)> {
        let server = self.server.as_ref().map(|side| (SideName::Server, side));
        core::iter::once((SideName::Client, &self.client)).chain(server)
    }

    /// Local and remote end as `side` sees them.
    #[must_use]
    pub fn ends(&self, side: SideName) -> (SocketAddr, SocketAddr) {
        match side {
            SideName::Client => (self.local, self.remote),
            SideName::Server => (self.remote, self.local),
        }
    }
}

/// A socket that listened and was closed again: CLOSE → LISTEN → CLOSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeListener {
    /// Where it listened
    pub local: SocketAddr,
}

impl MadeListener {
    /// Its two transitions.
    pub const TRANSITIONS: [(TcpState, TcpState); 2] =
        [(TcpState::Close, TcpState::Listen), (TcpState::Listen, TcpState::Close)];
}

/// All that a scenario made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    /// Connections
    pub connections: Vec<MadeConnection>,
    /// Listeners
    pub listeners: Vec<MadeListener>,
}

impl Made {
    /// Every transition of every socket.
    #[must_use]
    pub fn transition_count(&self) -> usize {
        let sides = self.connections.iter().flat_map(MadeConnection::sides);
        sides.map(|(_, side)| side.transitions.len()).sum::<usize>()
            + self.listeners.len() * MadeListener::TRANSITIONS.len()
    }

    /// Number of sockets that were part of a connection.
    #[must_use]
    pub fn side_count(&self) -> usize {
        self.connections.iter().flat_map(MadeConnection::sides).count()
    }

    /// Adds what `other` made.
    pub fn extend(&mut self, other: Made) {
        self.connections.extend(other.connections);
        self.listeners.extend(other.listeners);
    }
}
