//! Which events are missing: by the numbers in each stream, and by the source's counters.
//!
//! A loss is an interval of time in which an event of any connection may have gone by unseen. Transitions and the hooks
//! beyond them are kept apart: what a hook lost makes unknown only what rests on that hook's silence.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::observation::{Counters, Program, Resumed, Stream};
use crate::time::MonoNs;

/// Intervals kept apart; older ones are merged, which can only make more claims unknown.
const INTERVALS: usize = 1024;

/// Gaps kept until the counters tell of them; one that is put out is taken for a loss that nothing locates.
const PENDING: usize = 1024;

/// Events between `from` and `to` may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Loss {
    from: MonoNs,
    to: MonoNs,
}

impl Loss {
    fn meets(&self, from: MonoNs, to: MonoNs) -> bool {
        self.from < to && from < self.to
    }
}

/// The losses of one kind of programs.
#[derive(Debug, Default)]
struct Losses {
    intervals: VecDeque<Loss>,
    /// Missing numbers so far
    gaps: u64,
    /// Missing numbers that the last reading of the counters knew of
    explained: u64,
    /// Those it may not have known of: when each was found, and how many
    pending: VecDeque<(MonoNs, u64)>,
    /// What the counters stood at
    counted: u64,
}

impl Losses {
    fn gap(&mut self, missing: u64, from: MonoNs, to: MonoNs) {
        self.gaps = self.gaps.saturating_add(missing);
        if self.pending.len() == PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back((to, missing));
        self.add(from, to);
    }

    /// `total` events are missing, said the counters at `to`. Those that no number had shown by then lie somewhere after
    /// `from`. A gap that was found later explains none of them.
    fn count(&mut self, total: u64, from: MonoNs, to: MonoNs) {
        let known_of = |(at, _): &(MonoNs, u64)| *at <= to;
        self.explained = self
            .pending
            .iter()
            .filter(|gap| known_of(gap))
            .fold(self.explained, |sum, (_, missing)| sum.saturating_add(*missing));
        self.pending.retain(|gap| !known_of(gap));
        if total > self.counted.max(self.explained) {
            self.add(from, to);
        }
        self.counted = self.counted.max(total);
    }

    fn between(&self, from: MonoNs, to: MonoNs) -> bool {
        self.intervals.iter().any(|loss| loss.meets(from, to))
    }

    fn add(&mut self, from: MonoNs, to: MonoNs) {
        let loss = Loss { from: from.min(to), to: from.max(to) };
        if let Some(last) = self.intervals.back_mut()
            && last.from <= loss.to
            && loss.from <= last.to
        {
            *last = Loss { from: last.from.min(loss.from), to: last.to.max(loss.to) };
            return;
        }
        if self.intervals.len() == INTERVALS
            && let (Some(first), Some(second)) = (self.intervals.pop_front(), self.intervals.pop_front())
        {
            let merged = Loss { from: first.from.min(second.from), to: first.to.max(second.to) };
            self.intervals.push_front(merged);
        }
        self.intervals.push_back(loss);
    }
}

/// The last number of each stream and its time.
#[derive(Debug, Default)]
struct Streams {
    last: Vec<(Stream, (u64, MonoNs))>,
    place: HashMap<Stream, usize>,
    /// Places of those that were asked for last, by program and CPU
    recent: Recent,
}

/// Sixteen programs on four CPUs.
const RECENT: usize = 64;

#[derive(Debug)]
struct Recent([usize; RECENT]);

impl Default for Recent {
    fn default() -> Self {
        Self([0; RECENT])
    }
}

impl Streams {
    /// That of `stream`: 0 and `since` where it had none yet.
    #[inline]
    fn of(&mut self, stream: Stream, since: MonoNs) -> &mut (u64, MonoNs) {
        let way = (stream.program as usize | usize::from(stream.cpu) << 4) % RECENT;
        if self.last.get(self.recent.0[way]).is_none_or(|(recent, _)| *recent != stream) {
            self.recent.0[way] = self.look_up(stream, since);
        }
        &mut self.last[self.recent.0[way]].1
    }

    #[cold]
    fn look_up(&mut self, stream: Stream, since: MonoNs) -> usize {
        let place = *self.place.entry(stream).or_insert(self.last.len());
        if place == self.last.len() {
            self.last.push((stream, (0, since)));
        }
        place
    }
}

/// The losses known so far, and until when all of them are known.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    since: MonoNs,
    streams: Streams,
    transitions: Losses,
    hooks: Losses,
    counters: Counters,
    /// What the counters stood at before the stream began
    before: Counters,
    /// Transitions that neither program reported, said the last reading
    unrescued: u64,
    /// Until when every loss is known
    covered: MonoNs,
}

impl Audit {
    pub(crate) fn begin(&mut self, since: MonoNs) {
        self.since = since;
        self.counters.at = self.counters.at.max(since);
        self.covered = self.covered.max(since);
    }

    /// What came before is neither here nor lost: numbers and counters go on from where they stood.
    pub(crate) fn resume(&mut self, resumed: &Resumed) {
        self.begin(resumed.at);
        self.before = resumed.counters;
        for numbered in &resumed.numbers {
            *self.streams.of(numbered.stream, MonoNs(0)) = (numbered.seq, resumed.at);
        }
    }

    /// A record with number `seq` of `stream`: the numbers missing before it are a loss.
    #[inline]
    pub(crate) fn number(&mut self, stream: Stream, seq: u64, at: MonoNs) {
        let last = self.streams.of(stream, self.since);
        let (last_seq, last_at) = *last;
        if seq <= last_seq {
            return;
        }
        *last = (seq, at);
        if seq - last_seq > 1 {
            self.gap(stream.program, seq - last_seq - 1, last_at, at);
        }
    }

    #[cold]
    fn gap(&mut self, program: Program, missing: u64, last_at: MonoNs, at: MonoNs) {
        let losses = if program.reports_transitions() { &mut self.transitions } else { &mut self.hooks };
        losses.gap(missing, last_at, at);
    }

    /// Losses that the counters know of and no number has shown yet lie somewhere since they were last read.
    /// `duplicates` of what the shadow reported so far rescued nothing. A record that could not be read may have been
    /// either kind's.
    pub(crate) fn count(&mut self, now: &Counters, duplicates: u64) {
        let now = &since(now, &self.before);
        let from = self.counters.at;
        self.transitions.count(now.lost_ring.saturating_add(now.decode_errors), from, now.at);
        self.hooks.count(now.hooks_lost.saturating_add(now.decode_errors), from, now.at);
        let rescued = now.rescued.unwrap_or(0).saturating_sub(duplicates);
        let unrescued = now.recursion_missed.unwrap_or(0).saturating_sub(rescued);
        let suspected = self.covered < from;
        if unrescued > self.unrescued && !suspected {
            // A shadow may be about to report it, so the next reading decides. Until then nothing is known of this time.
            self.counters = *now;
            return;
        }
        if unrescued > self.unrescued {
            self.transitions.add(self.covered, now.at);
        }
        self.unrescued = unrescued;
        self.counters = *now;
        self.covered = now.at;
    }

    /// Whether a transition between `from` and `to` may be missing, as far as is known now. The ends of a loss were
    /// received themselves, and what is missing lies between them.
    pub(crate) fn lost_between(&self, from: MonoNs, to: MonoNs) -> bool {
        let suspected = Loss { from: self.covered, to: self.counters.at };
        self.transitions.between(from, to) || suspected.from < suspected.to && suspected.meets(from, to)
    }

    /// Whether an event of a hook beyond the transitions may be missing between `from` and `to`, likewise. Only what rests
    /// on the absence of such an event becomes unknown by it.
    pub(crate) fn hook_lost_between(&self, from: MonoNs, to: MonoNs) -> bool {
        self.hooks.between(from, to)
    }

    /// Whether every loss up to `at` is known.
    pub(crate) fn covers(&self, at: MonoNs) -> bool {
        self.covered >= at
    }

    /// Until when every loss is known.
    pub(crate) fn covered_until(&self) -> MonoNs {
        self.covered
    }

    /// Transitions missing by their numbers.
    pub(crate) fn gaps(&self) -> u64 {
        self.transitions.gaps
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// What `now` counts beyond `before`.
fn since(now: &Counters, before: &Counters) -> Counters {
    let beyond = |now: Option<u64>, before: Option<u64>| now.map(|n| n.saturating_sub(before.unwrap_or(0)));
    Counters {
        at: now.at,
        transitions: now.transitions.saturating_sub(before.transitions),
        lost_ring: now.lost_ring.saturating_sub(before.lost_ring),
        recursion_missed: beyond(now.recursion_missed, before.recursion_missed),
        rescued: beyond(now.rescued, before.rescued),
        decode_errors: now.decode_errors.saturating_sub(before.decode_errors),
        hooks_lost: now.hooks_lost.saturating_sub(before.hooks_lost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Numbered;

    impl Audit {
        fn prime(&mut self, seq: u64, at: u64) {
            self.number(Stream { cpu: 0, program: Program::Prime, depth: 0 }, seq, MonoNs(at));
        }

        fn hook(&mut self, seq: u64, at: u64) {
            self.number(Stream { cpu: 0, program: Program::TimeWaitKill, depth: 0 }, seq, MonoNs(at));
        }
    }

    #[test]
    fn a_missing_number_is_a_loss_between_its_neighbours() {
        let mut audit = Audit::default();
        audit.begin(MonoNs(100));
        audit.prime(1, 1000);
        audit.prime(4, 2000);
        assert_eq!(audit.gaps(), 2);
        assert!(audit.lost_between(MonoNs(1500), MonoNs(1600)));
        assert!(!audit.lost_between(MonoNs(100), MonoNs(999)));
        assert!(!audit.lost_between(MonoNs(2001), MonoNs(9999)));
    }

    #[test]
    fn a_first_number_above_one_is_a_loss_since_the_beginning() {
        let mut audit = Audit::default();
        audit.begin(MonoNs(100));
        audit.prime(3, 1000);
        assert_eq!(audit.gaps(), 2);
        assert!(audit.lost_between(MonoNs(100), MonoNs(101)));
    }

    #[test]
    fn what_came_before_a_stream_that_goes_on_is_no_loss() {
        let stream = Stream { cpu: 0, program: Program::Prime, depth: 0 };
        let counters = Counters { at: MonoNs(190), lost_ring: 7, transitions: 40, ..Counters::default() };
        let mut audit = Audit::default();
        audit.begin(MonoNs(100));
        audit.resume(&Resumed { at: MonoNs(200), counters, numbers: vec![Numbered { stream, seq: 33 }] });
        audit.prime(34, 300);
        audit.count(&Counters { at: MonoNs(400), transitions: 41, ..counters }, 0);
        assert_eq!((audit.gaps(), audit.counters().lost_ring, audit.counters().transitions), (0, 0, 1));
        assert!(!audit.lost_between(MonoNs(0), MonoNs(500)));
        audit.prime(36, 500);
        assert_eq!(audit.gaps(), 1);
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
    fn a_miss_that_is_rescued_by_the_next_reading_was_none() {
        let mut audit = Audit::default();
        audit.count(&missed(300, 5, 5), 0);
        audit.count(&missed(400, 6, 5), 0);
        assert!(!audit.covers(MonoNs(400)) && audit.covers(MonoNs(300)));
        audit.count(&missed(500, 7, 7), 0);
        assert!(audit.covers(MonoNs(500)) && !audit.lost_between(MonoNs(0), MonoNs(1000)));
        audit.count(&missed(600, 8, 7), 0);
        audit.count(&missed(700, 8, 7), 0);
        audit.count(&missed(800, 8, 7), 0);
        assert!(audit.lost_between(MonoNs(550), MonoNs(551)) && audit.covers(MonoNs(800)));
        assert!(!audit.lost_between(MonoNs(700), MonoNs(1000)));
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
            audit.prime(2 * i + 2, i * 1000);
        }
        for i in 1..4000u64 {
            audit.transitions.add(MonoNs(10_000_000 + i * 10), MonoNs(10_000_001 + i * 10));
        }
        assert!(audit.transitions.intervals.len() <= INTERVALS);
        assert!(audit.lost_between(MonoNs(500), MonoNs(501)));
        assert!(audit.lost_between(MonoNs(10_000_010), MonoNs(10_000_011)));
    }

    #[test]
    fn a_hooks_missing_number_says_nothing_of_the_transitions() {
        let mut audit = Audit::default();
        audit.prime(1, 1000);
        audit.hook(1, 1100);
        audit.hook(3, 1900);
        audit.prime(2, 2000);
        assert!(audit.hook_lost_between(MonoNs(1500), MonoNs(1501)));
        assert!(!audit.hook_lost_between(MonoNs(1000), MonoNs(1100)));
        assert!(!audit.lost_between(MonoNs(0), MonoNs(9999)));
        assert_eq!(audit.gaps(), 0);
    }

    #[test]
    fn the_counters_announce_a_hooks_loss_that_no_number_shows() {
        let mut audit = Audit::default();
        audit.count(&hooks_lost(200, 0), 0);
        audit.count(&hooks_lost(300, 1), 0);
        assert!(audit.hook_lost_between(MonoNs(250), MonoNs(260)));
        assert!(!audit.lost_between(MonoNs(0), MonoNs(1000)));
        audit.count(&hooks_lost(400, 1), 0);
        assert!(!audit.hook_lost_between(MonoNs(300), MonoNs(400)), "nothing new was lost");
    }

    #[test]
    fn a_hooks_loss_that_its_numbers_show_is_not_spread_over_the_whole_reading() {
        let mut audit = Audit::default();
        audit.hook(1, 1000);
        audit.hook(3, 1100);
        audit.count(&hooks_lost(9000, 1), 0);
        assert!(audit.hook_lost_between(MonoNs(1050), MonoNs(1060)));
        assert!(!audit.hook_lost_between(MonoNs(2000), MonoNs(9000)));
    }

    #[test]
    fn a_gap_found_after_the_counters_were_read_does_not_explain_what_they_say() {
        for hooks in [true, false] {
            let mut audit = Audit::default();
            let number = if hooks { Audit::hook } else { Audit::prime };
            number(&mut audit, 1, 1000);
            number(&mut audit, 3, 5000);
            let counters = if hooks {
                hooks_lost(2000, 1)
            } else {
                Counters { at: MonoNs(2000), lost_ring: 1, ..Counters::default() }
            };
            audit.count(&counters, 0);
            let lost = if hooks { Audit::hook_lost_between } else { Audit::lost_between };
            assert!(lost(&audit, MonoNs(500), MonoNs(600)), "it may have been another CPU's, before 1000");
        }
    }

    fn hooks_lost(at: u64, lost: u64) -> Counters {
        Counters { at: MonoNs(at), hooks_lost: lost, ..Counters::default() }
    }
}
