//! What a file of any kind yields when the tracker reads it; and that a recording, in either form, yields what was said live, field
//! by field.

use std::fmt::Debug;
use std::io::{self, BufReader, Cursor, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use finwait_core::record::{CloseRecord, TimeWaitRecord, TransitionRecord};
use finwait_core::tracker::Fates;
use finwait_core::{Accounting, Observation, Record, Tracker, TrackerConfig};
use tracer::recording::Recorder;
use tracer::scenario::watch::Seen;
use tracer::sink::{RecordingSink, Tap};
use tracer::source::{CaptureBooks, FileSource, Polled, Source};

/// What was read of a file, and what the tracker made of it.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    pub(crate) observations: Vec<Observation>,
    pub(crate) transitions: Vec<TransitionRecord>,
    pub(crate) closes: Vec<CloseRecord>,
    pub(crate) time_waits: Vec<TimeWaitRecord>,
    pub(crate) accounting: Accounting,
    pub(crate) fates: Fates,
    /// Where it is a packet capture
    pub(crate) books: Option<CaptureBooks>,
}

impl Replayed {
    /// Reads `source` to its end, of which nothing may be unreadable.
    pub(crate) fn of(mut source: FileSource) -> Self {
        let (mut all, mut tracker) = (Self::default(), Tracker::new(TrackerConfig::default()));
        loop {
            let mut batch = Vec::new();
            let polled = source.poll(&mut batch, Duration::ZERO).expect("read");
            for observation in batch {
                tracker.observe(&observation);
                all.take(&mut tracker);
                all.observations.push(observation);
            }
            if polled == Polled::End {
                break;
            }
        }
        tracker.finish();
        all.take(&mut tracker);
        assert_eq!(source.unread(), None);
        (all.accounting, all.fates) = (tracker.accounting(), tracker.fates());
        all.books = source.capture().cloned();
        all
    }

    fn take(&mut self, tracker: &mut Tracker) {
        while let Some(record) = tracker.next_record() {
            match record {
                Record::Transition(record) => self.transitions.push(*record),
                Record::Close(record) => self.closes.push(*record),
                Record::TimeWait(record) => self.time_waits.push(*record),
                Record::BothEnds(_) => panic!("the tracker joins no ends: {record:?}"),
            }
        }
    }
}

/// Fails unless `observations`, recorded in both forms and read back, are the same, and so is everything that was `seen` live.
pub(crate) fn assert_replays(observations: &[Observation], seen: &Seen) {
    let binary = |out| Recorder::stream(out, "memory".to_owned()).map(Box::new).expect("recording");
    let text = |out| Box::new(RecordingSink::new(out, "memory".to_owned()));
    for (form, bytes) in [
        ("binary", written(observations, |out| binary(out))),
        ("text", written(observations, |out| text(out))),
    ] {
        let input = Box::new(BufReader::new(Cursor::new(bytes)));
        let replayed = Replayed::of(FileSource::new(input, form.to_owned()));
        assert_same(form, "observations", observations, &replayed.observations);
        assert_same(form, "transitions", &seen.transitions, &replayed.transitions);
        assert_same(form, "closes", &seen.closes, &replayed.closes);
        assert_same(form, "time-wait records", &seen.time_waits, &replayed.time_waits);
        assert_same(form, "accounting", &[seen.accounting], &[replayed.accounting]);
        assert_same(form, "fates", &[seen.fates], &[replayed.fates]);
    }
}

/// What a recording of `observations` holds.
fn written<T: Tap>(
    observations: &[Observation],
    begin: impl FnOnce(Box<dyn Write + Send>) -> Box<T>,
) -> Vec<u8> {
    let out = Shared::default();
    let mut recording = begin(Box::new(out.clone()));
    for observation in observations {
        recording.observation(observation).expect("record");
    }
    recording.finish().and_then(|()| recording.flush()).expect("finish");
    drop(recording);
    core::mem::take(&mut *out.0.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn assert_same<T: PartialEq + Debug>(form: &str, what: &str, live: &[T], replayed: &[T]) {
    if let Some(difference) = first_difference(live, replayed) {
        panic!("{what} of the {form} recording are not those of the live run: {difference}");
    }
}

/// Where two lists part, and the first field in which they do.
fn first_difference<T: PartialEq + Debug>(live: &[T], replayed: &[T]) -> Option<String> {
    if let Some(index) = live.iter().zip(replayed).position(|(one, other)| one != other) {
        let [one, other] = [live, replayed].map(|list| format!("{:#?}", list[index]));
        let lines = one.lines().zip(other.lines()).enumerate();
        let parting = lines.filter(|(_, (one, other))| one != other).map(|(number, (one, other))| {
            let above = one_above(&format!("{:#?}", live[index]), number);
            format!("in {above:?} {:?} became {:?}", one.trim(), other.trim())
        });
        let parting = parting.take(1).next().unwrap_or_else(|| "one says more".to_owned());
        return Some(format!("number {index}: {parting}\nlive {one}"));
    }
    (live.len() != replayed.len()).then(|| format!("{} live, {} replayed", live.len(), replayed.len()))
}

/// The line nearest above line `number` that is indented less: what the field belongs to.
fn one_above(text: &str, number: usize) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = text.lines().collect();
    let own = lines.get(number).map_or(0, |line| indent(line));
    let above = lines.iter().take(number).rev().find(|line| indent(line) < own);
    above.map_or(String::new(), |line| line.trim().to_owned())
}

#[test]
fn a_recording_that_differs_in_one_field_is_found_out() {
    let whole = [Accounting::default(), Accounting { received: 4, ..Accounting::default() }];
    let mut other = whole;
    assert_eq!(first_difference(&whole, &other), None);
    other[1].recursion_missed = Some(1);
    let difference = first_difference(&whole, &other).expect("a difference");
    assert!(
        difference.starts_with("number 1: in \"Accounting {\" \"recursion_missed: None,\""),
        "{difference}"
    );
    assert_eq!(first_difference(&whole, &whole[..1]), Some("2 live, 1 replayed".to_owned()));
}
