//! Packet captures on the command line: told by their magic, from a file or a pipe.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use etherparse::PacketBuilder;
use serde_json::Value;

/// One segment: from the client or not, flags out of `SAFR`, sequence number, acknowledgement.
type Segment = (bool, &'static str, u32, u32);

/// A handshake and a close of three segments, the client first.
const THREE: [Segment; 6] = [
    (true, "S", 0, 0),
    (false, "SA", 0, 1),
    (true, "A", 1, 1),
    (true, "FA", 1, 1),
    (false, "FA", 1, 2),
    (true, "A", 2, 2),
];

/// A pcap file of microseconds on Ethernet, a millisecond from one packet to the next.
fn capture(segments: &[Segment]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for (at_ms, (by_client, flags, seq, ack)) in (0u32..).zip(segments) {
        let (from, to) = if *by_client { ((5, 39_812), (7, 8080)) } else { ((7, 8080), (5, 39_812)) };
        let link = PacketBuilder::ethernet2([2; 6], [4; 6]);
        let mut tcp = link.ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64).tcp(from.1, to.1, *seq, 1000);
        for flag in flags.chars() {
            tcp = match flag {
                'S' => tcp.syn(),
                'F' => tcp.fin(),
                'R' => tcp.rst(),
                _ => tcp.ack(*ack),
            };
        }
        let mut packet = Vec::new();
        tcp.write(&mut packet, &[]).unwrap();
        let length = u32::try_from(packet.len()).unwrap();
        for word in [1_700_000_000, at_ms * 1000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn finwait(args: &str, input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(args.split_whitespace()).env("TZ", "UTC").env_remove("NO_COLOR");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

/// The same from a file.
fn finwait_on_file(args: &str, input: &[u8]) -> Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(input).unwrap();
    Command::new(env!("CARGO_BIN_EXE_finwait"))
        .args(args.split_whitespace())
        .arg("-r")
        .arg(file.path())
        .env("TZ", "UTC")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json_lines(output: &Output) -> Vec<Value> {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_capture_is_told_by_its_magic_in_a_file_and_in_a_pipe() {
    let file = capture(&THREE);
    let from_pipe = json_lines(&finwait("closes -r - -o json", &file));
    let from_file = json_lines(&finwait_on_file("closes -o json", &file));
    assert_eq!(from_pipe, from_file);
    assert_eq!(from_file.len(), 3);
}

#[test]
fn both_ends_of_a_close_are_told_with_their_numbers() {
    let lines = json_lines(&finwait("closes -r - -o json", &capture(&THREE)));
    let of_port = |port: u64| lines.iter().find(|line| line["local_port"] == port).unwrap();
    let (client, server) = (of_port(39_812), of_port(8080));
    assert_eq!((&client["kind"], &server["kind"]), (&"active".into(), &"passive".into()));
    for end in [client, server] {
        assert_eq!(end["waves"], "three");
        assert_eq!(end["capture"]["second_and_third_merged"], true);
        assert_eq!(end["capture"]["waves"][2]["seq"], 1);
        assert_eq!(end["capture"]["waves"][2]["ack"], 2);
        assert_eq!(end["unknown"]["closer"], "not_in_capture");
    }
    assert_eq!(client["time"], "2023-11-14T22:13:20.004000Z");
    let summary = lines.last().unwrap();
    assert_eq!(summary["capture"]["packets"], 6);
    assert_eq!(summary["capture"]["connections"], 1);
    assert_eq!(summary["lost"], 0);
}

#[test]
fn both_ends_are_joined_where_that_is_asked_for() {
    let lines = json_lines(&finwait("closes -r - -o json --both-ends", &capture(&THREE)));
    assert_eq!(lines[0]["schema"], "finwait.both_ends/1");
    assert_eq!(lines[0]["first_closer"], "opener");
    assert_eq!(lines[0]["waves"], "three");
}

#[test]
fn states_are_those_of_both_ends() {
    let output = finwait("states -r - -o csv", &capture(&THREE));
    assert_eq!(output.status.code(), Some(0));
    for step in ["SYN_SENT,ESTABLISHED", "CLOSE_WAIT,LAST_ACK", "FIN_WAIT2,CLOSE"] {
        assert!(text(&output.stdout).contains(step), "{step}: {}", text(&output.stdout));
    }
}

#[test]
fn a_capture_that_is_cut_off_yields_what_is_whole_and_says_so() {
    let mut file = capture(&THREE);
    file.truncate(file.len() - 5);
    let output = finwait("closes -r -", &file);
    assert_eq!(output.status.code(), Some(0));
    let message = text(&output.stderr);
    assert!(message.contains("stdin could not be read beyond byte "), "{message}");
    assert!(message.contains("read 5 packets, 5 of TCP; 1 connection, 1 of them not over"), "{message}");
}

#[test]
fn a_filter_for_processes_is_refused_for_a_capture() {
    let output = finwait("closes -r - --comm nginx", &capture(&THREE));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("come from a packet capture"), "{}", text(&output.stderr));
}

/// Captures that tcpdump took beside scenes of the live tests, each with the closes that finwait tells of it. Where one changes on
/// purpose, write what is shown then.
#[test]
fn each_kind_of_close_that_tcpdump_saw_is_told_as_it_was() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures");
    let mut compared = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pcap") {
            continue;
        }
        let output = Command::new(env!("CARGO_BIN_EXE_finwait"))
            .args(["closes", "-o", "json", "--both-ends", "-r"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let expected = std::fs::read_to_string(path.with_extension("jsonl")).unwrap();
        assert_eq!(text(&output.stdout), expected, "{}", path.display());
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}
