use std::collections::VecDeque;

use finwait_core::observation::Watermark;
use finwait_core::{Cookie, TcpState};

use super::*;
use crate::sink::samples_for_tests as samples;

/// Hands out prepared batches; after them it is idle, or at its end once it was closed.
struct Script {
    batches: VecDeque<Vec<Observation>>,
    after_close: Vec<Observation>,
    live: bool,
    closed: bool,
    waits: Vec<Duration>,
    stop: Option<(usize, Stop)>,
}

impl Script {
    fn new(batches: Vec<Vec<Observation>>) -> Self {
        Self {
            batches: batches.into(),
            after_close: Vec::new(),
            live: false,
            closed: false,
            waits: Vec::new(),
            stop: None,
        }
    }

    fn live(batches: Vec<Vec<Observation>>) -> Self {
        Self { live: true, ..Self::new(batches) }
    }
}

impl Source for Script {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        self.waits.push(timeout);
        if let Some((polls, stop)) = &self.stop
            && self.waits.len() >= *polls
        {
            stop.request();
        }
        if self.closed {
            batch.append(&mut self.after_close);
            return Ok(Polled::End);
        }
        match self.batches.pop_front() {
            Some(next) => {
                batch.extend(next);
                Ok(Polled::Events)
            }
            None if self.live => {
                std::thread::sleep(Duration::from_millis(1));
                Ok(Polled::Idle)
            }
            None => Ok(Polled::End),
        }
    }

    fn close(&mut self) {
        self.closed = true;
    }
}

/// Keeps what it is given; its reader goes away after `room` records.
#[derive(Default)]
struct Kept {
    states: Vec<(TcpState, TcpState)>,
    closes: usize,
    pairs: usize,
    contexts: usize,
    flushes: usize,
    finished: Option<Ended>,
    room: Option<usize>,
}

impl Sink for Kept {
    fn context(&mut self, _context: &Context) {
        self.contexts += 1;
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        if self.room.is_some_and(|room| self.states.len() >= room) {
            return Err(SinkError::stdout(std::io::ErrorKind::BrokenPipe.into()));
        }
        match record {
            Record::Transition(record) => self.states.push((record.change.old, record.change.new)),
            Record::Close(_) => self.closes += 1,
            Record::TimeWait(_) => {}
            Record::BothEnds(_) => self.pairs += 1,
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.flushes += 1;
        Ok(())
    }

    fn finish(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        self.finished = Some(verdict.ended);
        Ok(())
    }
}

#[derive(Default)]
struct Tapped(Vec<Observation>);

impl Tap for Tapped {
    fn observation(&mut self, observation: &Observation) -> Result<(), SinkError> {
        self.0.push(observation.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn host(tier: Tier) -> Observation {
    Observation::Host(Box::new(samples::host(tier)))
}

/// Transitions of as many sockets, a millisecond apart, numbered from `from`.
fn opens(from: u64, count: u64) -> Vec<Observation> {
    (from..from + count)
        .map(|seq| {
            let mut change = samples::change(TcpState::Close, TcpState::SynSent);
            change.seq = seq;
            change.cookie = Some(Cookie(1000 + seq));
            change.at = MonoNs(1_000_000_000 + seq * 1_000_000);
            Observation::StateChange(Box::new(change))
        })
        .collect()
}

fn plan(subject: Subject) -> Plan {
    Plan {
        subject: Some(subject),
        filter: Filter::default(),
        limits: Limits::default(),
        event_time: true,
        tracker: TrackerConfig { transitions: subject == Subject::States, ..TrackerConfig::default() },
        time_waits: false,
        both_ends: None,
        redaction: crate::redact::Redaction::Off,
    }
}

fn go(source: &mut Script, sink: &mut Kept, plan: &Plan) -> Result<Verdict, RunError> {
    let stop = source.stop.as_ref().map_or_else(|| Stop::new().unwrap(), |(_, stop)| stop.clone());
    run(source, Outputs { sink: Some(sink), tap: None }, plan, &stop)
}

#[test]
fn a_source_that_ends_has_everything_shown_and_is_flushed_per_batch() {
    let mut source = Script::new(vec![vec![host(Tier::TpBtf)], opens(1, 3), opens(4, 2)]);
    let mut sink = Kept::default();
    let verdict = go(&mut source, &mut sink, &plan(Subject::States)).unwrap();
    assert_eq!(sink.states, vec![(TcpState::Close, TcpState::SynSent); 5]);
    assert_eq!((sink.contexts, sink.finished), (1, Some(Ended::Source)));
    assert!(sink.flushes >= 3);
    assert_eq!((verdict.tally.transitions, verdict.accounting.received), (5, 5));
    assert_eq!(verdict.ended, Ended::Source);
}

#[test]
fn the_count_ends_the_run_within_a_batch_and_the_rest_is_only_accounted_for() {
    let mut source = Script::live(vec![vec![host(Tier::TpBtf)], opens(1, 5)]);
    source.after_close = opens(6, 4);
    let mut sink = Kept::default();
    let plan = Plan {
        limits: Limits { count: Some(2), duration: None },
        event_time: false,
        ..plan(Subject::States)
    };
    let verdict = go(&mut source, &mut sink, &plan).unwrap();
    assert_eq!((sink.states.len(), verdict.ended), (2, Ended::Count));
    assert_eq!(sink.finished, Some(Ended::Count));
    assert!(source.closed);
    assert_eq!((verdict.accounting.received, verdict.accounting.gaps), (9, 0));
}

#[test]
fn a_reader_that_goes_away_is_an_end_and_no_error() {
    let mut source = Script::live(vec![vec![host(Tier::TpBtf)], opens(1, 5)]);
    source.after_close = opens(6, 1);
    let mut sink = Kept { room: Some(1), ..Kept::default() };
    let verdict = go(&mut source, &mut sink, &plan(Subject::States)).unwrap();
    assert_eq!((verdict.ended, sink.states.len()), (Ended::ClosedPipe, 1));
    assert_eq!(sink.finished, None);
    assert_eq!((verdict.accounting.received, verdict.accounting.gaps), (6, 0));
}

#[test]
fn a_signal_shows_what_had_happened_by_then() {
    let mut source = Script::live(vec![vec![host(Tier::TpBtf)], opens(1, 2)]);
    source.after_close = opens(3, 2);
    source.stop = Some((4, Stop::new().unwrap()));
    let mut sink = Kept::default();
    let plan = Plan { event_time: false, ..plan(Subject::States) };
    let verdict = go(&mut source, &mut sink, &plan).unwrap();
    assert_eq!((verdict.ended, sink.states.len()), (Ended::Signal, 4));
}

#[test]
fn in_a_recording_duration_is_event_time() {
    let mut source = Script::new(vec![opens(1, 1), opens(2, 50)]);
    let mut sink = Kept::default();
    let mut plan = plan(Subject::States);
    plan.limits.duration = Some(Duration::from_millis(10));
    let verdict = go(&mut source, &mut sink, &plan).unwrap();
    assert_eq!((verdict.ended, sink.states.len()), (Ended::Duration, 11));
    assert_eq!(verdict.duration, Some(Duration::from_millis(10)));
}

#[test]
fn live_duration_is_the_clocks() {
    let mut source = Script::live(vec![opens(1, 1)]);
    let mut sink = Kept::default();
    let mut plan = Plan { event_time: false, ..plan(Subject::States) };
    plan.limits.duration = Some(Duration::from_millis(20));
    let began = Instant::now();
    let verdict = go(&mut source, &mut sink, &plan).unwrap();
    assert_eq!(verdict.ended, Ended::Duration);
    assert!(began.elapsed() >= Duration::from_millis(20));
    assert!(source.waits.iter().all(|wait| *wait <= SETTLING.max(Duration::from_millis(20))));
}

#[test]
fn a_quiet_source_is_asked_seldom_but_soon_after_events() {
    let mut source = Script::live(vec![opens(1, 1)]);
    source.stop = Some((4, Stop::new().unwrap()));
    let plan = Plan { event_time: false, ..plan(Subject::States) };
    go(&mut source, &mut Kept::default(), &plan).unwrap();
    assert_eq!(source.waits[..4], [SETTLING, SETTLING, QUIET, QUIET]);
}

#[test]
fn only_what_matches_is_shown_and_counted() {
    let mut source = Script::new(vec![opens(1, 3)]);
    let mut sink = Kept::default();
    let mut plan = plan(Subject::States);
    plan.filter.pids = vec![finwait_core::Pid(1)];
    plan.limits.count = Some(1);
    let verdict = go(&mut source, &mut sink, &plan).unwrap();
    assert!(sink.states.is_empty());
    assert_eq!((verdict.ended, verdict.tally.transitions), (Ended::Source, 0));
    assert_eq!(verdict.accounting.received, 3);
}

#[test]
fn a_filter_by_process_is_refused_on_a_stream_of_the_classic_tier() {
    let mut source = Script::new(vec![vec![host(Tier::Classic)], opens(1, 3)]);
    let mut plan = plan(Subject::States);
    plan.filter.comms = vec!["nginx".to_owned()];
    let error = go(&mut source, &mut Kept::default(), &plan).unwrap_err();
    assert!(matches!(error, RunError::FilterNeedsTpBtf { flag: "--comm", .. }), "{error}");
}

#[test]
fn a_tap_gets_every_observation_and_counts_transitions_as_lines() {
    let mark = Observation::Watermark(Watermark { at: MonoNs(1) });
    let batch: Vec<_> = [host(Tier::TpBtf), mark].into_iter().chain(opens(1, 5)).collect();
    let mut source = Script::new(vec![batch.clone()]);
    let mut tap = Tapped::default();
    let mut plan = Plan { subject: None, ..plan(Subject::Closes) };
    plan.limits.count = Some(3);
    let outputs = Outputs { sink: None, tap: Some(&mut tap) };
    let verdict = run(&mut source, outputs, &plan, &Stop::new().unwrap()).unwrap();
    assert_eq!(verdict.ended, Ended::Count);
    assert_eq!(tap.0, batch[..5]);
}
