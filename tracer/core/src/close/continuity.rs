//! From which of its events on a connection is proven to be one and the same, and which neighbours are adjacent.

use tracer_common::TcpState;

use crate::claim::Reason;
use crate::record::Step;
use crate::time::MonoNs;
use crate::tracker::{Audit, Connection, STEPS, Space, Trace};

/// See the module.
#[derive(Debug)]
pub(crate) struct Continuity {
    /// Index of the first event that is proven to belong to the connection that ended.
    pub(crate) start: usize,
    /// The proven events begin with the connection's first transition.
    pub(crate) whole: bool,
    /// Why earlier events cannot be spoken for.
    pub(crate) missing: Reason,
    /// Places where an old state was not the last new one.
    pub(crate) chain_breaks: u32,
    /// How each event hangs on the one before, from the second on
    links: [Link; STEPS - 1],
    link_count: usize,
    /// Each of them is adjacent
    unbroken: bool,
    path: Path,
}

/// Which states the proven events went through.
#[derive(Debug)]
struct Path {
    /// Place of the event that entered the state first, by the state's number
    entered: [u8; STATES],
    /// States that some event shows as the new one, a bit each; the same state again included
    shown: u16,
    /// Those that some event shows as the old one
    left: u16,
}

const STATES: usize = TcpState::ALL.len() + 1;
const NEVER: u8 = u8::MAX;

impl Path {
    fn of(proven: &[Trace], start: usize) -> Self {
        let mut path = Self { entered: [NEVER; STATES], shown: 0, left: 0 };
        for (place, event) in (start as u8..).zip(proven) {
            path.shown |= bit(event.new);
            path.left |= bit(event.old);
            let entered = &mut path.entered[usize::from(event.new.raw())];
            if event.old != event.new && *entered == NEVER {
                *entered = place;
            }
        }
        path
    }
}

fn bit(state: TcpState) -> u16 {
    1 << state.raw()
}

/// How an event hangs on the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Nothing lies between
    Adjacent,
    /// The same connection, but transitions between are missing
    Missing,
    /// Something may lie between, even another connection's whole life
    Unproven(Reason),
}

impl Continuity {
    pub(crate) fn of(connection: &Connection, audit: &Audit, seen_until: MonoNs) -> Self {
        let trace = connection.trace();
        let mut links = [Link::Adjacent; STEPS - 1];
        let (mut link_count, mut chain_breaks, mut unbroken) = (0, 0, true);
        let (mut start, mut missing) = (0, Reason::SeenFromMiddle);
        for (place, pair) in links.iter_mut().zip(trace.windows(2)) {
            *place = link(&pair[0], &pair[1], audit, seen_until);
            link_count += 1;
            chain_breaks += u32::from(pair[0].new != pair[1].old);
            unbroken &= *place == Link::Adjacent;
            if let Link::Unproven(reason) = *place {
                (start, missing) = (link_count, reason);
            }
        }
        Self {
            start,
            whole: start == 0 && trace.first().is_some_and(|first| is_birth(first.step())),
            missing,
            chain_breaks,
            links,
            link_count,
            unbroken,
            path: Path::of(trace.get(start..).unwrap_or_default(), start),
        }
    }

    /// The events that are proven to belong together.
    pub(crate) fn proven<'a>(&self, connection: &'a Connection) -> impl Iterator<Item = &'a Trace> + use<'a> {
        connection.trace().iter().skip(self.start)
    }

    /// Place of the first of them that entered `state` from another.
    pub(crate) fn entered(&self, state: TcpState) -> Option<usize> {
        let place = self.path.entered[usize::from(state.raw())];
        (place != NEVER).then_some(place.into())
    }

    /// Whether one of them has `state` as its new one, be it the same as the old one.
    pub(crate) fn shows(&self, state: TcpState) -> bool {
        self.path.shown & bit(state) != 0
    }

    /// Whether one of them has `state` as its old one.
    pub(crate) fn leaves(&self, state: TcpState) -> bool {
        self.path.left & bit(state) != 0
    }

    /// Place of the one that queued our FIN.
    pub(crate) fn queued_fin(&self) -> Option<usize> {
        let (one, other) = (self.entered(TcpState::FinWait1), self.entered(TcpState::LastAck));
        one.into_iter().chain(other).min()
    }

    /// Why an event among the proven ones was not seen.
    pub(crate) fn missing_inside(&self) -> Reason {
        if self.chain_breaks > 0 { Reason::TransitionMissing } else { self.missing }
    }

    /// Why the time from event `from` to the later event `to` is not that of one state, if it is not.
    pub(crate) fn broken_between(&self, from: usize, to: usize) -> Option<Reason> {
        if self.unbroken {
            return None;
        }
        self.links[..self.link_count].get(from..to)?.iter().find_map(|link| match link {
            Link::Adjacent => None,
            Link::Missing => Some(Reason::TransitionMissing),
            Link::Unproven(reason) => Some(*reason),
        })
    }
}

/// A connection's first transition.
pub(crate) fn is_birth(step: Step) -> bool {
    matches!(
        (step.old, step.new),
        (TcpState::Close, TcpState::SynSent) | (TcpState::Listen, TcpState::SynRecv)
    )
}

/// Without a proof by numbers, an unbroken chain proves as much only if nothing was lost on the way: a descriptor may
/// have closed and connected again unseen. What lies past the last reading of the counters may have been lost.
fn link(one: &Trace, next: &Trace, audit: &Audit, seen_until: MonoNs) -> Link {
    let chained = one.new == next.old;
    let same = one.space == Space::Same && next.space == Space::Same;
    let (from, to) = (one.at, next.at);
    let lost = || audit.lost_between(from, to) || to > audit.covered_until() && to <= seen_until;
    match (chained, same) {
        (true, true) => Link::Adjacent,
        (false, true) => Link::Missing,
        (true, false) if lost() => Link::Unproven(Reason::LossInInterval),
        (true, false) => Link::Adjacent,
        (false, false) => Link::Unproven(Reason::TransitionMissing),
    }
}
