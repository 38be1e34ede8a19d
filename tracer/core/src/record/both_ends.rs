//! The record of a connection within this host, of which both ends were seen. It says only what the two say together;
//! where they contradict each other it says that, and never which one is right.

use super::{CloseKind, CloseRecord, FirstCloser, WaveTime, Waves};
use crate::claim::{Claim, Reason, named};
use core::fmt;

/// Both ends of one connection.
#[derive(Clone, Debug, PartialEq)]
pub struct BothEnds {
    /// The end that asked for the connection; where both did, either
    pub opener_side: CloseRecord,
    /// The end that accepted it
    pub acceptor_side: CloseRecord,
}

named! {
    /// An end of a connection, as seen from outside.
    pub enum Side {
        /// The end that asked for the connection
        Opener = "opener",
        /// The end that accepted it
        Acceptor = "acceptor",
        /// Both
        Both = "both",
    }
}

named! {
    /// What two ends of one connection cannot both be right about.
    pub enum Contradiction {
        /// Which one sent the first FIN
        FirstCloser = "first_closer",
        /// Which part each had in an orderly close
        Kind = "kind",
        /// Three segments or four
        Waves = "waves",
        /// One saw more bytes acknowledged than the other received
        Bytes = "bytes",
    }
}

impl BothEnds {
    /// Which end sent the first FIN, where the ends that know it agree.
    #[must_use]
    pub fn first_closer(&self) -> Claim<Side> {
        let opener = self.opener_side.first_closer.map(|first| match first {
            FirstCloser::Local => Side::Opener,
            FirstCloser::Peer => Side::Acceptor,
            FirstCloser::Both => Side::Both,
        });
        let acceptor = self.acceptor_side.first_closer.map(|first| match first {
            FirstCloser::Local => Side::Acceptor,
            FirstCloser::Peer => Side::Opener,
            FirstCloser::Both => Side::Both,
        });
        combined(opener, acceptor, agreed)
    }

    /// Three segments or four, where the ends that know it agree: what goes on unseen at one may be plain at the other.
    #[must_use]
    pub fn waves(&self) -> Claim<Waves> {
        let same = |one: Waves, other: Waves| (one == other).then_some(one);
        combined(self.opener_side.waves, self.acceptor_side.waves, same)
    }

    /// Nanoseconds from queueing the first FIN at one end to its arrival at the other, at least and at most;
    /// retransmissions are in it. Unknown for FINs that crossed: there is no first one.
    #[must_use]
    pub fn first_wave_ns(&self) -> Claim<(u64, u64)> {
        let first = |record: &CloseRecord| record.wave_times.waves[0];
        let (opener, acceptor) = (first(&self.opener_side), first(&self.acceptor_side));
        match self.first_closer() {
            Claim::Known { value: Side::Opener, .. } => travelled(opener, acceptor),
            Claim::Known { value: Side::Acceptor, .. } => travelled(acceptor, opener),
            Claim::Known { value: Side::Both, .. } => Claim::Unknown(Reason::DidNotHappen),
            Claim::Unknown(reason) => Claim::Unknown(reason),
        }
    }

    /// What the two cannot both be right about, in the order of the enum.
    #[must_use]
    pub fn contradictions(&self) -> Vec<Contradiction> {
        let (opener, acceptor) = (&self.opener_side, &self.acceptor_side);
        Contradiction::ALL
            .iter()
            .copied()
            .filter(|contradiction| match contradiction {
                Contradiction::FirstCloser => self.first_closer().reason() == Some(Reason::EndsContradict),
                Contradiction::Kind => !kinds_fit(&opener.kind, &acceptor.kind),
                Contradiction::Waves => self.waves().reason() == Some(Reason::EndsContradict),
                Contradiction::Bytes => {
                    exceeds(&opener.bytes_sent, &acceptor.bytes_received)
                        || exceeds(&acceptor.bytes_sent, &opener.bytes_received)
                }
            })
            .collect()
    }
}

/// What both say, or the one that knows; unknown where they do not agree.
fn combined<T: Copy>(opener: Claim<T>, acceptor: Claim<T>, agree: fn(T, T) -> Option<T>) -> Claim<T> {
    match (opener, acceptor) {
        (Claim::Known { value: one, .. }, Claim::Known { value: other, .. }) => match agree(one, other) {
            Some(value) => Claim::Known { value, evidence: opener.evidence().union(acceptor.evidence()) },
            None => Claim::Unknown(Reason::EndsContradict),
        },
        (Claim::Unknown(_), known @ Claim::Known { .. }) => known,
        (opener, _) => opener,
    }
}

/// When FINs cross, one end alone may show CLOSING: the other's FIN was acknowledged before the peer's came. So "both" and
/// that other end agree.
fn agreed(by_opener: Side, by_acceptor: Side) -> Option<Side> {
    match (by_opener, by_acceptor) {
        (one, other) if one == other => Some(one),
        (Side::Both, Side::Acceptor) | (Side::Opener, Side::Both) => Some(Side::Both),
        _ => None,
    }
}

fn travelled(sent: Claim<WaveTime>, received: Claim<WaveTime>) -> Claim<(u64, u64)> {
    let (Claim::Known { value: left, .. }, Claim::Known { value: came, .. }) = (sent, received) else {
        return Claim::Unknown(sent.reason().or(received.reason()).unwrap_or(Reason::NotVisible));
    };
    let least = came.earliest.since(left.latest).unwrap_or(0);
    match came.latest.since(left.earliest) {
        Some(most) => {
            Claim::Known { value: (least, most), evidence: sent.evidence().union(received.evidence()) }
        }
        None => Claim::Unknown(Reason::TimeBackwards),
    }
}

/// Of two orderly ends one was active and the other passive, or their FINs crossed.
fn kinds_fit(opener: &Claim<CloseKind>, acceptor: &Claim<CloseKind>) -> bool {
    use CloseKind::{Active, Passive, Simultaneous};
    !matches!(
        (opener.value(), acceptor.value()),
        (Some(Active), Some(Active))
            | (Some(Passive), Some(Passive | Simultaneous))
            | (Some(Simultaneous), Some(Passive))
    )
}

fn exceeds(acknowledged: &Claim<u64>, received: &Claim<u64>) -> bool {
    matches!((acknowledged.value(), received.value()), (Some(acked), Some(received)) if acked > received)
}
