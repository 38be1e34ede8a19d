//! How one connection closed, as its segments at one end tell: who sent the first FIN or a reset, in how many segments,
//! and when. Times are those at which that end sent or received them.

use std::net::SocketAddr;

use finwait_core::MonoNs;

use super::segment::Segment;
use super::tap::{Seen, Way};

/// A segment that matters, and whether this end sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at: MonoNs,
    pub(crate) by: Way,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// The first FIN, its acknowledgement, the other end's FIN and its acknowledgement: each when it first went
    pub(crate) waves: [Option<Moment>; 4],
    /// Each reset
    pub(crate) resets: Vec<Moment>,
    /// Segments that the exchange of FINs took, those sent again not counted: 3 or 4
    pub(crate) segments: Option<u8>,
    /// Each FIN was sent before the other one was acknowledged
    pub(crate) crossed: bool,
    /// FINs sent again: by this end, by the peer as far as they came through
    pub(crate) sent_again: (u32, u32),
}

impl Exchange {
    /// What `seen` tells of the connection `local` → `remote` whose first SYN passed last before `until`.
    pub(crate) fn of(seen: &[Seen], local: SocketAddr, remote: SocketAddr, until: MonoNs) -> Self {
        let mine = |seen: &&Seen| match seen.way {
            Way::Sent => (seen.segment.from, seen.segment.to) == (local, remote),
            Way::Received => (seen.segment.from, seen.segment.to) == (remote, local),
        };
        let all: Vec<Seen> = seen.iter().filter(mine).copied().collect();
        Self::told_by(incarnation(&all, until))
    }

    fn told_by(seen: &[Seen]) -> Self {
        let is_fin = |seen: &&Seen| seen.segment.flags.fin;
        let first = seen.iter().find(is_fin);
        let second = first.and_then(|first| seen.iter().filter(is_fin).find(|fin| fin.way != first.way));
        let ack_of = |fin: Option<&Seen>| fin.and_then(|fin| acknowledgement(seen, fin));
        let (ack1, ack2) = (ack_of(first), ack_of(second));
        let crossed = second.is_some_and(|second| {
            let before_any_ack = ack1.is_none_or(|ack| second.at < ack.at);
            before_any_ack && first.is_some_and(|first| !second.segment.covers(first.segment.end_seq()))
        });
        let merged = |second: &Seen| ack1.is_some_and(|ack| ack.segment.flags.fin && ack.way == second.way);
        let again = |way: Way| {
            let fins = seen.iter().filter(is_fin).filter(|fin| fin.way == way).count();
            u32::try_from(fins.saturating_sub(1)).unwrap_or(u32::MAX)
        };
        Self {
            waves: [first, ack1, second, ack2].map(|seen| seen.map(moment)),
            resets: seen.iter().filter(|seen| seen.segment.flags.rst).map(moment).collect(),
            segments: second.map(|second| if !crossed && merged(second) { 3 } else { 4 }),
            crossed,
            sent_again: (again(Way::Sent), again(Way::Received)),
        }
    }

    /// The first FIN of this end (`Sent`) or of the peer (`Received`).
    pub(crate) fn fin(&self, by: Way) -> Option<MonoNs> {
        [self.waves[0], self.waves[2]].into_iter().flatten().find(|fin| fin.by == by).map(|fin| fin.at)
    }

    /// The first acknowledgement of this end's FIN.
    pub(crate) fn own_fin_acknowledged(&self) -> Option<MonoNs> {
        self.acknowledged(Way::Sent)
    }

    /// The first acknowledgement of the peer's FIN.
    pub(crate) fn peers_fin_acknowledged(&self) -> Option<MonoNs> {
        self.acknowledged(Way::Received)
    }

    fn acknowledged(&self, by: Way) -> Option<MonoNs> {
        let pairs = [(self.waves[0], self.waves[1]), (self.waves[2], self.waves[3])];
        let of_fin = pairs.into_iter().find(|(fin, _)| fin.is_some_and(|fin| fin.by == by));
        of_fin.and_then(|(_, ack)| ack).map(|ack| ack.at)
    }

    /// Whether a reset went that way.
    pub(crate) fn reset(&self, by: Way) -> bool {
        self.resets.iter().any(|reset| reset.by == by)
    }
}

fn moment(seen: &Seen) -> Moment {
    Moment { at: seen.at, by: seen.way }
}

/// The first segment from the other side that covers `fin`.
fn acknowledgement<'a>(seen: &'a [Seen], fin: &Seen) -> Option<&'a Seen> {
    let covering = |seen: &&Seen| seen.way != fin.way && seen.segment.covers(fin.segment.end_seq());
    seen.iter().filter(|seen| seen.at >= fin.at).find(covering)
}

/// The same two ends may have connected more than once: the connection that began last before `until`.
fn incarnation(seen: &[Seen], until: MonoNs) -> &[Seen] {
    let is_syn = |segment: &Segment| segment.flags.syn && !segment.flags.ack;
    let mut starts: Vec<usize> = Vec::new();
    let mut last = None;
    for (index, seen) in seen.iter().enumerate().filter(|(_, seen)| is_syn(&seen.segment)) {
        let syn = (seen.way, seen.segment.seq);
        // Sent again, or the other one of two that cross, it is no new connection.
        if last.is_none_or(|last: (Way, u32)| last.0 == syn.0 && last.1 != syn.1) {
            starts.push(index);
            last = Some(syn);
        }
    }
    let chosen = starts.iter().rposition(|start| seen.get(*start).is_some_and(|seen| seen.at <= until));
    let Some(chosen) = chosen else { return seen };
    let end = starts.get(chosen + 1).copied().unwrap_or(seen.len());
    starts.get(chosen).and_then(|start| seen.get(*start..end)).unwrap_or(seen)
}

#[cfg(test)]
mod tests {
    use super::super::segment::Flags;
    use super::*;

    fn ends() -> (SocketAddr, SocketAddr) {
        ("10.0.0.1:1000".parse().expect("address"), "10.0.0.2:80".parse().expect("address"))
    }

    /// `what`: some of S, F, R and A.
    fn seen(at: u64, way: Way, what: &str, seq: u32, ack: u32) -> Seen {
        let flags = Flags {
            fin: what.contains('F'),
            syn: what.contains('S'),
            rst: what.contains('R'),
            ack: what.contains('A'),
        };
        let (local, remote) = ends();
        let (from, to) = if way == Way::Sent { (local, remote) } else { (remote, local) };
        Seen { at: MonoNs(at), way, segment: Segment { from, to, flags, seq, ack, payload_bytes: 0 } }
    }

    fn told(seen: &[Seen]) -> Exchange {
        Exchange::of(seen, ends().0, ends().1, MonoNs(u64::MAX))
    }

    #[test]
    fn an_acknowledgement_that_rides_on_the_second_fin_makes_three_segments() {
        use Way::{Received, Sent};
        let three =
            [seen(1, Sent, "FA", 10, 50), seen(2, Received, "FA", 50, 11), seen(3, Sent, "A", 11, 51)];
        let exchange = told(&three);
        assert_eq!((exchange.segments, exchange.crossed), (Some(3), false));
        assert_eq!(
            exchange.waves.map(|wave| wave.map(|wave| wave.at.0)),
            [Some(1), Some(2), Some(2), Some(3)]
        );
        assert_eq!((exchange.fin(Sent), exchange.fin(Received)), (Some(MonoNs(1)), Some(MonoNs(2))));
        assert_eq!(exchange.own_fin_acknowledged(), Some(MonoNs(2)));
    }

    #[test]
    fn an_acknowledgement_of_its_own_makes_four() {
        use Way::{Received, Sent};
        let four = [
            seen(1, Received, "FA", 50, 10),
            seen(2, Sent, "A", 10, 51),
            seen(3, Sent, "FA", 10, 51),
            seen(4, Sent, "FA", 10, 51),
            seen(5, Received, "A", 51, 11),
        ];
        let exchange = told(&four);
        assert_eq!((exchange.segments, exchange.sent_again), (Some(4), (1, 0)));
        assert_eq!(exchange.waves[0], Some(Moment { at: MonoNs(1), by: Received }));
        assert_eq!(exchange.own_fin_acknowledged(), Some(MonoNs(5)));
    }

    #[test]
    fn fins_that_cross_are_told_from_a_fin_after_the_acknowledgement() {
        use Way::{Received, Sent};
        let crossed = [
            seen(1, Sent, "FA", 10, 50),
            seen(2, Received, "FA", 50, 10),
            seen(3, Sent, "A", 11, 51),
            seen(4, Received, "A", 51, 11),
        ];
        assert!(told(&crossed).crossed);
        let apart =
            [seen(1, Sent, "FA", 10, 50), seen(2, Received, "A", 50, 11), seen(3, Received, "FA", 50, 11)];
        assert!(!told(&apart).crossed);
    }

    #[test]
    fn each_connection_of_the_same_two_ends_is_told_apart() {
        use Way::{Received, Sent};
        let twice = [
            seen(1, Sent, "S", 1, 0),
            seen(2, Sent, "S", 1, 0),
            seen(3, Received, "R", 0, 2),
            seen(10, Sent, "S", 99, 0),
            seen(11, Sent, "FA", 100, 1),
        ];
        let (local, remote) = ends();
        assert!(Exchange::of(&twice, local, remote, MonoNs(9)).reset(Received));
        let second = Exchange::of(&twice, local, remote, MonoNs(20));
        assert_eq!((second.reset(Received), second.fin(Sent)), (false, Some(MonoNs(11))));
    }
}
