//! Cells of `states`: those of tcpstates, with `?` where it would show a bystander.

use finwait_core::record::{Owner, TransitionRecord};
use finwait_core::{Claim, SockAddr, TcpState};

use super::Moment;
use super::layout::{Column, Place};
use crate::sink::columns::{Piece, Tone};
use crate::sink::{human, text};

pub(super) fn cell(place: &Place, record: &TransitionRecord, moment: &Moment) -> Piece {
    let change = &record.change;
    match place.column {
        Column::Time => moment.time(),
        Column::Seconds => moment.seconds(),
        Column::Cookie => known(change.cookie.map(|cookie| format!("{:x}", cookie.0))),
        Column::SkAddr => known(change.sock_addr.map(|SockAddr(address)| format!("{address:x}"))),
        Column::Pid => known(process(record).map(|owner| owner.tgid)),
        Column::Comm => known(process(record).map(|owner| owner.comm)),
        Column::LocalAddr => address(record.local.addr, place.limit),
        Column::LocalPort => known(record.local.port),
        Column::RemoteAddr if has_no_peer(record) => Piece::plain("-"),
        Column::RemoteAddr => address(record.remote.addr, place.limit),
        Column::RemotePort if has_no_peer(record) => Piece::plain("-"),
        Column::RemotePort => known(record.remote.port),
        Column::OldState => Piece::plain(change.old.name()),
        Column::NewState => Piece::plain(change.new.name()),
        Column::Ms => milliseconds(record),
        _ => Piece::plain(""),
    }
}

/// Who made the transition, else who is known to own the connection.
pub(in crate::sink) fn process(record: &TransitionRecord) -> Option<&Owner> {
    record.actor.value().or(record.owner.as_ref())
}

fn known(value: Option<impl ToString>) -> Piece {
    value.map_or_else(Piece::unknown, |value| Piece::plain(value.to_string()))
}

fn address(addr: Option<std::net::IpAddr>, limit: usize) -> Piece {
    addr.map_or_else(Piece::unknown, |addr| Piece::plain(text::cut_middle(&addr.to_string(), limit)))
}

/// A listener begins or ends: there is nobody at the other end, which is not the same as not knowing who.
fn has_no_peer(record: &TransitionRecord) -> bool {
    matches!(
        (record.change.old, record.change.new),
        (_, TcpState::Listen) | (TcpState::Listen, TcpState::Close)
    )
}

fn milliseconds(record: &TransitionRecord) -> Piece {
    match &record.in_old_state_ns {
        Claim::Known { value, .. } => Piece::plain(human::milliseconds(*value)),
        Claim::Unknown(_) if record.chain_broken => Piece::new("? gap", Tone::Bad),
        Claim::Unknown(_) => Piece::unknown(),
    }
}
