//! Files: for their owner, one after the other, and never more than they may be.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use finwait_core::observation::{CgroupNames, Workload};
use finwait_core::{CgroupId, Observation};

use super::super::config::{Fsync, RecorderConfig, Rotation};
use super::any::{host, many};
use super::{Recorder, mark, read};
use crate::sink::{RecordingSink, Tap};

fn recorder(path: &Path, config: RecorderConfig) -> Recorder {
    Recorder::create(path, config, Box::new(|text| panic!("{text}"))).unwrap()
}

fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name() -> Observation {
    let workload = Workload { path: "/a".to_owned(), container: None, runtime: None, pod: None, unit: None };
    Observation::Cgroup(Box::new(CgroupNames { cgroup: CgroupId(7), workload }))
}

/// Hard to pack, so that files grow.
fn noise(seed: u64) -> Vec<Observation> {
    let mut all = many(500);
    let mut state = seed | 1;
    for observation in &mut all {
        if let Observation::StateChange(change) = observation {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            change.inode = Some(state);
            change.tcp.clock_cache_ns = Some(state.rotate_left(17));
            change.tcp.bytes_acked = Some(state.rotate_left(31));
            change.tcp.bytes_received = Some(state.rotate_left(43));
        }
    }
    all
}

#[test]
fn a_file_is_for_its_owner_alone_also_where_it_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.fwr");
    fs::write(&path, "what was there").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut recorder = recorder(&path, RecorderConfig { fsync: Fsync::Frame, ..RecorderConfig::default() });
    for observation in [host(), mark(1)] {
        recorder.observation(&observation).unwrap();
    }
    recorder.finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(read(&fs::read(&path).unwrap()).unwrap(), (vec![vec![host(), mark(1)]], None));
}

#[test]
fn a_run_that_never_begins_takes_no_recording_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace");
    fs::write(&path, "what was there").unwrap();
    drop(recorder(&path, RecorderConfig::default()));
    drop(RecordingSink::create(&path).unwrap());
    assert_eq!(fs::read_to_string(&path).unwrap(), "what was there");
}

#[test]
fn a_recording_in_text_replaces_what_was_there_and_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.jsonl");
    fs::write(&path, "x".repeat(1000)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut sink = RecordingSink::create(&path).unwrap();
    for observation in [host(), mark(1)] {
        sink.observation(&observation).unwrap();
    }
    sink.finish().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = fs::read_to_string(&path).unwrap();
    let read: Vec<Observation> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, [host(), mark(1)]);
}

#[test]
fn files_in_a_row_are_what_one_would_be_and_each_can_be_read_alone() {
    let folder = tempfile::tempdir().unwrap();
    let size = 1 << 20;
    let rotation = Rotation { size: Some(size), ..Rotation::default() };
    let mut recorder = recorder(&folder.path().join("t"), RecorderConfig { rotation, fsync: Fsync::Never });
    let mut all = vec![host(), name()];
    all.extend((0..100).flat_map(noise));
    for observation in &all {
        recorder.observation(observation).unwrap();
    }
    recorder.finish().unwrap();

    let files = paths(folder.path());
    assert!(files.len() > 2, "{files:?}");
    assert!(files[0].ends_with("t.000001"), "{files:?}");
    let mut row = Vec::new();
    for (at, file) in files.iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        assert!(bytes.len() as u64 <= size, "{}", bytes.len());
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        let (alone, unread) = read(&bytes).unwrap();
        assert_eq!(unread, None);
        let resumed = alone[0].iter().any(|o| matches!(o, Observation::Resumed(_)));
        assert_eq!((&alone[0][0], resumed), (&host(), at > 0), "{file:?}");
        assert!(alone[0].contains(&name()), "{file:?}");
        row.extend(bytes);
    }
    let (frames, unread) = read(&row).unwrap();
    assert_eq!(unread, None);
    assert_eq!(frames.concat(), all);
}

#[test]
fn a_file_that_is_missing_in_a_row_is_told_by_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { size: Some(1 << 20), ..Rotation::default() };
    let mut recorder = recorder(&folder.path().join("t"), RecorderConfig { rotation, fsync: Fsync::Never });
    let all: Vec<Observation> = std::iter::once(host()).chain((0..100).flat_map(noise)).collect();
    for observation in &all {
        recorder.observation(observation).unwrap();
    }
    recorder.finish().unwrap();
    let mut files = paths(folder.path());
    files.remove(1);
    let row: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    let (frames, unread) = read(&row).unwrap();
    let read = frames.concat();
    let count = unread.unwrap().count();
    assert!(count > 1000, "{count}");
    assert_eq!(read.len() as u64 + count, all.len() as u64);
    assert_eq!(
        read.iter().filter(|o| matches!(o, Observation::Host(_) | Observation::Resumed(_))).count(),
        1
    );
}

#[test]
fn all_files_together_stay_below_their_limit_those_of_earlier_runs_included() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { size: Some(1 << 20), age: None, max_total: Some(3 << 20) };
    for run in 0..2 {
        let mut recorder =
            recorder(&folder.path().join("t"), RecorderConfig { rotation, fsync: Fsync::Never });
        for observation in std::iter::once(host()).chain((0..60).flat_map(|seed| noise(seed + run))) {
            recorder.observation(&observation).unwrap();
            let total: u64 = paths(folder.path()).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
            assert!(total <= 3 << 20, "{total}");
        }
        recorder.finish().unwrap();
    }
    let last = paths(folder.path()).pop().unwrap();
    assert!(!last.ends_with("t.000001"), "{last:?}");
    assert!(read(&fs::read(last).unwrap()).unwrap().1.is_none());
}

#[test]
fn an_old_file_is_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { age: Some(Duration::from_millis(1)), ..Rotation::default() };
    let mut recorder = recorder(&folder.path().join("t"), RecorderConfig { rotation, fsync: Fsync::Close });
    for at in 0..3 {
        recorder.observation(&if at == 0 { host() } else { mark(at) }).unwrap();
        std::thread::sleep(Duration::from_millis(2));
        recorder.close_frame().unwrap();
    }
    recorder.finish().unwrap();
    assert!(paths(folder.path()).len() >= 3);
}

#[test]
fn a_run_that_ends_when_another_file_was_just_begun_says_so_there() {
    let folder = tempfile::tempdir().unwrap();
    let rotation = Rotation { age: Some(Duration::ZERO), ..Rotation::default() };
    let mut recorder = recorder(&folder.path().join("t"), RecorderConfig { rotation, fsync: Fsync::Close });
    recorder.observation(&host()).unwrap();
    recorder.finish().unwrap();
    let files = paths(folder.path());
    assert_eq!(files.len(), 2, "{files:?}");
    let (last, unread) = read(&fs::read(&files[1]).unwrap()).unwrap();
    assert_eq!((&last[0][0], unread), (&host(), None));
    let row = [fs::read(&files[0]).unwrap(), fs::read(&files[1]).unwrap()].concat();
    assert_eq!(read(&row).unwrap(), (vec![vec![host()]], None));
}

/// Frames that found no room are left out and told, and recording goes on once there is some.
fn with_a_full_disk(lost: core::ops::Range<u64>) -> (Vec<Observation>, u64, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let tell = Box::new(move |text: &str| tell.lock().unwrap().push(text.to_owned()));
    let mut recorder = Recorder::create(&path, RecorderConfig::default(), tell).unwrap();
    for at in 0..6 {
        recorder.go_to(if lost.contains(&at) { Path::new("/dev/full") } else { &path });
        recorder.observation(&if at == 0 { host() } else { mark(at) }).unwrap();
        recorder.close_frame().unwrap();
    }
    recorder.finish().unwrap();
    let (frames, unread) = read(&fs::read(path).unwrap()).unwrap();
    let told = told.lock().unwrap().clone();
    (frames.concat(), unread.map_or(0, |unread| unread.count()), told)
}

#[test]
fn a_full_disk_costs_what_was_seen_meanwhile_and_no_more() {
    let (read, missing, told) = with_a_full_disk(2..4);
    assert_eq!((read, missing), (vec![host(), mark(1), mark(4), mark(5)], 2));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told[0].starts_with("nothing is recorded until there is room"), "{told:?}");
    assert!(told[1].contains("there is room") && told[1].contains("2 observations"), "{told:?}");
    assert!(told[2].starts_with("2 observations in 2 frames found no room"), "{told:?}");
}

#[test]
fn a_disk_that_was_full_at_first_still_names_the_host() {
    let (read, missing, _) = with_a_full_disk(0..3);
    assert_eq!((read.first(), read.last(), missing), (Some(&host()), Some(&mark(5)), 3));
    assert!(read.iter().any(|o| matches!(o, Observation::Resumed(_))), "{read:?}");
}

#[test]
fn a_run_that_breaks_off_keeps_what_it_saw_and_has_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    let mut recorder = recorder(&path, RecorderConfig::default());
    recorder.observation(&host()).unwrap();
    drop(recorder);
    let (frames, unread) = read(&fs::read(path).unwrap()).unwrap();
    assert_eq!(frames, [[host()]]);
    assert_eq!(unread.unwrap().count(), 0, "nothing is known to be missing");
}

#[test]
fn the_first_frame_is_written_at_once_and_others_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    let mut recorder = recorder(&path, RecorderConfig::default());
    assert_eq!(recorder.patience(), Duration::MAX);
    recorder.observation(&host()).unwrap();
    recorder.flush().unwrap();
    let first = fs::metadata(&path).unwrap().len();
    assert!(first > 0);
    recorder.observation(&mark(1)).unwrap();
    recorder.flush().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), first);
    assert!(recorder.patience() <= Duration::from_secs(1));
    std::thread::sleep(recorder.patience());
    recorder.flush().unwrap();
    assert!(fs::metadata(&path).unwrap().len() > first);
}

#[test]
fn a_place_where_no_file_can_be_is_named() {
    for path in ["/nonexistent/t", "/"] {
        let error = Recorder::create(Path::new(path), RecorderConfig::default(), Box::new(|_| {}));
        let message = error.err().unwrap().to_string();
        assert!(message.starts_with(&format!("cannot create {path}: ")), "{message}");
    }
}
