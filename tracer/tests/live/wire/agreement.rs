//! What a close record says against what was on the wire. The only place where the two meet: a new claim that has
//! something to do with segments is compared here.

use finwait_core::TcpState::{self, Close, CloseWait, Closing, FinWait1, FinWait2, LastAck};
use finwait_core::record::{
    CloseKind, CloseRecord, FinOutcome, FinRetransmits, FirstCloser, ResetDirection, Step, Successor,
    TransitionRecord, WaveTime, Waves,
};
use finwait_core::{Claim, MonoNs};

use super::exchange::Exchange;
use super::tap::Way;

/// How far apart a moment in a record and the same moment on the wire may be where nothing lies between.
pub(crate) fn tolerance_ns() -> u64 {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // An emulated processor is some fifty times slower.
    if processor.contains("QEMU TCG") { 50_000_000 } else { 1_000_000 }
}

/// Every point in which `record`, with its `transitions`, and `wire` contradict each other.
pub(crate) fn contradictions(
    record: &CloseRecord,
    transitions: &[TransitionRecord],
    wire: &Exchange,
) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(first_closer(record, wire));
    found.extend(waves(record, wire));
    found.extend(reset(record, wire));
    found.extend(kind(record, wire));
    found.extend(wave_times(record, wire));
    found.extend(fin(record, wire));
    found.extend(half_closed(record, transitions, wire));
    for step in &record.steps {
        found.extend(time(record, transitions, *step, wire));
    }
    found
}

fn unless(agree: bool, what: impl FnOnce() -> String) -> Option<String> {
    (!agree).then(what)
}

fn first_closer(record: &CloseRecord, wire: &Exchange) -> Option<String> {
    let said = *record.first_closer.value()?;
    let first = wire.waves[0].map(|fin| fin.by);
    let agree = match said {
        FirstCloser::Local => first == Some(Way::Sent),
        FirstCloser::Peer => first == Some(Way::Received),
        FirstCloser::Both => wire.crossed,
    };
    unless(agree, || {
        format!("first closer {said}, but the first FIN was {first:?}, crossed {}", wire.crossed)
    })
}

fn waves(record: &CloseRecord, wire: &Exchange) -> Option<String> {
    let said = *record.waves.value()?;
    let segments = match said {
        Waves::Three => 3,
        Waves::Four => 4,
    };
    unless(wire.segments == Some(segments), || format!("{said} segments, on the wire {:?}", wire.segments))
}

fn reset(record: &CloseRecord, wire: &Exchange) -> Option<String> {
    let said = *record.reset.as_ref()?.direction.value()?;
    let by = match said {
        ResetDirection::Sent => Way::Sent,
        ResetDirection::Received => Way::Received,
    };
    unless(wire.reset(by), || format!("a reset {said}, on the wire {:?}", wire.resets))
}

fn kind(record: &CloseRecord, wire: &Exchange) -> Option<String> {
    let said = *record.kind.value()?;
    let (mine, theirs) = (wire.fin(Way::Sent).is_some(), wire.fin(Way::Received).is_some());
    let agree = match said {
        CloseKind::Active => mine,
        CloseKind::Passive | CloseKind::Simultaneous => mine && theirs,
        CloseKind::Reset => !wire.resets.is_empty(),
        CloseKind::Refused => wire.reset(Way::Received),
        CloseKind::ConnectTimedOut | CloseKind::ConnectCancelled | CloseKind::NoFreePort => {
            wire.resets.is_empty() && !mine
        }
        CloseKind::TimedOut => !wire.reset(Way::Received),
        CloseKind::Killed | CloseKind::ConnectFailed | CloseKind::Dropped => true,
    };
    unless(agree, || format!("kind {said}, on the wire {wire:?}"))
}

/// Each wave passed within its interval. In a simultaneous close the record counts our FIN, the peer's, our
/// acknowledgement, the peer's.
fn wave_times(record: &CloseRecord, wire: &Exchange) -> Vec<String> {
    let moments = if record.kind.value() == Some(&CloseKind::Simultaneous) {
        [
            wire.fin(Way::Sent),
            wire.fin(Way::Received),
            wire.peers_fin_acknowledged(),
            wire.own_fin_acknowledged(),
        ]
    } else {
        wire.waves.map(|wave| wave.map(|moment| moment.at))
    };
    let orderly = record
        .kind
        .value()
        .is_some_and(|kind| matches!(kind, CloseKind::Active | CloseKind::Passive | CloseKind::Simultaneous));
    // Where it is open whether there were three or four, so is when the second passed.
    let whole = orderly && record.successor.value().is_some() && record.waves.value().is_some();
    let pairs = record.wave_times.waves.iter().zip(moments).enumerate();
    let said = pairs.filter_map(|(index, (claim, moment))| wave(index + 1, claim, moment));
    let silent =
        record.wave_times.waves.iter().enumerate().filter(|(_, claim)| whole && claim.value().is_none());
    said.chain(silent.map(|(index, claim)| format!("wave {} left open: {:?}", index + 1, claim.reason())))
        .collect()
}

fn wave(number: usize, claim: &Claim<WaveTime>, moment: Option<MonoNs>) -> Option<String> {
    let said = claim.value()?;
    let within = |moment: MonoNs| {
        said.earliest <= moment.plus(tolerance_ns()) && moment <= said.latest.plus(tolerance_ns())
    };
    unless(moment.is_some_and(within), || format!("wave {number} {said:?}, on the wire {moment:?}"))
}

/// FINs that went again; and one that the peer acknowledged was acknowledged.
fn fin(record: &CloseRecord, wire: &Exchange) -> Vec<String> {
    let again = record.fin_retransmits.value().map(FinRetransmits::fins);
    let acknowledged = record.fin_outcome.value() == Some(&FinOutcome::Acknowledged);
    let counted = again.and_then(|fins| {
        unless(fins == wire.sent_again.0, || {
            format!("{fins} FINs sent again, on the wire {}", wire.sent_again.0)
        })
    });
    let reached = unless(!acknowledged || wire.own_fin_acknowledged().is_some(), || {
        format!("the FIN acknowledged, on the wire {wire:?}")
    });
    counted.into_iter().chain(reached).collect()
}

/// From the first FIN to the second. Compared where each event is the moment of its segment.
fn half_closed(record: &CloseRecord, transitions: &[TransitionRecord], wire: &Exchange) -> Option<String> {
    let said = *record.half_closed_ns.value()?;
    let on_wire = wire.waves[2].and_then(|second| second.at.since(wire.waves[0]?.at));
    let at_once = record.steps.iter().all(|step| match step.new {
        FinWait1 | LastAck => unsent(record, step.new) == Some(0),
        CloseWait | Close => free(record, transitions, *step),
        _ => true,
    });
    let agree = on_wire.is_some_and(|ns| !at_once || ns.abs_diff(said) <= 2 * tolerance_ns());
    unless(agree, || format!("half-closed for {said} ns, on the wire {on_wire:?}"))
}

/// Our FIN leaves after the step that queues it, at once where nothing waits ahead of it. What comes in is on the wire
/// before the step that it makes, at once where no task held the socket.
fn time(
    record: &CloseRecord,
    transitions: &[TransitionRecord],
    step: Step,
    wire: &Exchange,
) -> Option<String> {
    let event = event(record, step, wire)?;
    let (earlier, later, at_once) = match event {
        Event::Sent(at) => (step.at, at, unsent(record, step.new) == Some(0)),
        Event::Received(at) => (at, step.at, free(record, transitions, step)),
    };
    let apart = later.since(earlier);
    let agree = apart.is_some_and(|ns| !at_once || ns <= tolerance_ns());
    let (old, new) = (step.old, step.new);
    unless(agree, || {
        format!(
            "{old:?} to {new:?} at {}, on the wire {event:?}, at once: {at_once}, apart {apart:?} ns",
            step.at.0
        )
    })
}

/// What was on the wire because of a step, or made it.
#[derive(Clone, Copy, Debug)]
enum Event {
    Sent(MonoNs),
    Received(MonoNs),
}

fn event(record: &CloseRecord, step: Step, wire: &Exchange) -> Option<Event> {
    let orderly = |kinds: &[CloseKind]| record.kind.value().is_some_and(|kind| kinds.contains(kind));
    let time_wait = record.successor.value() == Some(&Successor::TimeWait);
    match (step.old, step.new) {
        (old, new) if old == new => None,
        (_, FinWait1 | LastAck) => wire.fin(Way::Sent).map(Event::Sent),
        (_, CloseWait | Closing) => wire.fin(Way::Received).map(Event::Received),
        (_, FinWait2) => wire.own_fin_acknowledged().map(Event::Received),
        (FinWait2, Close) if time_wait => wire.fin(Way::Received).map(Event::Received),
        (LastAck, Close) if orderly(&[CloseKind::Passive]) => {
            wire.own_fin_acknowledged().map(Event::Received)
        }
        (Closing, Close) if orderly(&[CloseKind::Simultaneous]) => {
            wire.own_fin_acknowledged().map(Event::Received)
        }
        _ => None,
    }
}

/// Bytes that were ahead of the FIN when `state` was entered.
pub(crate) fn unsent(record: &CloseRecord, state: TcpState) -> Option<u32> {
    record.dwells.iter().find(|dwell| dwell.state == state)?.unsent_bytes
}

/// No task held the socket, so that the segment was not put aside first.
pub(crate) fn free(record: &CloseRecord, transitions: &[TransitionRecord], step: Step) -> bool {
    let same = |seen: &&TransitionRecord| seen.conn_id == record.conn_id && seen.change.at == step.at;
    transitions.iter().find(same).is_some_and(|seen| seen.change.lock_owned == Some(false))
}
