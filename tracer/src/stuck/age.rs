//! Since when a socket is in its state: bounds that are proven, never an estimate.
//!
//! What the kernel states of a socket proves this much, and nothing more:
//!
//! * FIN_WAIT2 begins with the acknowledgement of our FIN. tcp_ack() notes the time of every acceptable acknowledgement
//!   (tp->rcv_tstamp, `tcpi_last_ack_recv`), so it lies at or after the begin, and the state is at least that old.
//! * CLOSE_WAIT and CLOSING begin with the peer's FIN. It carries an acknowledgement too, but one that a later segment
//!   may have overtaken; then it is not noted. A segment lives at most MSL (RFC 9293, 3.4: 2 minutes), so the last noted
//!   acknowledgement is at most that much older than the state.
//! * FIN_WAIT1 and LAST_ACK begin with a call of the application: no time of the socket bounds it. A mini-socket has only
//!   the time it has left, of a timeout that each socket may have of its own.

use finwait_core::{MonoNs, TcpState};

use crate::snapshot::{Row, SocketKind};

/// Maximum segment lifetime, RFC 9293.
const MSL_NS: u64 = 120_000_000_000;
const MS: u64 = 1_000_000;

/// How long a socket has been in its state, at the moment when it was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// At least so many nanoseconds
    pub at_least_ns: u64,
    /// At most so many; `None` where its beginning was not watched
    pub at_most_ns: Option<u64>,
}

/// Between which moments a state was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entered {
    /// Not before; known where an earlier dump did not show the socket in this state
    pub(super) after: Option<MonoNs>,
    /// Not after
    pub(super) before: MonoNs,
}

impl Entered {
    /// Age of a socket that was seen at some moment between `begin` and `end`.
    pub(super) fn age(self, begin: MonoNs, end: MonoNs) -> Age {
        Age {
            at_least_ns: begin.since(self.before).unwrap_or(0),
            at_most_ns: self.after.and_then(|after| end.since(after)),
        }
    }
}

/// Age of the state of `row` that the kernel's own times prove at the moment of the dump, nanoseconds.
pub(super) fn stated_ns(row: &Row, jiffy_ns: u64) -> u64 {
    if row.kind != SocketKind::Full {
        return 0;
    }
    let margin = match row.state {
        TcpState::FinWait2 => 0,
        TcpState::CloseWait | TcpState::Closing => MSL_NS,
        _ => return 0,
    };
    // Both times that the kernel subtracts are whole jiffies, and the milliseconds may be rounded up.
    let since_ack = u64::from(row.last_ack_recv_ms.unwrap_or(0)) * MS;
    since_ack.saturating_sub(margin + jiffy_ns + MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stuck::samples_for_tests::row;

    const JIFFY_NS: u64 = 4 * MS;

    fn stated_ms(state: TcpState, last_ack_recv_ms: u32) -> u64 {
        stated_ns(&Row { last_ack_recv_ms: Some(last_ack_recv_ms), ..row(state) }, JIFFY_NS) / MS
    }

    #[test]
    fn fin_wait2_is_as_old_as_the_last_acknowledgement_to_a_jiffy() {
        assert_eq!(stated_ms(TcpState::FinWait2, 10_000), 9_995);
        assert_eq!(stated_ms(TcpState::FinWait2, 3), 0);
    }

    #[test]
    fn a_fin_may_have_been_overtaken_by_one_segment_lifetime() {
        for state in [TcpState::CloseWait, TcpState::Closing] {
            assert_eq!(stated_ms(state, 120_000), 0);
            assert_eq!(stated_ms(state, 150_000), 29_995);
        }
    }

    #[test]
    fn what_an_application_begins_no_time_of_the_socket_proves() {
        for state in [TcpState::FinWait1, TcpState::LastAck] {
            assert_eq!(stated_ms(state, 1_000_000), 0);
        }
        let mini = Row { kind: SocketKind::TimeWait, last_ack_recv_ms: None, ..row(TcpState::FinWait2) };
        assert_eq!(stated_ns(&mini, JIFFY_NS), 0);
        let untold = Row { last_ack_recv_ms: None, ..row(TcpState::FinWait2) };
        assert_eq!(stated_ns(&untold, JIFFY_NS), 0);
    }

    #[test]
    fn an_age_lies_between_the_dumps_that_bound_it() {
        let entered = Entered { after: Some(MonoNs(100)), before: MonoNs(250) };
        let age = Age { at_least_ns: 750, at_most_ns: Some(1_020) };
        assert_eq!(entered.age(MonoNs(1_000), MonoNs(1_120)), age);
        // Seen once: the dump that showed it first is the one that shows it now.
        let entered = Entered { after: None, before: MonoNs(1_120) };
        let age = Age { at_least_ns: 0, at_most_ns: None };
        assert_eq!(entered.age(MonoNs(1_000), MonoNs(1_120)), age);
    }
}
