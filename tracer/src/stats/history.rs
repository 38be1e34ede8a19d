//! The last hour in intervals of ten seconds: how connections ended, and how long each closing state lasted. Bounded, and
//! shared with snapshots until it changes.

use std::collections::VecDeque;
use std::sync::Arc;

use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, ResetDirection, TimeWaitRecord};
use finwait_core::{MonoNs, TcpState};

use super::histogram::{Histogram, SCALE};
use super::summary::{CLOSING_STATES, closing_place, narrow};

/// Length of an interval.
pub const INTERVAL_NS: u64 = 10_000_000_000;
const KEPT: usize = 360;

/// What ended in ten seconds.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// When it began, on CLOCK_MONOTONIC
    pub start: MonoNs,
    kinds: [u64; CloseKind::ALL.len() + 1],
    first_closers: [u64; FirstCloser::ALL.len() + 1],
    /// Resets sent
    pub resets_sent: u64,
    /// Resets received
    pub resets_received: u64,
    durations: [Histogram; CLOSING_STATES.len()],
}

impl Interval {
    /// Closes by kind; the last is the unknown one.
    pub fn kinds(&self) -> impl Iterator<Item = (Option<CloseKind>, u64)> + '_ {
        CloseKind::ALL.iter().copied().map(Some).chain([None]).zip(self.kinds)
    }

    /// Closes by who sent the first FIN; the last is the unknown one.
    pub fn first_closers(&self) -> impl Iterator<Item = (Option<FirstCloser>, u64)> + '_ {
        FirstCloser::ALL.iter().copied().map(Some).chain([None]).zip(self.first_closers)
    }

    /// All closes.
    #[must_use]
    pub fn closes(&self) -> u64 {
        self.kinds.iter().sum()
    }

    /// Of a closing state, by its place in [`CLOSING_STATES`]: exponent e and how many durations were in (2^(e−1), 2^e] s.
    #[must_use]
    pub fn by_exponent(&self, state: usize) -> Vec<(i32, u64)> {
        let mut coarse: Vec<(i32, u64)> = Vec::new();
        for (index, count) in self.durations[state].buckets() {
            let exponent = index.div_euclid(1 << SCALE) + 1;
            match coarse.last_mut() {
                Some((last, sum)) if *last == exponent => *sum += count,
                _ => coarse.push((exponent, count)),
            }
        }
        coarse
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Arc<Interval>>);

impl History {
    /// The intervals in which something ended, the oldest first.
    pub fn intervals(&self) -> impl DoubleEndedIterator<Item = &Interval> {
        self.0.iter().map(|interval| &**interval)
    }

    pub(super) fn close(&mut self, close: &CloseRecord) {
        let Some(interval) = self.at(close.closed_at.unwrap_or(close.last_seen_at)) else { return };
        interval.kinds[close.kind.value().map_or(CloseKind::ALL.len(), |kind| *kind as usize)] += 1;
        let unknown = FirstCloser::ALL.len();
        interval.first_closers[close.first_closer.value().map_or(unknown, |first| *first as usize)] += 1;
        match close.reset.as_ref().and_then(|reset| reset.direction.value()) {
            Some(ResetDirection::Sent) => interval.resets_sent += 1,
            Some(ResetDirection::Received) => interval.resets_received += 1,
            None => {}
        }
        for dwell in &close.dwells {
            if let (Some(place), Some(ns)) = (closing_place(dwell.state), dwell.duration_ns.value()) {
                interval.durations[place].record(*ns);
            }
        }
    }

    /// Takes in what became of a time-wait socket. `hid_fin_wait2`: its close record left FIN_WAIT2 to this one.
    pub(super) fn time_wait(&mut self, record: &TimeWaitRecord, hid_fin_wait2: bool) {
        let Some(ended) = record.ended.value() else { return };
        let Some(interval) = self.at(ended.latest) else { return };
        let mut take = |state, span| {
            if let (Some(place), Some(ns)) = (closing_place(state), narrow(span).value()) {
                interval.durations[place].record(*ns);
            }
        };
        if hid_fin_wait2 {
            take(TcpState::FinWait2, &record.fin_wait2_ns);
        }
        take(TcpState::TimeWait, &record.time_wait_ns);
    }

    /// The interval of `at`; `None` of what is older than all that is kept.
    fn at(&mut self, at: MonoNs) -> Option<&mut Interval> {
        let start = MonoNs(at.0 - at.0 % INTERVAL_NS);
        let oldest_kept = start.0.saturating_sub(INTERVAL_NS * (KEPT as u64 - 1));
        match self.0.front().is_some_and(|oldest| oldest.start.0 >= oldest_kept) {
            true if self.0.back().is_some_and(|newest| newest.start == start) => {
                self.0.back_mut().map(Arc::make_mut)
            }
            _ => self.seek(start),
        }
    }

    fn seek(&mut self, start: MonoNs) -> Option<&mut Interval> {
        // What ends comes nearly in order.
        let place = self.0.iter().rposition(|interval| interval.start <= start);
        let place = match place {
            Some(place) if self.0[place].start == start => place,
            None if self.0.len() >= KEPT => return None,
            before => {
                let place = before.map_or(0, |place| place + 1);
                self.0.insert(place, Arc::new(Interval { start, ..Interval::default() }));
                let surplus = self.0.len().saturating_sub(KEPT);
                self.0.drain(..surplus);
                place - surplus.min(place)
            }
        };
        // An hour is over also where little happened.
        let newest = self.0.back().map_or(start, |interval| interval.start);
        let oldest = newest.0.saturating_sub(INTERVAL_NS * (KEPT as u64 - 1));
        let old = self.0.iter().take_while(|interval| interval.start.0 < oldest).count();
        self.0.drain(..old.min(place));
        self.0.get_mut(place - old.min(place)).map(Arc::make_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests as samples;

    fn ended(at_s: u64) -> CloseRecord {
        CloseRecord { closed_at: Some(MonoNs(at_s * 1_000_000_000)), ..samples::close() }
    }

    fn starts(history: &History) -> Vec<u64> {
        history.intervals().map(|interval| interval.start.0 / 1_000_000_000).collect()
    }

    #[test]
    fn closes_fall_into_the_ten_seconds_in_which_they_ended() {
        let mut history = History::default();
        for at in [101, 109, 110, 105, 131, 95] {
            history.close(&ended(at));
        }
        assert_eq!(starts(&history), [90, 100, 110, 130]);
        assert_eq!(history.intervals().map(Interval::closes).collect::<Vec<_>>(), [1, 3, 1, 1]);
    }

    #[test]
    fn an_hour_is_kept() {
        let mut history = History::default();
        (0..1000).for_each(|interval| history.close(&ended(interval * 10)));
        let starts = starts(&history);
        assert_eq!((starts.len(), starts[0], starts[KEPT - 1]), (KEPT, 6400, 9990));
        history.close(&ended(5));
        assert_eq!(history.intervals().count(), KEPT, "what is older is not kept");
        history.close(&ended(1_000_000));
        assert_eq!(history.intervals().count(), 1, "nor what is so after a long silence");
    }

    #[test]
    fn durations_are_told_by_powers_of_two() {
        let mut interval = Interval::default();
        for ms in [400, 500, 501, 1000, 1001] {
            interval.durations[0].record(ms * 1_000_000);
        }
        assert_eq!(interval.by_exponent(0), [(-1, 2), (0, 2), (1, 1)]);
        assert_eq!(interval.by_exponent(1), []);
    }
}
