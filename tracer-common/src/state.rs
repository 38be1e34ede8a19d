//! TCP states with the kernel's numbers and spelling.

/// A state of a TCP socket, numbered as in the kernel (`include/net/tcp_states.h`, unchanged since 2.6; 12 since 4.4).
///
/// The trace point never reports `TimeWait` nor `NewSynRecv`: mini-sockets change state without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TcpState {
    /// TCP_ESTABLISHED
    Established = 1,
    /// TCP_SYN_SENT
    SynSent = 2,
    /// TCP_SYN_RECV
    SynRecv = 3,
    /// TCP_FIN_WAIT1
    FinWait1 = 4,
    /// TCP_FIN_WAIT2
    FinWait2 = 5,
    /// TCP_TIME_WAIT
    TimeWait = 6,
    /// TCP_CLOSE
    Close = 7,
    /// TCP_CLOSE_WAIT
    CloseWait = 8,
    /// TCP_LAST_ACK
    LastAck = 9,
    /// TCP_LISTEN
    Listen = 10,
    /// TCP_CLOSING
    Closing = 11,
    /// TCP_NEW_SYN_RECV
    NewSynRecv = 12,
}

impl TcpState {
    /// Every state, in the order of the kernel's numbers.
    pub const ALL: [TcpState; 12] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
    ];

    /// The state with the kernel's number `raw`, if there is one.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        if raw == 0 || raw as usize > Self::ALL.len() { None } else { Some(Self::ALL[raw as usize - 1]) }
    }

    /// The kernel's number.
    #[must_use]
    pub const fn raw(self) -> u8 {
        self as u8
    }

    /// The kernel's spelling, such as `FIN_WAIT1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait1 => "FIN_WAIT1",
            Self::FinWait2 => "FIN_WAIT2",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::Closing => "CLOSING",
            Self::NewSynRecv => "NEW_SYN_RECV",
        }
    }

    /// The short form used in the close strip: `FW1`, `CW`, `TW`; the full name where there is none.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::FinWait1 => "FW1",
            Self::FinWait2 => "FW2",
            Self::TimeWait => "TW",
            Self::CloseWait => "CW",
            Self::LastAck => "LA",
            Self::Closing => "CLG",
            Self::Established => "EST",
            other => other.name(),
        }
    }

    /// The state that the kernel spells `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}
