//! What is true of a socket that passed through the usual states: the base on which a scenario puts its own facts.

use finwait_core::TcpState::{
    self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use finwait_core::record::{
    CloseKind, FinOutcome, FirstCloser, LocalCause, Owner, ResetCause, ResetDirection, Role, Successor, Waves,
};

use super::made::{Fact, MadeReset, MadeSide};
use super::stage::Stage;

/// States after ESTABLISHED of the side that closes first.
pub const ACTIVE: [TcpState; 3] = [FinWait1, FinWait2, Close];
/// Those of the other one.
pub const PASSIVE: [TcpState; 3] = [CloseWait, LastAck, Close];

/// A client's socket that goes on to pass through `rest` after ESTABLISHED.
#[must_use]
pub fn client_side(stage: &Stage<'_>, rest: &[TcpState]) -> MadeSide {
    let states: Vec<_> = [Close, SynSent, Established].into_iter().chain(rest.iter().copied()).collect();
    let mut side = MadeSide::through(&states);
    side.role = Fact::Shown(Role::Opened);
    side.opener = Fact::Shown(stage.client().owner());
    side
}

/// An accepted socket, likewise.
#[must_use]
pub fn server_side(rest: &[TcpState]) -> MadeSide {
    let states: Vec<_> = [Listen, SynRecv, Established].into_iter().chain(rest.iter().copied()).collect();
    let mut side = MadeSide::through(&states);
    side.role = Fact::Shown(Role::Accepted);
    side.opener = Fact::Never;
    side
}

/// A client's socket that never got further than SYN_SENT.
#[must_use]
pub fn unanswered(stage: &Stage<'_>, kind: CloseKind) -> MadeSide {
    let mut side = MadeSide::through(&[Close, SynSent, Close]);
    side.role = Fact::Shown(Role::Opened);
    side.opener = Fact::Shown(stage.client().owner());
    side.closer = Fact::Never;
    side.kind = Fact::Shown(kind);
    side.first_closer = Fact::Never;
    side.waves = Fact::Never;
    side.successor = Fact::Shown(Successor::Nothing);
    side
}

/// A side that was reset by its peer, without any FIN.
#[must_use]
pub fn reset_received(mut side: MadeSide) -> MadeSide {
    side.kind = Fact::Shown(CloseKind::Reset);
    side.first_closer = Fact::Never;
    side.closer = Fact::Never;
    side.cause = Fact::Never;
    side.successor = Fact::Shown(Successor::Nothing);
    side.waves = Fact::Never;
    side.reset = Some(MadeReset {
        direction: Fact::Shown(ResetDirection::Received),
        cause: Fact::Never,
        unread: Fact::True(0),
    });
    side
}

/// A side whose application, `closer`, reset the connection with `unread` bytes unread; without any FIN.
#[must_use]
pub fn reset_sent(mut side: MadeSide, closer: Owner, cause: ResetCause, unread: u32) -> MadeSide {
    side.kind = Fact::Shown(CloseKind::Reset);
    side.first_closer = Fact::Never;
    side.closer = Fact::Shown(closer);
    side.cause = Fact::True(match cause {
        ResetCause::Disconnect => LocalCause::Disconnect,
        ResetCause::ListenerClosed => LocalCause::ListenerClosed,
        ResetCause::Administrator => LocalCause::Administrator,
        ResetCause::Keepalive => LocalCause::KernelTimer,
        _ => LocalCause::Close,
    });
    side.successor = Fact::Shown(Successor::Nothing);
    side.waves = Fact::Never;
    side.reset = Some(MadeReset {
        direction: Fact::Shown(ResetDirection::Sent),
        cause: Fact::Shown(cause),
        unread: Fact::Shown(unread),
    });
    side
}

/// What is true of an orderly close of which the client (or else the server) sent the first FIN.
#[derive(Clone, Copy, Debug)]
pub struct Orderly {
    /// The client did
    pub client_first: bool,
    /// Payload bytes from the client to the server
    pub sent: u64,
    /// Payload bytes back
    pub received: u64,
    /// Three segments or four
    pub waves: Fact<Waves>,
    /// Of the side that closed first
    pub successor: Fact<Successor>,
}

impl Orderly {
    /// Fills in both sides.
    pub fn describe(&self, stage: &Stage<'_>, client: &mut MadeSide, server: &mut MadeSide) {
        client.closer = Fact::Shown(stage.client().owner());
        server.closer = Fact::Shown(stage.server().owner());
        (client.bytes_sent, client.bytes_received) = (Fact::Shown(self.sent), Fact::Shown(self.received));
        (server.bytes_sent, server.bytes_received) = (Fact::Shown(self.received), Fact::Shown(self.sent));
        let (first, second) = if self.client_first { (client, server) } else { (server, client) };
        for side in [&mut *first, &mut *second] {
            side.cause = Fact::True(LocalCause::Close);
            side.fin_outcome = Fact::Shown(FinOutcome::Acknowledged);
        }
        first.kind = Fact::Shown(CloseKind::Active);
        first.first_closer = Fact::Shown(FirstCloser::Local);
        first.waves = self.waves;
        first.successor = self.successor;
        second.kind = Fact::Shown(CloseKind::Passive);
        second.first_closer = Fact::Shown(FirstCloser::Peer);
        second.waves = self.waves;
        second.successor = Fact::Shown(Successor::Nothing);
    }
}
