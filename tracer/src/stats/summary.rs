//! What one group comes to: counters and distributions. Summaries of the same group on two hosts add up without any loss.

use std::ops::Deref;
use std::sync::Arc;

use finwait_core::record::{
    CloseKind, CloseRecord, FirstCloser, ResetCause, ResetDirection, TimeWaitRecord, Waves,
};
use finwait_core::{Claim, ConnId, MonoNs, Reason, TcpState, WallNs};

use super::family::{Distribution, Exemplar};
use super::histogram::QUANTILE_FACTOR;

/// Closing states of which the time is kept.
pub const CLOSING_STATES: [TcpState; 6] = [
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::Closing,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::TimeWait,
];
/// An exemplar is the slowest of so long a time.
const EXEMPLAR_NS: u64 = 60_000_000_000;
/// The last slot of a table of words: the word is not known.
const KINDS: usize = CloseKind::ALL.len() + 1;
const FIRST_CLOSERS: usize = FirstCloser::ALL.len() + 1;
const CAUSES: usize = ResetCause::ALL.len() + 1;

/// A handshake that came to nothing.
pub const HANDSHAKE_FAILURES: [(CloseKind, &str); 5] = [
    (CloseKind::Refused, "refused"),
    (CloseKind::ConnectTimedOut, "timed_out"),
    (CloseKind::ConnectCancelled, "cancelled"),
    (CloseKind::NoFreePort, "no_free_port"),
    (CloseKind::ConnectFailed, "failed"),
];

/// A duration that summaries keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From the first transition to CLOSE
    Life,
    /// From SYN_SENT to ESTABLISHED
    Handshake,
    /// In a closing state, by its place in [`CLOSING_STATES`]
    State(usize),
}

impl Measure {
    /// How many there are.
    pub const COUNT: usize = 2 + CLOSING_STATES.len();

    /// Every one, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Life, Self::Handshake].into_iter().chain((0..CLOSING_STATES.len()).map(Self::State))
    }

    /// Its name in labels: a state's is the kernel's.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Life => "life",
            Self::Handshake => "handshake",
            Self::State(place) => CLOSING_STATES[place].name(),
        }
    }

    pub(super) fn place(self) -> usize {
        match self {
            Self::Life => 0,
            Self::Handshake => 1,
            Self::State(place) => 2 + place,
        }
    }

    pub(super) fn of_state(state: TcpState) -> Option<Self> {
        closing_place(state).map(Self::State)
    }
}

/// Place in [`CLOSING_STATES`].
pub(super) const fn closing_place(state: TcpState) -> Option<usize> {
    Some(match state {
        TcpState::FinWait1 => 0,
        TcpState::FinWait2 => 1,
        TcpState::Closing => 2,
        TcpState::CloseWait => 3,
        TcpState::LastAck => 4,
        TcpState::TimeWait => 5,
        _ => return None,
    })
}

const _: () = {
    let mut place = 0;
    while place < CLOSING_STATES.len() {
        assert!(matches!(closing_place(CLOSING_STATES[place]), Some(found) if found == place));
        place += 1;
    }
};

/// Durations whose length is not proven, by measure and reason. They are in no distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven([[u64; Reason::ALL.len()]; Measure::COUNT]);

impl Default for Unproven {
    fn default() -> Self {
        Self([[0; Reason::ALL.len()]; Measure::COUNT])
    }
}

impl Unproven {
    /// How many of `measure` were not proven for `reason`.
    #[must_use]
    pub fn count(&self, measure: Measure, reason: Reason) -> u64 {
        self.0[measure.place()][reason as usize]
    }

    fn add(&mut self, measure: Measure, reason: Reason) {
        self.0[measure.place()][reason as usize] += 1;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().flatten().zip(other.0.iter().flatten()).for_each(|(sum, more)| *sum += more);
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    kinds: [u64; KINDS],
    first_closers: [u64; FIRST_CLOSERS],
    resets_sent: [u64; CAUSES],
    /// Resets received
    pub resets_received: u64,
    /// Resets of which it is not known who sent them
    pub resets_unknown: u64,
    /// Closes in three segments, in four, and where that is not known
    pub segments: [u64; 3],
    /// FINs sent again by timeout, as a loss probe, for recovery
    pub fin_retransmits: [u64; 3],
    distributions: [Distribution; Measure::COUNT],
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            kinds: [0; KINDS],
            first_closers: [0; FIRST_CLOSERS],
            resets_sent: [0; CAUSES],
            resets_received: 0,
            resets_unknown: 0,
            segments: [0; 3],
            fin_retransmits: [0; 3],
            distributions: Default::default(),
        }
    }
}

/// A distribution of a summary that is shared with the aggregator, and never changed.
#[derive(Clone, Debug)]
pub struct SharedDistribution {
    summary: Arc<Summary>,
    measure: Measure,
}

impl SharedDistribution {
    /// The one of `measure` in `summary`.
    #[must_use]
    pub fn of(summary: &Arc<Summary>, measure: Measure) -> Self {
        Self { summary: summary.clone(), measure }
    }
}

impl Deref for SharedDistribution {
    type Target = Distribution;

    fn deref(&self) -> &Distribution {
        self.summary.distribution(self.measure)
    }
}

impl PartialEq for SharedDistribution {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Of nobody's summary.
impl From<Distribution> for SharedDistribution {
    fn from(distribution: Distribution) -> Self {
        let mut summary = Summary::default();
        summary.distributions[Measure::Life.place()] = distribution;
        Self { summary: Arc::new(summary), measure: Measure::Life }
    }
}

/// Where an unknown word is counted.
fn slot<T: Copy>(value: Option<T>, number: impl Fn(T) -> usize, unknown: usize) -> usize {
    value.map_or(unknown, number)
}

impl Summary {
    /// Closes of `kind`; `None` is unknown.
    #[must_use]
    pub fn closed(&self, kind: Option<CloseKind>) -> u64 {
        self.kinds[slot(kind, |kind| kind as usize, KINDS - 1)]
    }

    /// All closes.
    #[must_use]
    pub fn closes(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// Closes of which `first` sent the first FIN; `None` is unknown.
    #[must_use]
    pub fn first_closed(&self, first: Option<FirstCloser>) -> u64 {
        self.first_closers[slot(first, |first| first as usize, FIRST_CLOSERS - 1)]
    }

    /// Resets sent because of `cause`; `None` is unknown.
    #[must_use]
    pub fn resets_sent(&self, cause: Option<ResetCause>) -> u64 {
        self.resets_sent[slot(cause, |cause| cause as usize, CAUSES - 1)]
    }

    /// The distribution of `measure`.
    #[must_use]
    pub fn distribution(&self, measure: Measure) -> &Distribution {
        &self.distributions[measure.place()]
    }

    /// Adds what another host's summary of the same group holds.
    pub fn merge(&mut self, other: &Self) {
        let add = |sums: &mut [u64], more: &[u64]| {
            sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        };
        add(&mut self.kinds, &other.kinds);
        add(&mut self.first_closers, &other.first_closers);
        add(&mut self.resets_sent, &other.resets_sent);
        add(&mut self.segments, &other.segments);
        add(&mut self.fin_retransmits, &other.fin_retransmits);
        self.resets_received += other.resets_received;
        self.resets_unknown += other.resets_unknown;
        for (own, others) in self.distributions.iter_mut().zip(&other.distributions) {
            own.histogram.merge(&others.histogram);
            own.exemplars.extend(others.exemplars.iter().copied());
            own.keep_newest();
        }
    }

    /// Takes in a close. `mini_socket_follows`: a time-wait record will tell of the FIN_WAIT2 that went on in a mini-socket.
    pub(super) fn close(
        &mut self,
        close: &CloseRecord,
        wall: Option<WallNs>,
        unproven: &mut Arc<Unproven>,
        mini_socket_follows: bool,
    ) {
        self.kinds[slot(close.kind.value(), |kind| *kind as usize, KINDS - 1)] += 1;
        let first = slot(close.first_closer.value(), |first| *first as usize, FIRST_CLOSERS - 1);
        self.first_closers[first] += 1;
        self.reset(close);
        self.segments_of(close);
        if let Some(resent) = close.fin_retransmits.value() {
            let counts = [resent.by_timeout, resent.by_probe, resent.by_recovery];
            self.fin_retransmits.iter_mut().zip(counts).for_each(|(sum, more)| *sum += u64::from(more));
        }
        let mut note = Note { id: close.conn_id, at: close.last_seen_at, wall, unproven };
        self.take(Measure::Life, &close.life_ns, &mut note);
        self.take(Measure::Handshake, &close.handshake_ns, &mut note);
        for dwell in &close.dwells {
            let Some(measure) = Measure::of_state(dwell.state) else { continue };
            let told_later =
                mini_socket_follows && dwell.duration_ns.reason() == Some(Reason::HiddenFinWait2);
            if !told_later {
                self.take(measure, &dwell.duration_ns, &mut note);
            }
        }
    }

    /// Takes in what became of a time-wait socket. `hid_fin_wait2`: its close record left FIN_WAIT2 to this one.
    pub(super) fn time_wait(
        &mut self,
        record: &TimeWaitRecord,
        wall: Option<WallNs>,
        unproven: &mut Arc<Unproven>,
        hid_fin_wait2: bool,
    ) {
        let at = record.ended.value().map_or(MonoNs(record.conn_id.generation), |ended| ended.latest);
        let mut note = Note { id: record.conn_id, at, wall, unproven };
        if let (Some(measure), true) = (Measure::of_state(TcpState::FinWait2), hid_fin_wait2) {
            self.take(measure, &narrow(&record.fin_wait2_ns), &mut note);
        }
        if let Some(measure) = Measure::of_state(TcpState::TimeWait) {
            self.take(measure, &narrow(&record.time_wait_ns), &mut note);
        }
    }

    fn reset(&mut self, close: &CloseRecord) {
        // A refused connection is a failed handshake, though a capture shows the reset that refused it.
        let refused = close.kind.value() == Some(&CloseKind::Refused);
        let Some(reset) = close.reset.as_ref().filter(|_| !refused) else { return };
        match reset.direction.value() {
            Some(ResetDirection::Sent) => {
                self.resets_sent[slot(reset.cause.value(), |cause| *cause as usize, CAUSES - 1)] += 1;
            }
            Some(ResetDirection::Received) => self.resets_received += 1,
            None => self.resets_unknown += 1,
        }
    }

    /// Only of closes that exchanged FINs.
    fn segments_of(&mut self, close: &CloseRecord) {
        let orderly = matches!(
            close.kind.value(),
            Some(CloseKind::Active | CloseKind::Passive | CloseKind::Simultaneous)
        );
        match close.waves.value() {
            Some(Waves::Three) => self.segments[0] += 1,
            Some(Waves::Four) => self.segments[1] += 1,
            None if orderly => self.segments[2] += 1,
            None => {}
        }
    }

    fn take(&mut self, measure: Measure, claim: &Claim<u64>, note: &mut Note<'_>) {
        match claim {
            Claim::Known { value, .. } => {
                self.distributions[measure.place()].take(*value, note);
            }
            // There was no such time.
            Claim::Unknown(Reason::DidNotHappen) => {}
            Claim::Unknown(reason) => Arc::make_mut(note.unproven).add(measure, *reason),
        }
    }
}

/// A span as a duration, where its bounds are no further apart than those of a bucket.
pub(super) fn narrow(span: &Claim<(u64, u64)>) -> Claim<u64> {
    match *span {
        Claim::Known { value: (min, max), evidence } => {
            let within = max as f64 <= min as f64 * QUANTILE_FACTOR * QUANTILE_FACTOR;
            if within {
                Claim::Known { value: min.midpoint(max), evidence }
            } else {
                Claim::Unknown(Reason::BetweenDumps)
            }
        }
        Claim::Unknown(reason) => Claim::Unknown(reason),
    }
}

/// Of which connection a duration is.
struct Note<'a> {
    id: ConnId,
    at: MonoNs,
    wall: Option<WallNs>,
    unproven: &'a mut Arc<Unproven>,
}

impl Distribution {
    /// The slowest of the minute and of the one before are its exemplars.
    fn take(&mut self, ns: u64, note: &Note<'_>) {
        self.histogram.record(ns);
        let seconds = ns as f64 / 1e9;
        let exemplar = |at| Exemplar { conn_id: note.id, at, seconds, wall: note.wall };
        match self.exemplars.last_mut() {
            Some(slowest) if note.at.0.saturating_sub(slowest.at.0) < EXEMPLAR_NS => {
                if slowest.seconds < seconds {
                    *slowest = exemplar(slowest.at);
                }
            }
            _ => {
                self.exemplars.push(exemplar(note.at));
                self.keep_newest();
            }
        }
    }

    fn keep_newest(&mut self) {
        self.exemplars.sort_by_key(|exemplar| exemplar.at);
        let surplus = self.exemplars.len().saturating_sub(2);
        self.exemplars.drain(..surplus);
    }
}
