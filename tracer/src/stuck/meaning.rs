//! What a closing state that lasts means, in words.

use finwait_core::TcpState;

use super::gather::{Owner, StuckSocket};
use crate::snapshot::TimerKind;

/// What it means that these sockets, of one state and owner, stay there. Empty for an empty list.
pub(super) fn of(sockets: &[&StuckSocket]) -> &'static str {
    let Some(first) = sockets.first() else { return "" };
    let all = |test: fn(&StuckSocket) -> bool| sockets.iter().all(|socket| test(socket));
    let zero_window = all(|socket| socket.row.timer.is_some_and(|timer| timer.kind == TimerKind::Probe));
    match (first.row.state, &first.owner) {
        (TcpState::CloseWait, Owner::NotAccepted) => {
            "the peer closed before the program accepted: it does not get round to accept()"
        }
        (TcpState::CloseWait, Owner::NotRecorded) => "the peer closed; this end has not",
        (TcpState::CloseWait, _) => {
            "the peer closed; the program has not: where they grow, a leak of descriptors"
        }
        (TcpState::FinWait2, Owner::NotRecorded) => "this end closed or shut its half down, the peer has not",
        (TcpState::FinWait2, Owner::Nobody) => "we closed, the peer has not; ends by tcp_fin_timeout",
        (TcpState::FinWait2, _) => {
            "we shut our half down, the peer has not; no timeout while the program holds it"
        }
        (TcpState::FinWait1, _) if zero_window => {
            "the peer does not read: data ahead of our FIN finds no room"
        }
        (TcpState::FinWait1, _) => {
            "our FIN, or data ahead of it, is not acknowledged: loss, or the peer is gone"
        }
        (TcpState::LastAck, _) => "our FIN is not acknowledged: loss, or the peer is gone",
        (TcpState::Closing, _) => "both closed; our FIN is not acknowledged: loss, or the peer is gone",
        _ => "",
    }
}
