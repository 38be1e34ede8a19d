//! What a capture's close record says against the live one of the same end. Values must be the same; moments must be what the witness
//! of [`crate::wire::agreement`] asks for: the same where nothing lies between segment and event, else within the live record's bounds.

use core::fmt::{self, Display, Formatter};

use finwait_core::TcpState::{self, Close, CloseWait, Closing, FinWait1, FinWait2, LastAck};
use finwait_core::observation::SeenSegment;
use finwait_core::record::{CloseKind, CloseRecord, Dwell, Step, TransitionRecord, WaveTime};
use finwait_core::{Claim, ClockPair, MonoNs, Reason};

use crate::wire::agreement::{free, tolerance_ns, unsent};

/// A point in which the two differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Part of the record
    pub(crate) field: String,
    /// What the live record says
    pub(crate) live: String,
    /// What the capture's says
    pub(crate) capture: String,
    /// Figures, for whoever has to find out
    pub(crate) detail: String,
}

/// A live record, with what is needed to hold times against it.
pub(crate) struct Live<'a> {
    pub(crate) record: &'a CloseRecord,
    pub(crate) transitions: &'a [TransitionRecord],
    /// Both clocks at one moment of the run: a capture has wall time
    pub(crate) clocks: ClockPair,
}

const CLOSING: [TcpState; 5] = [FinWait1, FinWait2, CloseWait, Closing, LastAck];

/// Every point in which `captured` is not what `live` is. That it knows more is none.
pub(crate) fn differences(live: &Live<'_>, captured: &CloseRecord) -> Vec<Difference> {
    let (record, mut found) = (live.record, Vec::new());
    found.extend(value("role", record.role, captured.role));
    found.extend(value("kind", record.kind, captured.kind));
    found.extend(value("first closer", record.first_closer, captured.first_closer));
    found.extend(value("waves", record.waves, captured.waves));
    found.extend(value("outcome of the FIN", record.fin_outcome, captured.fin_outcome));
    found.extend(value("successor", record.successor, captured.successor));
    found.extend(value("bytes sent", record.bytes_sent, captured.bytes_sent));
    found.extend(value("bytes received", record.bytes_received, captured.bytes_received));
    found.extend(value("half-closed bytes", record.half_closed_bytes, captured.half_closed_bytes));
    let direction = |record: &CloseRecord| record.reset.map(|reset| reset.direction);
    match (direction(record), direction(captured)) {
        (Some(live), Some(captured)) => found.extend(value("reset", live, captured)),
        (Some(live), None) => found.push(difference("reset", &text(live), "none")),
        (None, Some(captured)) => found.push(difference("reset", "none", &text(captured))),
        (None, None) => {}
    }
    let waves = record.wave_times.waves.iter().zip(waves(record, captured)).enumerate();
    found.extend(waves.filter_map(|(index, (one, other))| {
        let moment = other.map(|time| live.mono(time.earliest));
        let within = |said: WaveTime, moment: MonoNs| {
            said.earliest <= moment.plus(tolerance_ns()) && moment <= said.latest.plus(tolerance_ns())
        };
        time(&format!("wave {}", index + 1), *one, moment, within)
    }));
    found.extend(record.steps.iter().filter_map(|step| moment(live, captured, *step)));
    found.extend(record.dwells.iter().filter_map(|dwell| span(live, captured, dwell)));
    found
}

/// Those of the capture, in the order in which the live record counts them.
fn waves(live: &CloseRecord, captured: &CloseRecord) -> [Claim<WaveTime>; 4] {
    let known = |segment: Option<SeenSegment>| match segment {
        Some(segment) => Claim::known(WaveTime::at(segment.at), []),
        None => Claim::Unknown(Reason::DidNotHappen),
    };
    match &captured.captured {
        Some(seen) if live.kind.value() == Some(&CloseKind::Simultaneous) => {
            [seen.own_fin, seen.peer_fin, seen.peer_fin_acked, seen.own_fin_acked].map(known)
        }
        _ => captured.wave_times.waves,
    }
}

impl Difference {
    /// The capture has no record of that end, or too many.
    pub(crate) fn no_record(complaint: &str) -> Self {
        let found = if complaint == "no close record" { "none" } else { complaint };
        difference("record", "one", found)
    }

    /// Field, what the live record says, what the capture's does.
    pub(crate) fn what(&self) -> (&str, &str, &str) {
        (&self.field, &self.live, &self.capture)
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { field, live, capture, detail } = self;
        write!(f, "{field} is {live} live and {capture} in the capture; {detail}")
    }
}

impl Live<'_> {
    /// CLOCK_MONOTONIC of a capture's moment.
    fn mono(&self, at: MonoNs) -> MonoNs {
        MonoNs(at.0.wrapping_sub(self.clocks.wall.0).wrapping_add(self.clocks.mono.0))
    }

    /// Nothing lies between this step and its segment.
    fn at_once(&self, step: Step) -> bool {
        match step.new {
            FinWait1 | LastAck => unsent(self.record, step.new) == Some(0),
            _ => free(self.record, self.transitions, step),
        }
    }
}

fn difference(field: &str, live: &str, capture: &str) -> Difference {
    Difference {
        field: field.to_owned(),
        live: live.to_owned(),
        capture: capture.to_owned(),
        detail: String::new(),
    }
}

fn text<T: Display>(claim: Claim<T>) -> String {
    match claim {
        Claim::Known { value, .. } => value.to_string(),
        Claim::Unknown(reason) => format!("unknown ({reason})"),
    }
}

fn value<T: Display + PartialEq + Copy>(
    field: &str,
    live: Claim<T>,
    captured: Claim<T>,
) -> Option<Difference> {
    let agree = live.value().is_none_or(|value| captured.value() == Some(value));
    (!agree).then(|| difference(field, &text(live), &text(captured)))
}

fn time<T: core::fmt::Debug + Copy>(
    field: &str,
    live: Claim<T>,
    captured: Claim<MonoNs>,
    agree: impl FnOnce(T, MonoNs) -> bool,
) -> Option<Difference> {
    let said = *live.value()?;
    match captured {
        Claim::Unknown(reason) => Some(difference(field, "known", &format!("unknown ({reason})"))),
        Claim::Known { value, .. } if agree(said, value) => None,
        Claim::Known { value, .. } => {
            let detail = format!("live {said:?}, captured {value:?}");
            Some(Difference { detail, ..difference(field, "known", "another time") })
        }
    }
}

/// Our FIN leaves after the step that queues it; what comes in has passed before the step that it makes.
fn moment(live: &Live<'_>, captured: &CloseRecord, step: Step) -> Option<Difference> {
    let same = |other: &&Step| (other.old, other.new) == (step.old, step.new);
    // A socket closed in FIN_WAIT2 is gone before the peer's FIN comes.
    let hidden = (step.old, step.new) == (FinWait2, Close) && live.record.successor.value().is_none();
    // A capture may know only that it was over by then.
    let over = step.new == Close && captured.closed_at.is_none();
    if step.old == step.new || hidden || over {
        return None;
    }
    let at = live.mono(captured.steps.iter().find(same)?.at);
    let came_again = captured.captured.as_ref().is_some_and(|seen| seen.peer_fins_again > 0);
    let agree = if came_again && matches!(step.new, CloseWait | Closing) {
        // Which of them came, only the end itself knows.
        step.at <= at.plus(tolerance_ns())
    } else if live.at_once(step) {
        at.0.abs_diff(step.at.0) <= tolerance_ns()
    } else if matches!(step.new, FinWait1 | LastAck | TcpState::SynSent) {
        step.at <= at.plus(tolerance_ns())
    } else {
        at <= step.at.plus(tolerance_ns())
    };
    let field = format!("{:?} to {:?}", step.old, step.new);
    let detail = format!("live {}, captured {}, at once: {}", step.at.0, at.0, live.at_once(step));
    (!agree).then(|| Difference { detail, ..difference(&field, "known", "another time") })
}

/// Time in a closing state, compared where each of its ends is the moment of its segment.
fn span(live: &Live<'_>, captured: &CloseRecord, dwell: &Dwell) -> Option<Difference> {
    let said = *dwell.duration_ns.value().filter(|_| CLOSING.contains(&dwell.state))?;
    let field = format!("time in {:?}", dwell.state);
    let Some(other) = captured.dwells.iter().find(|other| other.state == dwell.state) else {
        return Some(difference(&field, "known", "none"));
    };
    let ends = live.record.steps.iter().filter(|step| step.old != step.new);
    let at_once = ends
        .filter(|step| step.old == dwell.state || step.new == dwell.state)
        .all(|step| live.at_once(*step) || step.new == Close && step.old == dwell.state);
    let came_again = captured.captured.as_ref().is_some_and(|seen| seen.peer_fins_again > 0);
    if came_again && other.duration_ns.reason() == Some(Reason::NotInCapture) {
        return None;
    }
    let agree = |said: u64, ns: MonoNs| !at_once || ns.0.abs_diff(said) <= 2 * tolerance_ns();
    time(&field, Claim::known(said, []), other.duration_ns.map(MonoNs), agree)
}
