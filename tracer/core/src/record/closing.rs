//! Parts of a close record that tell how the close went: who caused it, when each wave passed, what was sent again.

use crate::claim::{Claim, named};
use crate::time::MonoNs;
use core::fmt;

named! {
    /// What began this end's share of the close.
    pub enum LocalCause {
        /// close()
        Close = "close",
        /// shutdown()
        Shutdown = "shutdown",
        /// The process exited without closing
        ProcessExit = "process_exit",
        /// The process was killed by a signal; see `exit_signal`
        ProcessKilled = "process_killed",
        /// A kernel thread, on somebody's behalf
        KernelThread = "kernel_thread",
        /// A timer of the kernel gave up
        KernelTimer = "kernel_timer",
        /// An administrator destroyed the socket
        Administrator = "administrator",
        /// The listener closed before the connection was accepted
        ListenerClosed = "listener_closed",
        /// connect(AF_UNSPEC)
        Disconnect = "disconnect",
    }
}

/// When a wave passed this end. Both bounds are the same where the event itself is the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaveTime {
    /// Not before
    pub earliest: MonoNs,
    /// Not after
    pub latest: MonoNs,
}

impl WaveTime {
    /// A moment that an event shows.
    #[must_use]
    pub fn at(moment: MonoNs) -> Self {
        Self { earliest: moment, latest: moment }
    }

    /// The moment, where it is known as one.
    #[must_use]
    pub fn exact(&self) -> Option<MonoNs> {
        (self.earliest == self.latest).then_some(self.earliest)
    }
}

/// The four waves of a close as they passed this end, sent or received: the first FIN, its ACK, the second FIN, its ACK. In
/// a simultaneous close they are our FIN, the peer's FIN, our ACK of that, the peer's ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaveTimes {
    /// The times
    pub waves: [Claim<WaveTime>; 4],
    /// Which one (1 to 4) came far later than the round trip explains, the slowest if several
    pub slow: Option<u8>,
}

/// How often segments were sent again while this end was closing, as far as their hook saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinRetransmits {
    /// Our FIN, by the retransmission timer
    pub by_timeout: u32,
    /// Our FIN, as a tail-loss probe
    pub by_probe: u32,
    /// Our FIN, for another reason
    pub by_recovery: u32,
    /// Data ahead of our FIN
    pub data: u32,
}

impl FinRetransmits {
    /// How often our FIN went again.
    #[must_use]
    pub fn fins(&self) -> u32 {
        self.by_timeout.saturating_add(self.by_probe).saturating_add(self.by_recovery)
    }
}

named! {
    /// What became of our FIN.
    pub enum FinOutcome {
        /// The peer acknowledged it
        Acknowledged = "acknowledged",
        /// The kernel gave up on it
        GivenUp = "given_up",
        /// A reset came first
        Reset = "reset",
        /// The socket was destroyed first
        Destroyed = "destroyed",
    }
}
