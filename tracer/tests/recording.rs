//! A binary recording says what the same in text says, today's and those of earlier versions, packed or not, from a file or
//! a pipe.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test panics where it fails")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use finwait_core::Observation;
use tracer::recording::frame::{Layout, Packing};
use tracer::recording::{Decoder, Encoder, Found, Recorder, RecorderConfig, Scan};
use tracer::sink::Tap;
use tracer::source::{FileSource, Polled, Source};

const FIXTURES: [&str; 2] = ["closes", "every_kind"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn observations(path: &Path) -> Vec<Observation> {
    let mut source = FileSource::open(path).unwrap();
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    loop {
        let polled = source.poll(&mut batch, Duration::ZERO).unwrap();
        all.append(&mut batch);
        if polled == Polled::End {
            assert_eq!(source.unread(), None, "{}", path.display());
            return all;
        }
    }
}

fn record(observations: &[Observation], path: &Path) {
    let told = Box::new(|text: &str| panic!("{text}"));
    let mut recorder = Recorder::create(path, RecorderConfig::default(), told).unwrap();
    for observation in observations {
        recorder.observation(observation).unwrap();
    }
    recorder.finish().unwrap();
}

fn finwait(args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(args.split_whitespace());
    command
}

fn shown(args: &str, path: &Path) -> Output {
    let output = finwait(args).arg("-r").arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Of what comes through a pipe.
fn piped(args: &str, bytes: &[u8]) -> Output {
    let mut command = finwait(args);
    command.args(["-r", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn every_recording_of_the_scenarios_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let recordings = Path::new(env!("CARGO_MANIFEST_DIR")).join("core/tests/recordings");
    let mut seen = 0;
    for entry in fs::read_dir(recordings).unwrap() {
        let text = observations(&entry.unwrap().path());
        let path = folder.path().join("trace.fwr");
        record(&text, &path);
        assert_eq!(observations(&path), text);
        seen += 1;
    }
    assert!(seen >= 30, "only {seen} recordings");
}

#[test]
fn binary_and_text_are_shown_alike_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    for name in FIXTURES {
        let text = fixture(&format!("{name}.jsonl"));
        let binary = folder.path().join(name);
        record(&observations(&text), &binary);
        for args in ["closes", "closes -o json", "closes --both-ends", "states -o csv", "states -o json"] {
            assert_eq!(shown(args, &binary), shown(args, &text), "{name}: {args}");
        }
    }
}

#[test]
fn a_recording_is_read_through_a_pipe_and_packed_as_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let text = fixture("closes.jsonl");
    let binary = folder.path().join("trace.fwr");
    record(&observations(&text), &binary);
    let expected = shown("closes -o json", &text).stdout;
    for path in [&text, &binary] {
        let plain = fs::read(path).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(&plain).unwrap();
        let packed = [gzip.finish().unwrap(), zstd::encode_all(&plain[..], 3).unwrap()];
        for bytes in packed.iter().chain([&plain]) {
            assert_eq!(piped("closes -o json", bytes).stdout, expected);
            let file = folder.path().join("packed");
            fs::write(&file, bytes).unwrap();
            assert_eq!(shown("closes -o json", &file).stdout, expected);
        }
    }
}

#[test]
fn a_cut_recording_is_shown_as_far_as_it_goes_and_stderr_says_what_is_missing() {
    let whole = fs::read(fixture("closes.v1.fwr")).unwrap();
    let output = piped("closes -o json", &whole[..whole.len() - 10]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{message}");
    assert!(message.contains("stdin: 1 place is damaged, 34 bytes in all"), "{message}");
    assert!(message.contains("the file ends within a frame; it has no end"), "{message}");
    let summary: serde_json::Value =
        serde_json::from_slice(output.stdout.split(|b| *b == b'\n').rev().nth(1).unwrap()).unwrap();
    assert_eq!(summary["decode_errors"], 1);
}

#[test]
fn a_packed_recording_that_is_cut_is_shown_as_far_as_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (text, binary) = (fixture("closes.jsonl"), folder.path().join("trace.fwr"));
    // Of many frames, so that some of them are ahead of the cut.
    let told = Box::new(|text: &str| panic!("{text}"));
    let mut recorder = Recorder::create(&binary, RecorderConfig::default(), told).unwrap();
    let change = |seq: u64| {
        let line = fs::read_to_string(&text).unwrap().lines().nth(2).unwrap().to_owned();
        let mut change: serde_json::Value = serde_json::from_str(&line).unwrap();
        // Hard to pack.
        let inode = (seq.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).pow(2) ^ seq;
        (change["seq"], change["inode"]) = (seq.into(), inode.into());
        serde_json::from_value(change).unwrap()
    };
    let host = observations(&text).swap_remove(0);
    for observation in std::iter::once(host).chain((1..40_000_u64).map(change)) {
        recorder.observation(&observation).unwrap();
    }
    recorder.finish().unwrap();
    let plain = fs::read(&binary).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    for packed in [gzip.finish().unwrap(), zstd::encode_all(&plain[..], 3).unwrap()] {
        let output = piped("states -o json", &packed[..packed.len() / 2]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{message}");
        assert!(message.contains("stdin is packed, and cannot be unpacked to its end: "), "{message}");
        assert!(message.contains("it has no end, so what came last may be missing"), "{message}");
        let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
        assert!((1000..39_000).contains(&lines), "{lines}");
    }
}

/// `timeout` sends its signal to the process and to the process's group.
#[test]
fn a_signal_that_comes_twice_at_once_ends_a_run_in_order() {
    let mut command = finwait("closes -o json -r -");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(&fs::read(fixture("closes.jsonl")).unwrap()).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut String::new()).unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    for _ in 0..2 {
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.lines().last().is_some_and(|line| line.contains("\"ended_by\":\"signal\"")), "{rest}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(input);
}

#[test]
fn recordings_of_every_version_stay_readable() {
    for name in FIXTURES {
        let text = observations(&fixture(&format!("{name}.jsonl")));
        for packed in ["v1", "v1.lz4", "v2"] {
            assert_eq!(observations(&fixture(&format!("{name}.{packed}.fwr"))), text, "{name} {packed}");
        }
    }
}

/// More of them than a frame of version 2 remembers, and fewer than one of version 1 did.
#[test]
fn many_sockets_in_one_frame_are_told_apart_in_every_version() {
    let [first, second] = ["v1", "v2"].map(|version| fixture(&format!("many_sockets.{version}.fwr")));
    for path in [&first, &second] {
        let sockets = sockets_of_the_first_frame(path);
        assert!((257..2048).contains(&sockets), "{path:?}: {sockets}");
    }
    assert_eq!(observations(&first), observations(&second));
}

fn sockets_of_the_first_frame(path: &Path) -> usize {
    let mut scan = Scan::new(Cursor::new(fs::read(path).unwrap()));
    assert!(matches!(scan.find().unwrap(), Found::File(_)));
    let Found::Frame(header, payload) = scan.find().unwrap() else { panic!("no frame") };
    let payload = lz4_flex::block::decompress(&payload, header.unpacked as usize).unwrap();
    let mut all = Vec::new();
    Decoder::default().decode(header.layout, &payload, header.observations, &mut all).unwrap();
    let cookie = |observation: &Observation| match observation {
        Observation::StateChange(change) => change.cookie,
        _ => None,
    };
    all.iter().filter_map(cookie).collect::<BTreeSet<_>>().len()
}

#[test]
fn the_fixtures_have_every_kind_of_observation() {
    let kind = |observation: &Observation| match observation {
        Observation::Host(_) => 0,
        Observation::Clock(_) => 1,
        Observation::StateChange(_) => 2,
        Observation::Watermark(_) => 3,
        Observation::Counters(_) => 4,
        Observation::Reset(_) => 5,
        Observation::Retransmit(_) => 6,
        Observation::Accept(_) => 7,
        Observation::TimeWait(_) => 8,
        Observation::DumpBegin(_) => 9,
        Observation::Socket(_) => 10,
        Observation::DumpEnd(_) => 11,
        Observation::Cgroup(_) => 12,
        Observation::Resumed(_) => 13,
    };
    let there: BTreeSet<_> = observations(&fixture("every_kind.v1.fwr")).iter().map(kind).collect();
    assert!(there.into_iter().eq(0..14));
}

/// A change of what is written is a new version.
#[test]
fn what_is_written_today_is_version_2() {
    for name in FIXTURES {
        let text = observations(&fixture(&format!("{name}.jsonl")));
        let mut encoder = Encoder::default();
        text.iter().for_each(|observation| encoder.push(observation));
        let bytes = fs::read(fixture(&format!("{name}.v2.fwr"))).unwrap();
        let mut scan = Scan::new(Cursor::new(bytes));
        assert!(matches!(scan.find().unwrap(), Found::File(header) if header.version == 2));
        let Found::Frame(header, payload) = scan.find().unwrap() else { panic!("no frame") };
        assert_eq!((header.packing, header.layout), (Packing::Lz4, Layout::V2));
        let payload = lz4_flex::block::decompress(&payload, header.unpacked as usize).unwrap();
        assert_eq!(payload, encoder.payload(), "{name}");
    }
}

#[test]
fn a_recording_is_not_written_to_what_cannot_hold_it() {
    let output = finwait("record -w /nonexistent/trace.fwr").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot create /nonexistent/trace.fwr"), "{message}");
}
