//! Observations of inferred transitions. What only a kernel knows is absent.

use finwait_core::observation::{CapturedClose, Family, Program, StateChange, Stream, TcpFields};
use finwait_core::{Cookie, MonoNs, Observation, Port, TcpState};

use super::flow::elapsed_ns;
use super::segment::End;
use super::side::Side;
use crate::source::room::Room;

/// There is one order of all packets.
const STREAM: Stream = Stream { cpu: 0, program: Program::Capture, depth: 0 };

/// The socket that a transition is of.
pub(super) struct Place {
    pub(super) cookie: Cookie,
    pub(super) local: End,
    pub(super) remote: End,
}

/// Numbers and collects what is to be told.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    pub(super) ready: Vec<Observation>,
    cookies: u64,
    transitions: u64,
    pub(super) room: Room,
}

impl Emitter {
    /// A cookie for a socket that was not told of before.
    pub(super) fn cookie(&mut self) -> Cookie {
        self.cookies += 1;
        Cookie(self.cookies)
    }

    /// Transitions told so far.
    pub(super) fn transitions(&self) -> u64 {
        self.transitions
    }

    /// The first of `sides` goes into `new` at `at`.
    pub(super) fn transition(
        &mut self,
        place: &Place,
        (me, peer): (&Side, &Side),
        new: TcpState,
        at: MonoNs,
        captured: Option<Box<CapturedClose>>,
    ) {
        self.transitions += 1;
        let local_port = Port::new(place.local.1);
        let change = StateChange {
            seq: self.transitions,
            family: if place.local.0.is_ipv4() { Family::Inet } else { Family::Inet6 },
            cookie: Some(place.cookie),
            local_addr: Some(place.local.0),
            remote_addr: Some(place.remote.0),
            inet_sport: local_port,
            num: local_port,
            dport: Port::new(place.remote.1),
            captured,
            tcp: numbers(me, peer, at),
            ..StateChange::bare(at, STREAM, (me.state, new))
        };
        self.ready.push(Observation::StateChange(self.room.put(change)));
    }
}

/// The end's numbers as its segments and the other end's acknowledgements show them, counted as the kernel counts: the SYN of
/// an end that opened is among the acknowledged bytes.
fn numbers(me: &Side, peer: &Side, at: MonoNs) -> TcpFields {
    let own_syn = u64::from(me.opened && peer.ack.is_some());
    TcpFields {
        snd_una: peer.ack,
        snd_nxt: me.next,
        rcv_nxt: me.ack,
        bytes_acked: peer.ack.map(|_| me.acked_bytes + own_syn),
        bytes_received: me.ack.map(|_| peer.acked_bytes),
        since_send_ns: elapsed_ns(at, me.last_payload),
        since_receive_ns: elapsed_ns(at, peer.last_payload),
        ..TcpFields::default()
    }
}
