//! The four waves of the close, and the time that went by ahead of each.

use finwait_core::record::{
    CloseKind, CloseRecord, FinOutcome, FirstCloser, Successor, TimeWaitEnd, WaveTime, Waves,
};
use finwait_core::{Claim, Reason, TcpState};

use super::{Arrow, Far, Row, Way, dwell, entered, passed};
use crate::explain::Story;
use crate::explain::names::{self, bytes, cause, span, times};
use crate::sink::human;

/// Direction, segment and the state that it brings.
type Wave = (Way, &'static str, Option<TcpState>);

const fn waves(first: FirstCloser) -> [Wave; 4] {
    use TcpState::{Close, CloseWait, Closing, FinWait1, FinWait2, LastAck, TimeWait};
    use Way::{In, Out};
    match first {
        FirstCloser::Local => [
            (Out, "FIN", Some(FinWait1)),
            (In, "ACK", Some(FinWait2)),
            (In, "FIN", Some(TimeWait)),
            (Out, "ACK", None),
        ],
        FirstCloser::Peer => [
            (In, "FIN", Some(CloseWait)),
            (Out, "ACK", None),
            (Out, "FIN", Some(LastAck)),
            (In, "ACK", Some(Close)),
        ],
        FirstCloser::Both => [
            (Out, "FIN", Some(FinWait1)),
            (In, "FIN", Some(Closing)),
            (Out, "ACK", None),
            (In, "ACK", Some(TimeWait)),
        ],
    }
}

/// The state whose time goes by ahead of a wave.
const fn ahead(first: FirstCloser, index: usize) -> Option<TcpState> {
    match (first, index) {
        (FirstCloser::Local | FirstCloser::Both, 1) => Some(TcpState::FinWait1),
        (FirstCloser::Local, 2) => Some(TcpState::FinWait2),
        (FirstCloser::Peer, 2) => Some(TcpState::CloseWait),
        (FirstCloser::Peer, 3) => Some(TcpState::LastAck),
        (FirstCloser::Both, 3) => Some(TcpState::Closing),
        _ => None,
    }
}

/// The name of each wave.
const NUMBERS: [&str; 4] = ["1", "2", "3", "4"];

pub(super) fn rows(story: &Story<'_>) -> Vec<Row> {
    let close = story.close;
    let Some(first) = close.first_closer.value().copied() else {
        return undirected(close).into_iter().map(Row::Arrow).collect();
    };
    let three = close.waves.value() == Some(&Waves::Three) && first != FirstCloser::Both;
    let mut rows = Vec::new();
    for index in 0..4 {
        // In three segments nothing passes between the second wave and the third.
        let merged = three && first == FirstCloser::Local && index == 2;
        if let Some(state) = ahead(first, index).filter(|_| !merged) {
            rows.extend(gap(story, first, state));
        }
        let Some(arrow) = wave(story, first, index) else { continue };
        match (three, index) {
            (true, 1) => {}
            (true, 2) => rows.push(Row::Arrow(joined(close, arrow))),
            _ => rows.push(Row::Arrow(arrow)),
        }
        rows.extend((index == 1).then(|| handed_over(close)).flatten());
    }
    if first == FirstCloser::Both { crossed(rows) } else { rows }
}

/// A socket that nobody holds goes on in FIN_WAIT2 as a mini-socket.
fn handed_over(close: &CloseRecord) -> Option<Row> {
    let hidden = close.kind.value() == Some(&CloseKind::Active)
        && close.successor.reason() == Some(Reason::HiddenFinWait2);
    let text = "the socket is gone; a mini-socket goes on in FIN_WAIT2".to_owned();
    hidden.then(|| Row::Point { at: close.closed_at.map(WaveTime::at), state: "CLOSE", text })
}

/// Of a close of which not even the direction is known.
fn undirected(close: &CloseRecord) -> Option<Arrow> {
    let mut reasons = close.wave_times.waves.iter().filter_map(Claim::reason);
    let open = reasons.find(|reason| *reason != Reason::DidNotHappen)?;
    let reason = close.first_closer.reason().unwrap_or(open);
    if reason == Reason::DidNotHappen {
        return None;
    }
    let notes = vec!["who closed first is not known".to_owned()];
    Some(Arrow { notes, unknown: Some(names::reason(reason)), ..Arrow::new(Way::Unknown, "FIN") })
}

/// `None` where the wave never was.
fn wave(story: &Story<'_>, first: FirstCloser, index: usize) -> Option<Arrow> {
    let close = story.close;
    let (way, label, state) = waves(first)[index];
    let mut arrow = Arrow {
        waves: NUMBERS[index],
        state: state_after(close, state),
        slow: close.wave_times.slow == Some(index as u8 + 1),
        far: story.peer.and_then(|peer| far(first, peer, index)),
        ..Arrow::new(way, label)
    };
    match &close.wave_times.waves[index] {
        Claim::Known { value, .. } => arrow.at = Some(*value),
        Claim::Unknown(Reason::DidNotHappen) => return None,
        Claim::Unknown(Reason::HiddenFinWait2) => from_mini_socket(story, index, &mut arrow)?,
        Claim::Unknown(reason) => arrow.unknown = Some(names::reason(*reason)),
    }
    match (label, way) {
        ("FIN", Way::Out) => arrow.notes.extend(fin_notes(close)),
        ("FIN", _) if arrow.far.is_some() => {
            arrow.notes.extend(story.peer.map(fin_notes).unwrap_or_default());
        }
        _ => {}
    }
    Some(arrow)
}

/// Only a state that was seen.
fn state_after(close: &CloseRecord, state: Option<TcpState>) -> Option<TcpState> {
    match state? {
        TcpState::TimeWait => {
            (close.successor.value() == Some(&Successor::TimeWait)).then_some(TcpState::TimeWait)
        }
        TcpState::Close => {
            (close.fin_outcome.value() == Some(&FinOutcome::Acknowledged)).then_some(TcpState::Close)
        }
        state => passed(close, state).then_some(state),
    }
}

/// What the time-wait record knows of the peer's FIN and our ACK; `None` where they never were.
fn from_mini_socket(story: &Story<'_>, index: usize, arrow: &mut Arrow) -> Option<()> {
    let hidden = names::reason(Reason::HiddenFinWait2);
    let Some(left) = story.time_wait else {
        arrow.unknown = Some(hidden);
        return Some(());
    };
    match &left.entered {
        Claim::Known { value, .. } => {
            arrow.at = Some(*value);
            if index == 2 {
                arrow.state = Some(TcpState::TimeWait);
                arrow.notes.push("seen by its time-wait socket".to_owned());
            }
        }
        Claim::Unknown(Reason::DidNotHappen) => return None,
        Claim::Unknown(reason) => arrow.unknown = Some(names::reason(*reason)),
    }
    Some(())
}

/// Who sent our FIN and how, and how often it went again.
fn fin_notes(close: &CloseRecord) -> Vec<String> {
    let mut notes: Vec<String> = cause(close).into_iter().collect();
    let unsent = close.dwells.iter().find_map(|dwell| dwell.unsent_bytes).filter(|unsent| *unsent > 0);
    notes.extend(
        unsent.map(|unsent| format!("{} were still to be sent ahead of it", bytes(u64::from(unsent)))),
    );
    if let Some(again) = close.fin_retransmits.value().filter(|again| again.fins() > 0) {
        let how = [
            (again.by_timeout, "by timeout"),
            (again.by_probe, "by probe"),
            (again.by_recovery, "by recovery"),
        ];
        let how: Vec<String> = how
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, by)| format!("{number} {by}"))
            .collect();
        notes.push(format!("sent again {} ({})", times(u64::from(again.fins())), how.join(", ")));
    }
    notes
}

/// The peer's wave that is the same segment, where both ends say who was first.
fn far(first: FirstCloser, peer: &CloseRecord, index: usize) -> Option<Far> {
    let (mirror, there) = match first {
        FirstCloser::Local => (FirstCloser::Peer, index),
        FirstCloser::Peer => (FirstCloser::Local, index),
        FirstCloser::Both => (FirstCloser::Both, [1, 0, 3, 2][index]),
    };
    if peer.first_closer.value() != Some(&mirror) {
        return None;
    }
    let at = peer.wave_times.waves[there].value().copied();
    let state = state_after(peer, waves(mirror)[there].2);
    (at.is_some() || state.is_some()).then_some(Far { at, state })
}

/// The other end when it entered `state`.
pub(super) fn far_of_state(peer: &CloseRecord, state: TcpState) -> Option<Far> {
    entered(peer, state).map(|at| Far { at: Some(at), state: Some(state) })
}

/// The second and the third wave as the one segment that they were.
fn joined(close: &CloseRecord, mut arrow: Arrow) -> Arrow {
    arrow.label = "FIN, ACK";
    arrow.waves = "2+3";
    arrow.notes.push("waves 2 and 3 in one segment: three in all".to_owned());
    arrow.slow |= close.wave_times.slow == Some(2);
    // Both transitions were made by the one segment: the first of them is when it came.
    if let Some(second) = close.wave_times.waves[1].value() {
        arrow.at = Some(WaveTime {
            earliest: second.earliest,
            latest: arrow.at.map_or(second.latest, |third| third.latest.min(second.latest)),
        });
    }
    arrow
}

/// The two FINs of a simultaneous close as the pair of arrows that they were.
fn crossed(rows: Vec<Row>) -> Vec<Row> {
    let (mut sent, mut came, mut text) = (None, None, None);
    let mut rest = Vec::new();
    for row in rows {
        match row {
            Row::Arrow(arrow) if arrow.waves == "1" => sent = Some(arrow),
            Row::Arrow(arrow) if arrow.waves == "2" => came = Some(arrow),
            Row::Gap { text: between, .. } if sent.is_some() && came.is_none() => text = Some(between),
            row => rest.push(row),
        }
    }
    let mut rows = match (sent, came) {
        (Some(sent), Some(came)) => vec![Row::Cross { sent, came, text }],
        (sent, came) => sent.into_iter().chain(came).map(Row::Arrow).collect(),
    };
    rows.append(&mut rest);
    rows
}

/// The acknowledgement of our FIN came with the peer's.
fn came_as_one(close: &CloseRecord) -> bool {
    close.waves.value() == Some(&Waves::Three)
}

/// Time in a state, ahead of the wave that ended it.
fn gap(story: &Story<'_>, first: FirstCloser, state: TcpState) -> Option<Row> {
    let dwell = dwell(story.close, state)?;
    let mini = story.time_wait.filter(|_| state == TcpState::FinWait2);
    let endless = mini.is_some_and(|mini| mini.end.value() == Some(&TimeWaitEnd::FinWait2TimedOut));
    let in_mini = mini.and_then(|mini| mini.fin_wait2_ns.value()).map(|ns| span(*ns));
    let took = dwell.duration_ns.value().map(|ns| human::duration(*ns)).or(in_mini);
    let what = match (endless, first) {
        (true, _) => "the peer's FIN never came",
        (_, FirstCloser::Both) if state == TcpState::FinWait1 => "until the peer's FIN came",
        (_, FirstCloser::Local) if state == TcpState::FinWait1 && !dwell.slow && came_as_one(story.close) => {
            "until one segment brought ACK and FIN"
        }
        _ => meaning(state, dwell.slow),
    };
    let text = match (took, dwell.duration_ns.reason()) {
        (Some(took), _) => format!("{took} in {}: {what}", state.name()),
        // Why it is hidden is said at the wave that would have ended it.
        (None, Some(Reason::HiddenFinWait2) | None) => format!("unknown time in {}", state.name()),
        (None, Some(reason)) => format!("unknown time in {}: {}", state.name(), names::reason(reason)),
    };
    Some(Row::Gap { text, slow: dwell.slow || endless })
}

const fn meaning(state: TcpState, slow: bool) -> &'static str {
    match (state, slow) {
        (TcpState::FinWait2, false) => "the peer's half was still open",
        (TcpState::FinWait2, true) => "the peer kept its half open",
        (TcpState::CloseWait, false) => "our half was still open",
        (TcpState::CloseWait, true) => "our program kept its half open",
        (_, false) => "our FIN under way, and its acknowledgement",
        (_, true) => "our FIN was not acknowledged",
    }
}
