//! Which events are missing: by the numbers in each stream, and by the source's counters.
//!
//! A loss is an interval of time in which an event of any connection may have gone by unseen.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::observation::{Counters, Stream};
use crate::time::MonoNs;

/// Intervals kept apart; older ones are merged, which can only make more claims unknown.
const INTERVALS: usize = 1024;

/// Events between `from` and `to` may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loss {
    from: MonoNs,
    to: MonoNs,
}

/// The losses known so far, and until when all of them are known.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    since: MonoNs,
    streams: HashMap<Stream, (u64, MonoNs)>,
    losses: VecDeque<Loss>,
    counters: Counters,
    /// Most transitions so far that neither program reported
    unrescued: u64,
    gaps: u64,
}

impl Audit {
    pub(crate) fn begin(&mut self, since: MonoNs) {
        self.since = since;
        self.counters.at = self.counters.at.max(since);
    }

    /// Numbers missing before `change` in its stream become a loss.
    pub(crate) fn number(&mut self, stream: Stream, seq: u64, at: MonoNs) {
        let (last_seq, last_at) = self.streams.get(&stream).copied().unwrap_or((0, self.since));
        if seq <= last_seq {
            return;
        }
        let missing = seq - last_seq - 1;
        if missing > 0 {
            self.gaps = self.gaps.saturating_add(missing);
            self.add(last_at, at);
        }
        self.streams.insert(stream, (seq, at));
    }

    pub(crate) fn hook_lost_between(&self, _from: MonoNs, _to: MonoNs) -> bool {
        self.gaps > 0
    }

    /// Losses that the counters know of and no number has shown yet lie somewhere since they were last read.
    /// `duplicates` of what the shadow reported so far rescued nothing.
    pub(crate) fn count(&mut self, now: &Counters, duplicates: u64) {
        let before = self.counters;
        let missing = |c: &Counters| c.lost_ring.saturating_add(c.decode_errors);
        let unlocated = missing(now) > missing(&before).max(self.gaps);
        let rescued = now.rescued.unwrap_or(0).saturating_sub(duplicates);
        let unrescued = now.recursion_missed.unwrap_or(0).saturating_sub(rescued);
        if unlocated || unrescued > self.unrescued {
            self.add(before.at, now.at);
        }
        self.unrescued = self.unrescued.max(unrescued);
        self.counters = *now;
    }

    /// Whether an event between `from` and `to` may be missing, as far as is known now. The ends of a loss were received
    /// themselves, and what is missing lies between them.
    pub(crate) fn lost_between(&self, from: MonoNs, to: MonoNs) -> bool {
        self.losses.iter().any(|loss| loss.from < to && from < loss.to)
    }

    /// Whether every loss up to `at` is known.
    pub(crate) fn covers(&self, at: MonoNs) -> bool {
        self.counters.at >= at
    }

    /// Until when every loss is known.
    pub(crate) fn covered_until(&self) -> MonoNs {
        self.counters.at
    }

    pub(crate) fn gaps(&self) -> u64 {
        self.gaps
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    fn add(&mut self, from: MonoNs, to: MonoNs) {
        let loss = Loss { from: from.min(to), to: from.max(to) };
        if let Some(last) = self.losses.back_mut()
            && last.from <= loss.to
            && loss.from <= last.to
        {
            *last = Loss { from: last.from.min(loss.from), to: last.to.max(loss.to) };
            return;
        }
        if self.losses.len() == INTERVALS
            && let (Some(first), Some(second)) = (self.losses.pop_front(), self.losses.pop_front())
        {
            self.losses.push_front(Loss { from: first.from.min(second.from), to: first.to.max(second.to) });
        }
        self.losses.push_back(loss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::StateChange;
    use crate::testing::change;

    fn numbered(seq: u64, at: u64) -> StateChange {
        let mut c = change(at, tracer_common::TcpState::Established, tracer_common::TcpState::FinWait1);
        c.seq = seq;
        c
    }

    #[test]
    fn a_missing_number_is_a_loss_between_its_neighbours() {
        let mut audit = Audit::default();
        audit.begin(MonoNs(100));
        audit.number(numbered(1, 1000).stream, 1, MonoNs(1000));
        let c = numbered(4, 2000);
        audit.number(c.stream, c.seq, c.at);
        assert_eq!(audit.gaps(), 2);
        assert!(audit.lost_between(MonoNs(1500), MonoNs(1600)));
        assert!(!audit.lost_between(MonoNs(100), MonoNs(999)));
        assert!(!audit.lost_between(MonoNs(2001), MonoNs(9999)));
    }

    #[test]
    fn a_first_number_above_one_is_a_loss_since_the_beginning() {
        let mut audit = Audit::default();
        audit.begin(MonoNs(100));
        let c = numbered(3, 1000);
        audit.number(c.stream, c.seq, c.at);
        assert_eq!(audit.gaps(), 2);
        assert!(audit.lost_between(MonoNs(100), MonoNs(101)));
    }

    #[test]
    fn the_counters_announce_a_loss_that_no_number_shows() {
        let mut audit = Audit::default();
        audit.begin(MonoNs(100));
        audit.count(&Counters { at: MonoNs(200), ..Counters::default() }, 0);
        audit.count(&Counters { at: MonoNs(300), lost_ring: 1, ..Counters::default() }, 0);
        assert!(audit.lost_between(MonoNs(250), MonoNs(260)));
        assert!(!audit.lost_between(MonoNs(100), MonoNs(199)));
        assert!(audit.covers(MonoNs(300)) && !audit.covers(MonoNs(301)));
    }

    #[test]
    fn a_rescued_miss_is_no_loss() {
        let mut audit = Audit::default();
        audit.count(&missed(300, 5, 5), 0);
        assert!(!audit.lost_between(MonoNs(0), MonoNs(1000)));
        audit.count(&missed(400, 6, 5), 0);
        assert!(audit.lost_between(MonoNs(350), MonoNs(351)));
    }

    #[test]
    fn a_repetition_hides_no_miss() {
        let mut audit = Audit::default();
        audit.count(&missed(300, 5, 8), 3);
        assert!(!audit.lost_between(MonoNs(0), MonoNs(1000)));
        audit.count(&missed(400, 6, 8), 3);
        assert!(audit.lost_between(MonoNs(350), MonoNs(351)));
    }

    fn missed(at: u64, missed: u64, rescued: u64) -> Counters {
        Counters {
            at: MonoNs(at),
            recursion_missed: Some(missed),
            rescued: Some(rescued),
            ..Counters::default()
        }
    }

    #[test]
    fn many_losses_stay_bounded_and_none_is_forgotten() {
        let mut audit = Audit::default();
        for i in 0..5000u64 {
            let c = numbered(2 * i + 2, i * 1000);
            audit.number(c.stream, c.seq, c.at);
        }
        for i in 1..4000u64 {
            audit.add(MonoNs(10_000_000 + i * 10), MonoNs(10_000_001 + i * 10));
        }
        assert!(audit.losses.len() <= INTERVALS);
        assert!(audit.lost_between(MonoNs(500), MonoNs(501)));
        assert!(audit.lost_between(MonoNs(10_000_010), MonoNs(10_000_011)));
    }
}
