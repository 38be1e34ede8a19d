//! One end of a connection as a close record: what the pairing looks at is chosen, the rest is nothing in particular.

use std::net::SocketAddr;

use finwait_core::record::{CloseRecord, Endpoint, Role, SeenFrom, Step};
use finwait_core::{BootId, Claim, ConnId, Cookie, Evidence, MonoNs, NetNs, Reason, SocketKey, TcpState};

pub const MILLI: u64 = 1_000_000;
pub const SECOND: u64 = 1_000_000_000;

pub struct End(CloseRecord);

impl End {
    pub fn new(cookie: u64, local: &str, remote: &str) -> Self {
        let id = ConnId { boot: BootId(1), socket: SocketKey::Cookie(Cookie(cookie)), generation: cookie };
        Self(nothing_known(id, endpoint(local), endpoint(remote)))
    }

    pub fn role(mut self, role: Role) -> Self {
        self.0.role = Claim::known(role, [Evidence::Established]);
        self
    }

    pub fn netns(mut self, netns: u32) -> Self {
        self.0.netns = Some(NetNs(netns));
        self
    }

    /// From first transition to CLOSE, in ms.
    pub fn life(mut self, from: u64, to: u64) -> Self {
        self.0.steps = vec![
            Step { at: MonoNs(from * MILLI), old: TcpState::Close, new: TcpState::SynSent },
            Step { at: MonoNs(to * MILLI), old: TcpState::FinWait2, new: TcpState::Close },
        ];
        self.0.last_seen_at = MonoNs(to * MILLI);
        self.0.closed_at = Some(MonoNs(to * MILLI));
        self
    }

    pub fn record(self) -> CloseRecord {
        self.0
    }
}

fn endpoint(text: &str) -> Endpoint {
    let addr: SocketAddr = text.parse().unwrap();
    Endpoint::new(addr.ip(), addr.port())
}

fn nothing_known(conn_id: ConnId, local: Endpoint, remote: Endpoint) -> CloseRecord {
    let unknown = CloseRecord::unknown(conn_id, Reason::NotVisible);
    CloseRecord { local, remote, seen_from: SeenFrom::Handshake, ..unknown }
}
