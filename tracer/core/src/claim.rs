//! Claims: a value with the evidence that proves it, or unknown with the reason.

use core::fmt;

/// What is said of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim<T> {
    /// Proven by what was received.
    Known {
        /// The value
        value: T,
        /// What proves it
        evidence: EvidenceSet,
    },
    /// Not proven.
    Unknown(Reason),
}

impl<T> Claim<T> {
    /// `value`, proven by `evidence`.
    #[must_use]
    pub fn known<const N: usize>(value: T, evidence: [Evidence; N]) -> Self {
        Self::Known { value, evidence: EvidenceSet::of(evidence) }
    }

    /// The value, where it is known.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Known { value, .. } => Some(value),
            Self::Unknown(_) => None,
        }
    }

    /// Why the value is unknown.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Known { .. } => None,
            Self::Unknown(reason) => Some(*reason),
        }
    }

    /// What proves the value; nothing where it is unknown.
    #[must_use]
    pub fn evidence(&self) -> EvidenceSet {
        match self {
            Self::Known { evidence, .. } => *evidence,
            Self::Unknown(_) => EvidenceSet::default(),
        }
    }

    /// The same claim about another value.
    #[must_use]
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Claim<U> {
        match self {
            Self::Known { value, evidence } => Claim::Known { value: f(value), evidence },
            Self::Unknown(reason) => Claim::Unknown(reason),
        }
    }
}

macro_rules! named {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The stable name used in every output.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}
pub(crate) use named;

named! {
    /// One observed fact that a claim rests on.
    pub enum Evidence {
        /// CLOSE → SYN_SENT was seen
        SynSent = "syn_sent",
        /// LISTEN → SYN_RECV was seen: a child of a listener
        ListenerChild = "listener_child",
        /// SYN_SENT → SYN_RECV was seen: both ends opened
        SynCrossed = "syn_crossed",
        /// ESTABLISHED was entered
        Established = "established",
        /// The state that was left: it can only be reached one way
        StateLeft = "state_left",
        /// FIN_WAIT1 was entered: our FIN was queued, the peer's not received
        FinWait1 = "fin_wait1",
        /// FIN_WAIT2 was entered: our FIN was acknowledged
        FinWait2 = "fin_wait2",
        /// CLOSE_WAIT was entered: the peer's FIN came first
        CloseWait = "close_wait",
        /// CLOSING was entered: the peer's FIN came while ours was unacknowledged
        Closing = "closing",
        /// LAST_ACK was entered
        LastAck = "last_ack",
        /// SOCK_DONE: the peer's FIN was received
        SockDone = "sock_done",
        /// SOCK_DEAD: no descriptor referred to the socket
        SockDead = "sock_dead",
        /// Not SOCK_DEAD: the application still held the socket
        SockAlive = "sock_alive",
        /// sk_err was 0
        ErrNone = "err_none",
        /// sk_err was ECONNRESET
        ErrReset = "err_econnreset",
        /// sk_err was EPIPE
        ErrPipe = "err_epipe",
        /// sk_err was ECONNREFUSED
        ErrRefused = "err_econnrefused",
        /// sk_err was ETIMEDOUT, or a soft error that stands for it
        ErrTimedOut = "err_etimedout",
        /// sk_err was ECONNABORTED
        ErrAborted = "err_econnaborted",
        /// sk_err was another error
        ErrOther = "err_other",
        /// The task that ran held the socket's lock
        LockOwned = "lock_owned",
        /// Nobody held the socket's lock: softirq or timer
        LockFree = "lock_free",
        /// SO_LINGER with time 0
        LingerZero = "so_linger_0",
        /// Received data had not been read
        UnreadData = "unread_data",
        /// Neither direction was shut down
        ShutdownNone = "shutdown_none",
        /// Our direction alone was shut down
        ShutdownSend = "shutdown_send",
        /// Both directions were shut down
        ShutdownBoth = "shutdown_both",
        /// Two transitions were made by one received segment (equal tcp_clock_cache)
        SameSegment = "same_segment",
        /// Two transitions were made by different segments
        OtherSegment = "other_segment",
        /// The peer's FIN was not yet acknowledged (rcv_nxt past rcv_wup)
        AckPending = "ack_pending",
        /// The peer's FIN had been acknowledged already (rcv_nxt equal to rcv_wup)
        AckSent = "ack_sent",
        /// All we sent was acknowledged, the FIN included (snd_una equal to write_seq)
        AllAcked = "all_acked",
        /// Something we sent was not acknowledged
        Unacked = "unacked",
        /// Data waited to be sent ahead of our FIN (write_seq past snd_nxt)
        Unsent = "unsent",
        /// TCP_LINGER2 below 0
        Linger2Negative = "linger2_negative",
        /// Keepalive probes were unanswered
        ProbesOut = "probes_out",
        /// Retransmissions were unanswered
        Retransmits = "retransmits",
        /// No descriptor ever referred to the socket (no inode)
        NoInode = "no_inode",
        /// Sequence numbers and byte counts fit one connection from first to last event
        SameSequenceSpace = "same_sequence_space",
        /// Each old state was the last new one, and nothing was lost meanwhile
        UnbrokenChain = "unbroken_chain",
        /// The kernel sent a reset (tcp_send_reset)
        ResetSent = "reset_sent",
        /// The kernel sent none, and its hook lost nothing
        NoResetSent = "no_reset_sent",
        /// Every retransmission in the interval was seen
        RetransmitsSeen = "retransmits_seen",
        /// A process was seen accepting it (security_sock_graft)
        Accepted = "accepted",
        /// The task was on its way out
        TaskExiting = "task_exiting",
        /// A kernel thread held the socket
        KernelThread = "kernel_thread",
        /// The kernel's time-wait functions or timers were seen
        TimeWaitHook = "time_wait_hook",
        /// Dumps of the sockets showed it, and when it was gone
        SocketDump = "socket_dump",
        /// A later connection with the same addresses and ports
        SameTuple = "same_tuple",
        /// Segments in a packet capture show it; times are those at the capture point
        Captured = "captured",
    }
}

named! {
    /// Why something is not known.
    pub enum Reason {
        /// The connection was first seen after that moment
        SeenFromMiddle = "seen_from_middle",
        /// A transition of this connection is missing
        TransitionMissing = "transition_missing",
        /// Events were lost in an interval in which the answer could lie
        LossInInterval = "loss_in_interval",
        /// No hook in force shows it
        NotVisible = "not_visible",
        /// This kernel or tier does not have the field
        FieldAbsent = "field_absent",
        /// The socket was closed in FIN_WAIT2: what follows happens in a mini-socket, or was an abort
        HiddenFinWait2 = "hidden_fin_wait2",
        /// The peer's reset, or our own on data that came after close(): the trace point shows both alike
        ResetOrLateData = "reset_or_late_data",
        /// No error is set, but the close was not orderly: out of memory, too many orphans, a namespace's end
        AbortWithoutError = "abort_without_error",
        /// The evidence fits no known way to end
        NoKnownWay = "no_known_way",
        /// The end was not seen: the next connection of the socket came first
        EndNotSeen = "end_not_seen",
        /// Nobody did it: the kernel, on a segment or a timer
        NoTask = "no_task",
        /// The event times run backwards
        TimeBackwards = "time_backwards",
        /// It has not happened
        DidNotHappen = "did_not_happen",
        /// A hook beyond the transitions lost events in an interval in which the answer could lie
        HookLoss = "hook_loss",
        /// The kernel does not show its functions' addresses (kptr_restrict)
        SymbolsHidden = "symbols_hidden",
        /// It was still going on when the run ended, or when its place in the table was needed
        StillOpen = "still_open",
        /// It happened between two dumps of the sockets
        BetweenDumps = "between_dumps",
        /// Either close() or shutdown() of both directions: nothing that came later told them apart
        CloseOrShutdown = "close_or_shutdown",
        /// Both ends of the connection were seen, and they contradict each other
        EndsContradict = "ends_contradict",
        /// A packet capture does not show it
        NotInCapture = "not_in_capture",
    }
}

/// A set of [`Evidence`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EvidenceSet(u64);

const _: () = assert!(Evidence::ALL.len() <= 64);

impl EvidenceSet {
    /// The set of these.
    #[must_use]
    pub fn of<const N: usize>(evidence: [Evidence; N]) -> Self {
        evidence.into_iter().fold(Self::default(), Self::with)
    }

    /// This set and `evidence`.
    #[must_use]
    pub fn with(self, evidence: Evidence) -> Self {
        Self(self.0 | 1 << evidence as u8)
    }

    /// What is in this set or in `other`.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `evidence` is in it.
    #[must_use]
    pub fn contains(self, evidence: Evidence) -> bool {
        self.0 & 1 << evidence as u8 != 0
    }

    /// Those in it, in the order of the enum.
    pub fn iter(self) -> impl Iterator<Item = Evidence> {
        Evidence::ALL.iter().copied().filter(move |evidence| self.contains(*evidence))
    }
}
