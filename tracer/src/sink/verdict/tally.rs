//! Counts over the records that were shown. What grows with the host's processes is bounded.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use finwait_core::observation::ReasonName;
use finwait_core::record::{
    CloseKind, CloseRecord, Endpoint, FinRetransmits, FirstCloser, Reset, ResetCause, ResetDirection,
    SeenFrom, TimeWaitEnd, TimeWaitRecord,
};
use finwait_core::{Claim, TcpState};

use crate::sink::{human, safe, table};

/// Senders of resets that are told apart; those beyond count as resets only.
const SENDERS: usize = 1024;
/// Reasons that are told apart. A kernel has some thirty; a recording may hold any.
const REASONS: usize = 128;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Transitions shown
    pub transitions: u64,
    /// Closes shown
    pub closes: u64,
    /// Closes by kind, `unknown` among them
    pub kinds: BTreeMap<&'static str, u64>,
    /// Closes by the end that sent the first FIN, `unknown` among them
    pub first: BTreeMap<&'static str, u64>,
    /// Closes by reset
    pub resets: Resets,
    /// The longest dwell that was marked as slow
    pub slowest: Option<Slowest>,
    /// Connections that were open before their first event was seen
    pub seen_from_middle: u64,
    /// FINs that went again
    pub fins: FinsResent,
    /// Ends of time-wait sockets, by why, `unknown` among them
    pub time_waits: BTreeMap<&'static str, u64>,
    /// Connections of which both ends were joined; each end is one of `closes`
    pub both_ends: u64,
    /// Closes that did not get their time to be joined, for want of room
    pub hurried: u64,
}

/// FINs that went again, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FinsResent {
    /// Closes with any
    pub closes: u64,
    /// FINs
    pub fins: u64,
}

impl FinsResent {
    /// `9 FINs sent again in 3 closes`
    #[must_use]
    pub fn for_people(&self) -> Option<String> {
        (self.fins > 0).then(|| {
            let fins = human::counted(self.fins, "FIN", "FINs");
            format!("{fins} sent again in {}", human::counted(self.closes, "close", "closes"))
        })
    }

    fn add(&mut self, record: &CloseRecord) {
        let fins = record.fin_retransmits.value().map_or(0, FinRetransmits::fins);
        self.fins += u64::from(fins);
        self.closes += u64::from(fins > 0);
    }
}

/// Closes by reset.
#[derive(Clone, Debug, Default)]
pub struct Resets {
    /// Sent by this end
    pub sent: u64,
    /// Sent by the peer
    pub received: u64,
    /// By either
    pub unknown: u64,
    /// By the kernel's name for why they were sent, where it is known
    pub reasons: BTreeMap<ReasonName, u64>,
    senders: HashMap<String, u64>,
}

impl Resets {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.sent + self.received + self.unknown
    }

    /// Who sent the most, and how many; of equals the first by name.
    #[must_use]
    pub fn top_sender(&self) -> Option<(&str, u64)> {
        let by_rank = |(name, sent): &(&String, &u64)| (**sent, std::cmp::Reverse((*name).clone()));
        self.senders.iter().max_by_key(by_rank).map(|(name, sent)| (name.as_str(), *sent))
    }

    /// `resets by reason: TCP_ABORT_ON_CLOSE 31, TCP_STATE 2`, most first; `None` where none is known.
    #[must_use]
    pub fn by_reason(&self) -> Option<String> {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), **name));
        let named: Vec<_> = reasons
            .iter()
            .map(|(name, count)| format!("{} {}", name.as_str(), human::count(**count)))
            .collect();
        (!named.is_empty()).then(|| format!("resets by reason: {}", named.join(", ")))
    }

    fn add_reason(&mut self, reset: &Reset) {
        let Some(reason) = reset.reason.value() else { return };
        if self.reasons.len() < REASONS || self.reasons.contains_key(reason) {
            *self.reasons.entry(*reason).or_default() += 1;
        }
    }

    fn add(&mut self, record: &CloseRecord) {
        let reset = record.reset.as_ref();
        match reset.and_then(|reset| reset.direction.value()) {
            Some(ResetDirection::Received) => self.received += 1,
            None => self.unknown += 1,
            Some(ResetDirection::Sent) => {
                self.sent += 1;
                self.add_sender(record, reset.and_then(|reset| reset.cause.value()));
            }
        }
    }

    fn add_sender(&mut self, record: &CloseRecord, cause: Option<&ResetCause>) {
        let Some(owner) = record.closer.value().or(record.opener.value()) else { return };
        let comm = owner.comm.to_string();
        let cause = cause.map_or("", |cause| match cause {
            ResetCause::LingerZero => " (SO_LINGER 0)",
            ResetCause::UnreadData => " (unread data)",
            ResetCause::Disconnect => " (disconnected)",
            ResetCause::ListenerClosed => " (listener closed)",
            ResetCause::Linger2 => " (TCP_LINGER2)",
            ResetCause::DataAfterClose => " (data after close)",
            ResetCause::Keepalive => " (keepalive)",
            ResetCause::Administrator | ResetCause::Kernel => "",
        });
        let name = format!("{}/{}{cause}", safe(&comm), owner.tgid);
        if self.senders.len() < SENDERS || self.senders.contains_key(&name) {
            *self.senders.entry(name).or_default() += 1;
        }
    }
}

/// The dwell that took longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowest {
    /// How long
    pub duration_ns: u64,
    /// In which state
    pub state: TcpState,
    /// Between whom: `curl → 10.0.0.7:8080`
    pub between: String,
}

impl fmt::Display for Slowest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duration = human::duration(self.duration_ns);
        write!(f, "slowest close {duration} in {} ({})", self.state.name(), self.between)
    }
}

impl Tally {
    /// Closes of a kind that could not be proven.
    #[must_use]
    pub fn unknown_kinds(&self) -> u64 {
        self.kinds.get("unknown").copied().unwrap_or(0)
    }

    pub(super) fn add_close(&mut self, record: &CloseRecord) {
        self.closes += 1;
        *self.kinds.entry(word(&record.kind, CloseKind::name)).or_default() += 1;
        *self.first.entry(word(&record.first_closer, FirstCloser::name)).or_default() += 1;
        if record.seen_from != SeenFrom::Handshake {
            self.seen_from_middle += 1;
        }
        if record.kind.value() == Some(&CloseKind::Reset) {
            self.resets.add(record);
        }
        // Others end with a reset too: dropped ones, and those that an administrator or a timer ended.
        record.reset.iter().for_each(|reset| self.resets.add_reason(reset));
        self.fins.add(record);
        self.note_slowest(record);
    }

    pub(super) fn add_time_wait(&mut self, record: &TimeWaitRecord) {
        *self.time_waits.entry(word(&record.end, TimeWaitEnd::name)).or_default() += 1;
    }

    /// `17 time-wait sockets ended: expired 15, reused_by_connect 2`; `None` where none did.
    #[must_use]
    pub fn time_waits(&self) -> Option<String> {
        let all: u64 = self.time_waits.values().sum();
        let ends: Vec<_> =
            self.time_waits.iter().map(|(end, count)| format!("{end} {}", human::count(*count))).collect();
        let sockets = human::counted(all, "time-wait socket", "time-wait sockets");
        (all > 0).then(|| format!("{sockets}: {}", ends.join(", ")))
    }

    /// `12 connections seen from both ends`
    #[must_use]
    pub fn joined(&self) -> Option<String> {
        let joined =
            format!("{} seen from both ends", human::counted(self.both_ends, "connection", "connections"));
        match (self.both_ends, self.hurried) {
            (0, 0) => None,
            (_, 0) => Some(joined),
            (_, hurried) => Some(format!("{joined} ({} had no room to wait)", human::count(hurried))),
        }
    }

    fn note_slowest(&mut self, record: &CloseRecord) {
        let Some(slow) = record.dwells.iter().find(|dwell| dwell.slow) else { return };
        let Claim::Known { value: duration_ns, .. } = slow.duration_ns else { return };
        if self.slowest.as_ref().is_none_or(|slowest| slowest.duration_ns < duration_ns) {
            self.slowest = Some(Slowest { duration_ns, state: slow.state, between: between(record) });
        }
    }
}

fn word<T: Copy>(claim: &Claim<T>, name: fn(T) -> &'static str) -> &'static str {
    claim.value().map_or("unknown", |value| name(*value))
}

fn between(record: &CloseRecord) -> String {
    let remote = table::endpoint(record.remote);
    match table::owner_of(record) {
        Some(owner) => format!("{} → {remote}", safe(&owner.comm.to_string())),
        None => format!("{} → {remote}", endpoint_port(record.local)),
    }
}

fn endpoint_port(end: Endpoint) -> String {
    end.port.map_or_else(|| "?".to_owned(), |port| format!(":{port}"))
}
