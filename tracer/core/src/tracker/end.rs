//! The event that ended a connection: of it what its record is made from. Everything else was taken in when it came.

use tracer_common::TcpState;

use crate::id::{Cookie, Port};
use crate::observation::{CapturedClose, Shutdown, SockFlags, StateChange};
use crate::time::MonoNs;

/// See the module; names are those of [`StateChange`].
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at: MonoNs,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) linger_ns: Option<u64>,
    pub(crate) captured: Option<Box<CapturedClose>>,
    pub(crate) tcp: EndFields,
    pub(crate) err: Option<i32>,
    pub(crate) inet_sport: Option<Port>,
    pub(crate) num: Option<Port>,
    pub(crate) old: TcpState,
    pub(crate) lock_owned: Option<bool>,
    pub(crate) flags: Option<SockFlags>,
    pub(crate) shutdown: Option<Shutdown>,
}

/// Likewise of [`crate::observation::TcpFields`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndFields {
    pub(crate) clock_cache_ns: Option<u64>,
    pub(crate) bytes_acked: Option<u64>,
    pub(crate) bytes_received: Option<u64>,
    pub(crate) linger2: Option<i32>,
    pub(crate) snd_una: Option<u32>,
    pub(crate) snd_nxt: Option<u32>,
    pub(crate) write_seq: Option<u32>,
    pub(crate) rcv_nxt: Option<u32>,
    pub(crate) copied_seq: Option<u32>,
    pub(crate) srtt_us: Option<u32>,
    pub(crate) total_retrans: Option<u32>,
    pub(crate) retransmits: Option<u8>,
    pub(crate) probes_out: Option<u8>,
}

impl End {
    pub(super) fn of(change: &StateChange) -> Self {
        let tcp = &change.tcp;
        Self {
            at: change.at,
            cookie: change.cookie,
            linger_ns: change.linger_ns,
            captured: change.captured.clone(),
            tcp: EndFields {
                clock_cache_ns: tcp.clock_cache_ns,
                bytes_acked: tcp.bytes_acked,
                bytes_received: tcp.bytes_received,
                linger2: tcp.linger2,
                snd_una: tcp.snd_una,
                snd_nxt: tcp.snd_nxt,
                write_seq: tcp.write_seq,
                rcv_nxt: tcp.rcv_nxt,
                copied_seq: tcp.copied_seq,
                srtt_us: tcp.srtt_us,
                total_retrans: tcp.total_retrans,
                retransmits: tcp.retransmits,
                probes_out: tcp.probes_out,
            },
            err: change.err,
            inet_sport: change.inet_sport,
            num: change.num,
            old: change.old,
            lock_owned: change.lock_owned,
            flags: change.flags,
            shutdown: change.shutdown,
        }
    }
}
