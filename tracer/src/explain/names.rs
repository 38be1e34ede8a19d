//! The records' words in English, and how ends and processes are called.

use std::net::IpAddr;

use finwait_core::record::{CloseRecord, Endpoint, LocalCause, Owner, ResetCause, TimeWaitEnd, TimeoutCause};
use finwait_core::{Evidence, Reason};

use super::{Ground, Part};
use crate::sink::{human, safe};

/// Why something is not known.
pub(crate) const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::SeenFromMiddle => "it was first seen after that moment",
        Reason::TransitionMissing => "a transition of this connection is missing",
        Reason::LossInInterval => "events were lost in an interval in which the answer could lie",
        Reason::NotVisible => "no hook in force shows it",
        Reason::FieldAbsent => "this kernel or tier does not have the field",
        Reason::HiddenFinWait2 => {
            "it was closed in FIN_WAIT2, and what follows happens in a mini-socket, or was an abort"
        }
        Reason::ResetOrLateData => {
            "the peer's reset, or our own on data that came after close(): both look alike here"
        }
        Reason::AbortWithoutError => "no error is set, but the close was not orderly",
        Reason::NoKnownWay => "the evidence fits no known way to end",
        Reason::EndNotSeen => "the socket's next connection came before its end was seen",
        Reason::NoTask => "nobody did it: the kernel, on a segment or a timer",
        Reason::TimeBackwards => "the event times run backwards",
        Reason::DidNotHappen => "it did not happen",
        Reason::HookLoss => "a hook lost events in an interval in which the answer could lie",
        Reason::SymbolsHidden => "the kernel hides its functions' addresses (kptr_restrict)",
        Reason::StillOpen => "it was not over when the observation ended",
        Reason::BetweenDumps => "it happened between two listings of the sockets",
        Reason::CloseOrShutdown => "close(), or shutdown() of both directions: nothing told them apart",
        Reason::EndsContradict => "the two ends contradict each other",
        Reason::NotInCapture => "no captured packet shows it",
    }
}

/// What was observed.
pub(crate) const fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::SynSent => "CLOSE → SYN_SENT was seen",
        Evidence::ListenerChild => "LISTEN → SYN_RECV was seen",
        Evidence::SynCrossed => "SYN_SENT → SYN_RECV was seen",
        Evidence::Established => "ESTABLISHED was entered",
        Evidence::StateLeft => "a state was left that can only be reached one way",
        Evidence::FinWait1 => "FIN_WAIT1 was entered",
        Evidence::FinWait2 => "FIN_WAIT2 was entered",
        Evidence::CloseWait => "CLOSE_WAIT was entered",
        Evidence::Closing => "CLOSING was entered",
        Evidence::LastAck => "LAST_ACK was entered",
        Evidence::SockDone => "the peer's FIN was received (SOCK_DONE)",
        Evidence::SockDead => "no descriptor referred to the socket (SOCK_DEAD)",
        Evidence::SockAlive => "a descriptor still referred to the socket",
        Evidence::ErrNone => "no error on the socket",
        Evidence::ErrReset => "the socket's error was ECONNRESET",
        Evidence::ErrPipe => "the socket's error was EPIPE",
        Evidence::ErrRefused => "the socket's error was ECONNREFUSED",
        Evidence::ErrTimedOut => "the socket's error was ETIMEDOUT, or one that stands for it",
        Evidence::ErrAborted => "the socket's error was ECONNABORTED",
        Evidence::ErrOther => "the socket had another error",
        Evidence::LockOwned => "a task held the socket's lock",
        Evidence::LockFree => "nobody held the socket's lock: softirq or timer",
        Evidence::LingerZero => "SO_LINGER with time 0",
        Evidence::UnreadData => "received data had not been read",
        Evidence::ShutdownNone => "no direction was shut down",
        Evidence::ShutdownSend => "the sending direction alone was shut down",
        Evidence::ShutdownBoth => "both directions were shut down",
        Evidence::SameSegment => "one segment made both transitions",
        Evidence::OtherSegment => "different segments made the two transitions",
        Evidence::AckPending => "the peer's FIN was not acknowledged yet",
        Evidence::AckSent => "the peer's FIN was acknowledged already",
        Evidence::AllAcked => "everything sent was acknowledged, the FIN included",
        Evidence::Unacked => "something sent was not acknowledged",
        Evidence::Unsent => "data waited to be sent ahead of our FIN",
        Evidence::Linger2Negative => "TCP_LINGER2 was below 0",
        Evidence::ProbesOut => "keepalive probes were unanswered",
        Evidence::Retransmits => "retransmissions were unanswered",
        Evidence::NoInode => "no descriptor ever referred to the socket",
        Evidence::SameSequenceSpace => "sequence numbers fit one connection from first to last event",
        Evidence::UnbrokenChain => "each state left was the last one entered, and nothing was lost",
        Evidence::ResetSent => "the kernel was seen sending a reset",
        Evidence::NoResetSent => "the kernel sent no reset, and its hook lost nothing",
        Evidence::RetransmitsSeen => "every retransmission in the interval was seen",
        Evidence::Accepted => "a process was seen accepting it",
        Evidence::TaskExiting => "the task was on its way out",
        Evidence::KernelThread => "a kernel thread held the socket",
        Evidence::TimeWaitHook => "the kernel's time-wait functions or timers were seen",
        Evidence::SocketDump => "listings of the sockets showed it, and when it was gone",
        Evidence::SameTuple => "a later connection with the same addresses and ports",
        Evidence::Captured => "captured segments show it, at the capture point's times",
    }
}

pub(crate) const fn reset_cause(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::LingerZero => "close() with SO_LINGER 0",
        ResetCause::UnreadData => "close() with received data unread",
        ResetCause::Disconnect => "connect(AF_UNSPEC)",
        ResetCause::ListenerClosed => "the listener closed before it was accepted",
        ResetCause::Linger2 => "TCP_LINGER2 below 0",
        ResetCause::DataAfterClose => "data came after close()",
        ResetCause::Keepalive => "keepalive probes were not answered",
        ResetCause::Administrator => "an administrator destroyed the socket",
        ResetCause::Kernel => "another reason of the kernel's",
    }
}

pub(super) const fn timeout(cause: TimeoutCause) -> &'static str {
    match cause {
        TimeoutCause::Keepalive => "keepalive probes were not answered",
        TimeoutCause::Retransmission => "data was not acknowledged while the program held the socket",
        TimeoutCause::Orphan => "nothing was acknowledged after the program had closed",
    }
}

pub(crate) const fn time_wait_end(end: TimeWaitEnd) -> &'static str {
    match end {
        TimeWaitEnd::Expired => "2MSL over",
        TimeWaitEnd::FinWait2TimedOut => "given up: the peer's FIN never came",
        TimeWaitEnd::ReusedByConnect => "connect() took its place",
        TimeWaitEnd::ReusedBySyn => "a SYN took its place",
        TimeWaitEnd::ResetReceived => "ended by the peer's reset",
        TimeWaitEnd::LateData => "data came for it and was answered by a reset",
        TimeWaitEnd::Killed => "destroyed by an administrator",
        TimeWaitEnd::NamespaceGone => "its network namespace ended",
        TimeWaitEnd::NeverAllocated => "there was no room for it (tcp_max_tw_buckets, or memory)",
    }
}

/// `close() by curl/9120`; `None` where neither the call nor the process is known.
pub(crate) fn cause(close: &CloseRecord) -> Option<String> {
    let by = close.closer.value().map(owner);
    let program = || by.clone().unwrap_or_else(|| "the process".to_owned());
    let call = match close.cause.value() {
        Some(LocalCause::ProcessKilled) => {
            let signal = close.exit_signal.map_or_else(String::new, |signal| format!(" by signal {signal}"));
            return Some(format!("{} was killed{signal}", program()));
        }
        Some(LocalCause::ProcessExit) => return Some(format!("{} exited without closing", program())),
        Some(LocalCause::Close) => "close()",
        Some(LocalCause::Shutdown) => "shutdown()",
        Some(LocalCause::KernelThread) => "a kernel thread on somebody's behalf",
        Some(LocalCause::KernelTimer) => "a timer of the kernel",
        Some(LocalCause::Administrator) => "an administrator (ss -K)",
        Some(LocalCause::ListenerClosed) => "the listener closed",
        Some(LocalCause::Disconnect) => "connect(AF_UNSPEC)",
        None => return by.map(|by| format!("by {by}")),
    };
    Some(by.map_or_else(|| call.to_owned(), |by| format!("{call} by {by}")))
}

/// A process that is known to have had to do with this end.
pub(super) fn process(close: &CloseRecord) -> Option<String> {
    let known = [close.closer.value(), close.acceptor.value(), close.opener.value(), close.holder.as_ref()];
    known.into_iter().flatten().next().map(owner)
}

/// What that rests on.
pub(super) fn process_ground(part: Part, close: &CloseRecord) -> Option<Ground> {
    let claims = [("closer", &close.closer), ("acceptor", &close.acceptor), ("opener", &close.opener)];
    let known = claims.into_iter().find(|(_, claim)| claim.value().is_some());
    let claimed = known.map(|(name, claim)| Ground::claim(part, name, claim));
    claimed.or_else(|| Some(Ground::field(part, "holder", owner(close.holder.as_ref()?))))
}

/// `curl/9120`
pub(crate) fn owner(owner: &Owner) -> String {
    format!("{}/{}", safe(&owner.comm.to_string()), owner.tgid)
}

/// `10.0.0.5:443`, `[2001:db8::5]:443`; `?` for what is not known.
pub(crate) fn endpoint(end: Endpoint) -> String {
    let port = end.port.map_or_else(|| "?".to_owned(), |port| port.to_string());
    match end.addr {
        None if end.port.is_none() => "?".to_owned(),
        None => format!("?:{port}"),
        Some(IpAddr::V4(addr)) => format!("{addr}:{port}"),
        Some(IpAddr::V6(addr)) => format!("[{addr}]:{port}"),
    }
}

/// `512 bytes`, `18.4K bytes`
pub(super) fn bytes(bytes: u64) -> String {
    format!("{} {}", human::bytes(bytes), if bytes == 1 { "byte" } else { "bytes" })
}

/// `once`, `twice`, `3 times`
pub(super) fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        number => format!("{} times", human::count(number)),
    }
}

/// `3.1s`, `0.2s to 1.2s`
pub(super) fn span((min, max): (u64, u64)) -> String {
    let (least, most) = (human::duration(min), human::duration(max));
    if least == most { most } else { format!("{least} to {most}") }
}
