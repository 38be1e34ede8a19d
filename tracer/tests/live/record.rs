//! A recording says what the live run said.

use std::ffi::CString;
use std::io::{self, Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use finwait_core::record::CloseRecord;
use finwait_core::{Observation, Record, Tracker, TrackerConfig};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tracer::probe::TierChoice;
use tracer::recording::{Recorder, RecorderConfig};
use tracer::scenario::check::{Depth, compare};
use tracer::scenario::watch::{Reading, only, track_with};
use tracer::scenario::{Namespace, catalog};
use tracer::sink::{Context, JsonSink, Sink, Tap};
use tracer::source::{FileSource, Polled, Source, Unread};

use crate::process::{FINWAIT, Finwait, wait_for};
use crate::support::{self, attach};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Each record as one line of JSON.
fn as_json(records: impl Iterator<Item = Record>, context: &Context) -> Vec<String> {
    let out = Shared::default();
    let mut sink = JsonSink::new(Box::new(out.clone()));
    sink.context(context);
    for record in records {
        sink.record(&record).expect("write");
    }
    sink.flush().expect("flush");
    drop(sink);
    let text = String::from_utf8(out.0.lock().expect("lock").clone()).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn replaying_what_was_observed_gives_the_same_closes_as_live() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("trace.fwr");
    let told = Box::new(|text: &str| panic!("{text}"));
    let mut recording = Recorder::create(&path, RecorderConfig::default(), told).expect("recording");
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(only(namespace.inode()), TierChoice::TpBtf);
    let config = TrackerConfig::default();
    let mut context = Context::default();
    let playing = support::undisturbed();
    let (_, seen) = track_with(
        probe,
        Reading::Always,
        config,
        || catalog::run(catalog::ALL, &namespace),
        |observation| {
            context.learn(observation);
            recording.observation(observation).expect("record");
        },
    )
    .expect("run");
    drop(playing);
    recording.finish().expect("finish");

    let replay = support::output(Command::new(FINWAIT).args(["closes", "-o", "json", "-r"]).arg(&path));
    assert!(replay.status.success(), "{}", String::from_utf8_lossy(&replay.stderr));
    let replayed = String::from_utf8(replay.stdout).expect("text");
    let closes: Vec<&str> = replayed.lines().filter(|line| line.contains("\"finwait.close/1\"")).collect();
    let seen_closes = seen.closes.iter().cloned().map(|close| Record::Close(Box::new(close)));
    assert_eq!(closes, as_json(seen_closes, &context));
    let left: Vec<&str> = replayed.lines().filter(|line| line.contains("\"finwait.time_wait/1\"")).collect();
    let seen_left = seen.time_waits.iter().cloned().map(|record| Record::TimeWait(Box::new(record)));
    assert_eq!(left, as_json(seen_left, &context));
}

#[test]
fn what_finwait_recorded_holds_every_connection_whole() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("trace.fwr");
    let file = path.to_str().expect("text");
    let namespace = Namespace::new().expect("namespace");
    let finwait = Finwait::attached(&["record", "-w", file, "--netns", &namespace.inode().to_string()]);
    let made = catalog::run(catalog::ALL, &namespace).expect("run");
    finwait.signal(Signal::INT);
    let ended = finwait.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    let verdict = compare(&made, &replayed(&path), Depth::Claims);
    assert!(verdict.all_whole(), "{:#?}", verdict.complaints);
}

/// What a crash may take is younger than this: a frame's greatest age, and room for a slow machine.
const FRAME_AGE: Duration = Duration::from_secs(3);

#[test]
fn a_recorder_that_is_killed_leaves_all_but_the_last_second() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("trace.fwr");
    let file = path.to_str().expect("text");
    let namespace = Namespace::new().expect("namespace");
    let finwait = Finwait::attached(&["record", "-w", file, "--netns", &namespace.inode().to_string()]);
    let made = catalog::run(catalog::ALL, &namespace).expect("run");
    std::thread::sleep(FRAME_AGE);
    finwait.signal(Signal::KILL);
    finwait.end();
    let mode = std::fs::metadata(&path).expect("recording").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let (closes, unread) = read(&path);
    let Some(Unread::Frames(missing)) = unread else { panic!("{unread:?}") };
    assert_eq!((missing.unfinished, missing.count()), (1, 0), "{missing}");
    let verdict = compare(&made, &closes, Depth::Claims);
    assert!(verdict.all_whole(), "{:#?}", verdict.complaints);
}

/// A disk of this size in a mount namespace that only the calling thread is in.
fn small_disk(folder: &Path, bytes: u32) {
    // SAFETY: mounts of its own take no memory and no descriptor from this thread, which shares its folders with no other.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("mount namespace");
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
    let size = CString::new(format!("size={bytes}")).expect("text");
    mount("tmpfs", folder, "tmpfs", MountFlags::empty(), Some(size.as_c_str())).expect("tmpfs");
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_whole_frames_and_no_more() {
    let folder = tempfile::tempdir().expect("folder");
    let on_disk = || {
        small_disk(folder.path(), 400 << 10);
        let (path, filler) = (folder.path().join("trace.fwr"), folder.path().join("filler"));
        std::fs::write(&filler, vec![0; 200 << 10]).expect("filler");
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = told.clone();
        let tell = Box::new(move |text: &str| tell.lock().expect("lock").push(text.to_owned()));
        let mut recording = Recorder::create(&path, RecorderConfig::default(), tell).expect("recording");
        let all = hard_to_pack(60_000);
        for (at, observation) in all.iter().enumerate() {
            recording.observation(observation).expect("record");
            let is_full = told.lock().expect("lock").len() == 1;
            if is_full && at > 20_000 && filler.exists() {
                std::fs::remove_file(&filler).expect("room");
            }
        }
        recording.finish().expect("finish");
        let (read, unread) = observations(&path);
        let Some(Unread::Frames(missing)) = unread else { panic!("{unread:?}") };
        let told = told.lock().expect("lock").clone();
        (all.len() as u64, read.len() as u64, missing, told)
    };
    let (all, read, missing, told) =
        std::thread::scope(|scope| scope.spawn(on_disk).join().expect("a thread with a disk of its own"));
    assert_eq!((missing.damages, missing.bytes), (0, 0), "{missing}");
    assert!(missing.observations > 0 && read > 0, "{missing}");
    assert_eq!(read + missing.observations, all, "{told:?}");
    assert!(told[0].contains("No space left on device"), "{told:?}");
}

/// A host, and transitions of which each has a number that nothing foretells.
fn hard_to_pack(count: u64) -> Vec<Observation> {
    // Guests have the tests' program and no tree.
    let fixture = Cursor::new(include_bytes!("../fixtures/closes.jsonl"));
    let (fixture, _) = read_all(FileSource::new(Box::new(fixture), "closes.jsonl".to_owned()));
    let change = fixture.iter().find_map(|observation| match observation {
        Observation::StateChange(change) => Some(change.clone()),
        _ => None,
    });
    let change = change.expect("a transition");
    let changes = (1..count).map(|seq| {
        let mut change = change.clone();
        let inode = (seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).pow(2) ^ seq;
        (change.seq, change.inode) = (seq, Some(inode));
        Observation::StateChange(change)
    });
    fixture.iter().take(1).cloned().chain(changes).collect()
}

fn observations(path: &Path) -> (Vec<Observation>, Option<Unread>) {
    read_all(FileSource::open(path).expect("recording"))
}

fn read_all(mut source: FileSource) -> (Vec<Observation>, Option<Unread>) {
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    while source.poll(&mut batch, Duration::ZERO).expect("read") != Polled::End {
        all.append(&mut batch);
    }
    all.append(&mut batch);
    (all, source.unread())
}

/// The closes that the tracker finds in a recording, all of which can be read.
fn replayed(path: &Path) -> Vec<CloseRecord> {
    let (closes, unread) = read(path);
    assert!(unread.is_none(), "{unread:?}");
    closes
}

/// The closes that the tracker finds in a recording, and what cannot be read of it.
fn read(path: &Path) -> (Vec<CloseRecord>, Option<Unread>) {
    let mut source = FileSource::open(path).expect("recording");
    let mut tracker = Tracker::new(TrackerConfig::default());
    wait_for("the end of the recording", || {
        let mut batch = Vec::new();
        let polled = source.poll(&mut batch, Duration::from_secs(1)).expect("read");
        batch.iter().for_each(|observation| tracker.observe(observation));
        (polled == Polled::End).then_some(())
    });
    tracker.finish();
    let records = core::iter::from_fn(|| tracker.next_record());
    let closes = records
        .filter_map(|record| match record {
            Record::Close(close) => Some(*close),
            Record::Transition(_) | Record::TimeWait(_) | Record::BothEnds(_) => None,
        })
        .collect();
    (closes, source.unread())
}
