//! A reader that was written from docs/recording.md alone, in another language, reads from recordings what finwait reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use finwait_core::observation::Comm;
use finwait_core::{Cookie, Observation, Pid};
use serde_json::{Map, Value, json};
use tracer::recording::{Fsync, Recorder, RecorderConfig, Rotation};
use tracer::sink::Tap;
use tracer::source::{FileSource, Polled, Source, Unread};

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/components/recording.py");
const FIXTURES: [&str; 2] = ["closes", "every_kind"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// What finwait reads, and how much it misses: bytes, frames, observations.
fn read(path: &Path) -> Result<(Vec<Observation>, Value)> {
    let mut source = FileSource::open(path)?;
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    while source.poll(&mut batch, Duration::ZERO)? != Polled::End {
        all.append(&mut batch);
    }
    all.append(&mut batch);
    let missing = match source.unread() {
        Some(Unread::Frames(missing)) => [missing.bytes, missing.frames, missing.observations],
        _ => [0; 3],
    };
    let [bytes, frames, observations] = missing;
    Ok((all, json!({ "bytes": bytes, "frames": frames, "observations": observations })))
}

/// What the reader in Python reads of it.
fn described(path: &Path) -> Result<(Vec<Value>, Value)> {
    let output = Command::new("python3").arg(READER).arg(path).output().context("python3")?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{}: {said}", path.display());
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let all: serde_json::Result<Vec<Value>> = lines.map(serde_json::from_slice).collect();
    Ok((all?, serde_json::from_str(&said)?))
}

/// Without what is null, or an object of nothing else: JSON lines leave that out.
fn known(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, known(value)));
            let nothing = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
            Value::Object(fields.filter(|(_, value)| !nothing(value)).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(known).collect()),
        other => other,
    }
}

fn agree(path: &Path) -> Result<usize> {
    let (ours, missing) = read(path)?;
    let (theirs, also_missing) = described(path)?;
    for (ours, theirs) in ours.iter().zip(&theirs) {
        let ours = known(serde_json::to_value(ours)?);
        ensure!(ours == known(theirs.clone()), "{}: {ours} is not {theirs}", path.display());
    }
    ensure!(ours.len() == theirs.len(), "{}: {} and {}", path.display(), ours.len(), theirs.len());
    ensure!(missing == also_missing, "{}: {missing} and {also_missing}", path.display());
    Ok(ours.len())
}

fn record(observations: &[Observation], path: &Path, rotation: Rotation) -> Result<()> {
    let config = RecorderConfig { rotation, fsync: Fsync::Never };
    let mut recorder = Recorder::create(path, config, Box::new(|_| {}))?;
    for observation in observations {
        recorder.observation(observation)?;
    }
    Ok(recorder.finish()?)
}

/// The same transitions by many sockets and tasks, more than a frame remembers, with numbers anywhere in their range.
fn many(observations: &[Observation]) -> Vec<Observation> {
    let mut state = 1_u64;
    let mut any = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 29).rotate_left((state >> 58) as u32)
    };
    let mut all = observations.to_vec();
    for round in 0..40 {
        for observation in observations {
            let Observation::StateChange(change) = observation else { continue };
            let mut change = change.clone();
            change.cookie = Some(Cookie(any() % 4000));
            if let Some(task) = &mut change.task {
                (task.pid, task.comm) = (Pid(any() as u32 % 1500), Comm::from_text(&format!("task-{round}")));
            }
            let sometimes = |number: u64| (!number.is_multiple_of(5)).then_some(number);
            change.err = sometimes(any()).map(|number| number as i32);
            change.tcp.linger2 = sometimes(any()).map(|number| number as i32);
            change.tcp.retransmits = sometimes(any()).map(|number| number as u8);
            change.tcp.snd_una = sometimes(any()).map(|number| number as u32);
            change.tcp.bytes_acked = sometimes(any());
            change.lock_owned = sometimes(any()).map(|number| number % 2 == 0);
            all.push(Observation::StateChange(change));
        }
    }
    all
}

#[test]
fn the_description_of_recordings_is_enough_to_read_those_of_every_version() -> Result<()> {
    for name in FIXTURES.into_iter().chain(["many_sockets"]) {
        for version in ["v1", "v2"] {
            ensure!(agree(&fixture(&format!("{name}.{version}.fwr")))? > 10);
        }
    }
    Ok(())
}

#[test]
fn the_description_of_recordings_is_enough_to_read_those_of_today() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("trace.fwr");
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/recordings");
    let mut transitions = Vec::new();
    for entry in fs::read_dir(recordings)? {
        let (observations, _) = read(&entry?.path())?;
        record(&observations, &path, Rotation::default())?;
        ensure!(agree(&path)? == observations.len());
        transitions.extend(observations);
    }
    let (every_kind, _) = read(&fixture("every_kind.jsonl"))?;
    record(&many(&every_kind), &path, Rotation::default())?;
    agree(&path)?;
    Ok(())
}

#[test]
fn the_description_of_recordings_is_enough_to_read_files_in_a_row_and_what_damage_leaves() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (every_kind, _) = read(&fixture("every_kind.jsonl"))?;
    let rotation = Rotation { size: Some(300 << 10), ..Rotation::default() };
    let all: Vec<Observation> = (0..3).flat_map(|_| many(&every_kind)).collect();
    record(&all, &folder.path().join("t"), rotation)?;
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder.path())?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.sort();
    ensure!(files.len() > 2, "{files:?}");
    let row: Vec<u8> = files.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?.concat();
    let path = folder.path().join("row");
    fs::write(&path, &row)?;
    ensure!(agree(&path)? == all.len());
    for file in &files {
        agree(file)?;
    }
    // The last frame but the end is hit: what comes after it needs no preamble.
    let mut damaged = fs::read(&files[0])?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&path, &damaged)?;
    agree(&path)?;
    Ok(())
}
