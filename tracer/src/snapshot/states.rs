//! Sets of TCP states, as a dump is asked for.

use finwait_core::TcpState;

/// A set of states; the bits are `idiag_states` of struct inet_diag_req_v2 (1 << state).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// Every connection: all but listeners, requests (NEW_SYN_RECV) and sockets that are closed.
    pub const CONNECTIONS: Self = Self::of(&[
        TcpState::Established,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::TimeWait,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::Closing,
    ]);
    /// What mini-sockets may be in, and FIN_WAIT2 of full ones.
    pub const TIME_WAIT: Self = Self::of(&[TcpState::TimeWait, TcpState::FinWait2]);
    /// Where a connection that is being closed can get stuck.
    pub const CLOSING: Self = Self::of(&[
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::Closing,
        TcpState::CloseWait,
        TcpState::LastAck,
    ]);

    /// The set of `states`.
    #[must_use]
    pub const fn of(states: &[TcpState]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < states.len() {
            bits |= 1 << states[at].raw();
            at += 1;
        }
        Self(bits)
    }

    /// Whether `state` is in it.
    #[must_use]
    pub const fn contains(self, state: TcpState) -> bool {
        self.0 & 1 << state.raw() != 0
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn bits(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_all_but_listeners_requests_and_the_closed() {
        let left_out: Vec<TcpState> =
            TcpState::ALL.into_iter().filter(|state| !States::CONNECTIONS.contains(*state)).collect();
        assert_eq!(left_out, [TcpState::Close, TcpState::Listen, TcpState::NewSynRecv]);
    }

    #[test]
    fn bits_are_those_of_the_kernel() {
        assert_eq!(States::TIME_WAIT.bits(), 1 << 6 | 1 << 5);
        assert_eq!(
            States::TIME_WAIT.and(States::of(&[TcpState::Established])).bits(),
            1 << 6 | 1 << 5 | 1 << 1
        );
    }
}
