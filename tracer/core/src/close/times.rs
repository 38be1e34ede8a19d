//! When each of the four waves passed this end.
//!
//! A transition shows when a segment was processed. A segment that found the socket held by a task waited in its backlog, so
//! then it may have come at any time since the event before. Our FIN leaves when it is queued, unless data waits
//! ahead of it, or a window is closed; then it has left by the time it is known to be acknowledged.

use tracer_common::TcpState;

use super::continuity::Continuity;
use super::kind::Ending;
use crate::claim::{Claim, Evidence, Reason};
use crate::record::{CloseKind, Dwell, Step, WaveTime, WaveTimes, Waves};
use crate::time::MonoNs;
use crate::tracker::{Connection, difference};

type Wave = Claim<WaveTime>;

pub(super) fn times(
    connection: &Connection,
    continuity: &Continuity,
    ending: &Ending,
    waves: &Claim<Waves>,
    dwells: &[Dwell],
) -> WaveTimes {
    let close = Close { connection, continuity, ending };
    let waves = match ending.kind.value() {
        Some(CloseKind::Active) => close.active(),
        Some(CloseKind::Passive) => close.passive(waves),
        Some(CloseKind::Simultaneous) => close.simultaneous(),
        // Our FIN was acknowledged, whatever became of the rest.
        None if ending.hidden_fin_wait2 => close.active(),
        Some(_) => close.cut_short(),
        None => [Claim::Unknown(ending.kind.reason().unwrap_or(Reason::NoKnownWay)); 4],
    };
    WaveTimes { waves, slow: slow(dwells) }
}

/// The wave that ended the slow state.
fn slow(dwells: &[Dwell]) -> Option<u8> {
    dwells.iter().find(|dwell| dwell.slow).and_then(|dwell| match dwell.state {
        TcpState::FinWait1 => Some(2),
        TcpState::FinWait2 | TcpState::CloseWait => Some(3),
        TcpState::Closing | TcpState::LastAck => Some(4),
        _ => None,
    })
}

struct Close<'a> {
    connection: &'a Connection,
    continuity: &'a Continuity,
    ending: &'a Ending,
}

impl Close<'_> {
    fn active(&self) -> [Wave; 4] {
        let sent = self.queued(TcpState::FinWait1);
        let acked = self.taken_in(TcpState::FinWait2);
        if self.ending.hidden_fin_wait2 {
            let hidden = Claim::Unknown(Reason::HiddenFinWait2);
            return [sent, acked, hidden, hidden];
        }
        let done = self.end_taken_in();
        [sent, acked, done, answered(done)]
    }

    fn passive(&self, waves: &Claim<Waves>) -> [Wave; 4] {
        let came = self.taken_in(TcpState::CloseWait);
        let sent = self.queued(TcpState::LastAck);
        let acked = match (waves.value(), came, self.entered(TcpState::LastAck)) {
            (Some(Waves::Three), ..) => sent,
            // It is sent later than the segment came, at the latest when our own FIN was queued.
            (Some(Waves::Four), Claim::Known { value, .. }, Some(to)) => between(value.earliest, self.at(to)),
            (Some(Waves::Four), Claim::Unknown(reason), _) => Claim::Unknown(reason),
            (Some(Waves::Four), _, None) => Claim::Unknown(self.continuity.missing_inside()),
            (None, ..) => Claim::Unknown(waves.reason().unwrap_or(Reason::NoKnownWay)),
        };
        [came, acked, sent, self.end_taken_in()]
    }

    fn simultaneous(&self) -> [Wave; 4] {
        let came = self.taken_in(TcpState::Closing);
        [self.queued(TcpState::FinWait1), came, answered(came), self.end_taken_in()]
    }

    /// A reset or a timeout ended it: what was seen before that stands.
    fn cut_short(&self) -> [Wave; 4] {
        let never = Claim::Unknown(Reason::DidNotHappen);
        let left = self.connection.end().map(|end| end.old);
        match left {
            Some(TcpState::FinWait1) => [self.queued(TcpState::FinWait1), never, never, never],
            Some(TcpState::FinWait2) => {
                [self.queued(TcpState::FinWait1), self.taken_in(TcpState::FinWait2), never, never]
            }
            Some(TcpState::Closing) => {
                let came = self.taken_in(TcpState::Closing);
                [self.queued(TcpState::FinWait1), came, answered(came), never]
            }
            Some(TcpState::CloseWait) => {
                [self.taken_in(TcpState::CloseWait), Claim::Unknown(Reason::NotVisible), never, never]
            }
            Some(TcpState::LastAck) => {
                let unseen = Claim::Unknown(Reason::NotVisible);
                [self.taken_in(TcpState::CloseWait), unseen, self.queued(TcpState::LastAck), never]
            }
            Some(_) => [never; 4],
            None => [Claim::Unknown(Reason::EndNotSeen); 4],
        }
    }

    /// Our FIN, queued when `state` was entered.
    fn queued(&self, state: TcpState) -> Wave {
        let Some(index) = self.entered(state) else {
            return Claim::Unknown(self.continuity.missing_inside());
        };
        let at = self.at(index);
        match self.connection.closing().fin_left_at_once {
            Some(true) => Claim::known(WaveTime::at(at), [Evidence::UnbrokenChain]),
            _ if self.never_left() => Claim::Unknown(Reason::DidNotHappen),
            Some(false) => {
                match self.connection.trace().iter().skip(index + 1).find(|t| self.shows_fin(t.step())) {
                    Some(later) => between(at, later.at),
                    None => Claim::Unknown(Reason::EndNotSeen),
                }
            }
            None => Claim::Unknown(Reason::FieldAbsent),
        }
    }

    /// Our FIN had left when `step` was made: it was acknowledged, or nothing was left to be sent.
    fn shows_fin(&self, step: Step) -> bool {
        match (step.old, step.new) {
            (old, new) if old == new => false,
            (_, TcpState::Closing) => self.connection.closing().unsent_at_closing_bytes == Some(0),
            _ => true,
        }
    }

    /// The connection ended in the state that our FIN's queueing began, with something still to be sent: the FIN is the last.
    fn never_left(&self) -> bool {
        self.connection.end().is_some_and(|end| {
            matches!(end.old, TcpState::FinWait1 | TcpState::LastAck)
                && difference(end.tcp.write_seq, end.tcp.snd_nxt) != Some(0)
        })
    }

    /// The segment that led to `state`.
    fn taken_in(&self, state: TcpState) -> Wave {
        match self.entered(state) {
            Some(index) => self.processed(index),
            None => Claim::Unknown(self.continuity.missing_inside()),
        }
    }

    fn end_taken_in(&self) -> Wave {
        match self.connection.trace().len().checked_sub(1) {
            Some(last) if self.connection.end().is_some() => self.processed(last),
            _ => Claim::Unknown(Reason::EndNotSeen),
        }
    }

    fn processed(&self, index: usize) -> Wave {
        let Some(trace) = self.connection.trace().get(index) else {
            return Claim::Unknown(Reason::EndNotSeen);
        };
        match (trace.owned, index.checked_sub(1).filter(|before| *before >= self.continuity.start)) {
            (Some(false), _) => Claim::known(WaveTime::at(trace.at), [Evidence::LockFree]),
            (Some(true), Some(before)) => between(self.at(before), trace.at),
            (Some(true), None) => Claim::Unknown(self.continuity.missing),
            (None, _) => Claim::Unknown(Reason::FieldAbsent),
        }
    }

    fn entered(&self, state: TcpState) -> Option<usize> {
        self.continuity.entered(state)
    }

    fn at(&self, index: usize) -> MonoNs {
        self.connection.trace()[index].at
    }
}

fn between(earliest: MonoNs, latest: MonoNs) -> Wave {
    if earliest > latest {
        return Claim::Unknown(Reason::TimeBackwards);
    }
    Claim::known(WaveTime { earliest, latest }, [Evidence::UnbrokenChain])
}

/// The peer's FIN is acknowledged as soon as it is processed (`tcp_fin`), so not before it came.
fn answered(came: Wave) -> Wave {
    came
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dwell(state: TcpState, slow: bool) -> Dwell {
        Dwell { state, duration_ns: Claim::known(1, []), unsent_bytes: None, slow }
    }

    #[test]
    fn the_slow_wave_is_the_one_that_ended_the_slow_state() {
        for (state, wave) in [
            (TcpState::FinWait1, Some(2)),
            (TcpState::FinWait2, Some(3)),
            (TcpState::CloseWait, Some(3)),
            (TcpState::LastAck, Some(4)),
            (TcpState::Closing, Some(4)),
            (TcpState::Established, None),
        ] {
            assert_eq!(slow(&[dwell(TcpState::Established, false), dwell(state, true)]), wave, "{state:?}");
        }
        assert_eq!(slow(&[dwell(TcpState::FinWait1, false)]), None);
    }
}
