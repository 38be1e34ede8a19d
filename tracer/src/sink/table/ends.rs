//! Cells that both tables have: addresses and processes.

use std::net::IpAddr;

use finwait_core::record::{Endpoint, Owner};

use crate::sink::columns::Piece;
use crate::sink::text;

/// `10.0.0.5:443`, `[2001:db8::5]:443`, `:443` where the address is not known, `10.0.0.5:?` where the port is not.
pub(super) fn endpoint(end: Endpoint, limit: usize) -> Piece {
    let port = end.port.map_or_else(|| "?".to_owned(), |port| port.to_string());
    let shown = match end.addr {
        None if end.port.is_none() => return Piece::unknown(),
        None => format!("?:{port}"),
        Some(IpAddr::V4(addr)) => format!("{addr}:{port}"),
        Some(IpAddr::V6(addr)) => format!("[{addr}]:{port}"),
    };
    Piece::plain(text::cut_middle(&shown, limit))
}

/// `curl/9120`, the name cut so that number and `suffix` fit into `limit`.
pub(super) fn process(owner: Option<&Owner>, suffix: &str, limit: usize) -> Piece {
    let Some(owner) = owner else {
        return if suffix.is_empty() { Piece::unknown() } else { Piece::plain(format!("?{suffix}")) };
    };
    let tail = format!("/{}{suffix}", owner.tgid);
    let comm = owner.comm.to_string();
    let comm = text::safe(&comm);
    let room = limit.saturating_sub(tail.chars().count()).max(1);
    Piece::plain(format!("{}{tail}", text::cut(&comm, room)))
}

/// `:443`
pub(super) fn port(end: Endpoint) -> Option<String> {
    end.port.map(|port| format!(":{port}"))
}
