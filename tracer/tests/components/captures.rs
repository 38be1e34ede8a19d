//! tshark and finwait read the same captures: they agree on how many connections there are, and on which of them ended by FIN and which
//! by a reset. The captures are a made one, the committed ones, and those that tcpdump took beside the live tests, where these ran in
//! this checkout (`cargo xtask test`).

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use serde_json::Value;

use super::alone;

/// What ended a connection: FINs, a reset, or nothing so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    fin: bool,
    reset: bool,
}

const NOTHING: Ended = Ended { fin: false, reset: false };
const FIN: Ended = Ended { fin: true, reset: false };
const RESET: Ended = Ended { fin: false, reset: true };
const BOTH: Ended = Ended { fin: true, reset: true };

/// Bits of tcp.completeness (Wireshark User's Guide, 7.5): FIN and RST were seen.
const COMPLETENESS_FIN: u32 = 16;
const COMPLETENESS_RST: u32 = 32;

const NO_ENDS: &str = "a socket that is its own peer has no two ends: finwait counts it, and as not over";
const GIVEN_UP: &str = "the last FIN was never acknowledged: finwait counts the connection as not over";

/// Connections of which the two say different things by design: the scene of the capture, what tshark says, what finwait does, and why.
const BY_DESIGN: &[(&str, Ended, Ended, &str)] = &[
    ("self_connect", FIN, NOTHING, NO_ENDS),
    ("client_closes_first_to_IPv4_client_of_an_IPv6_listener", FIN, NOTHING, NO_ENDS),
    ("peer_gone_in_LAST_ACK-client", FIN, NOTHING, GIVEN_UP),
    ("peer_gone_in_LAST_ACK-server", FIN, NOTHING, GIVEN_UP),
    (
        "keepalive_death-client",
        BOTH,
        RESET,
        "the reset ended the connection: a FIN that comes later is of none",
    ),
    (
        "reset_in_TIME_WAIT-client",
        BOTH,
        FIN,
        "the FINs ended the connection: a reset that comes later is of none",
    ),
];

/// One segment of a connection: by the client, flags of `SAFR`, sequence number, acknowledgement, payload.
type Line = (bool, &'static str, u32, u32, usize);

const OPEN: [Line; 5] = [
    (true, "S", 0, 0, 0),
    (false, "SA", 0, 1, 0),
    (true, "A", 1, 1, 0),
    (true, "A", 1, 1, 100),
    (false, "A", 1, 101, 40),
];

/// What follows on the opening, by situation.
const ENDS: [(&str, &[Line]); 9] = [
    (
        "four waves",
        &[
            (true, "FA", 101, 41, 0),
            (false, "A", 41, 102, 0),
            (false, "FA", 41, 102, 0),
            (true, "A", 102, 42, 0),
        ],
    ),
    ("three waves", &[(true, "FA", 101, 41, 0), (false, "FA", 41, 102, 0), (true, "A", 102, 42, 0)]),
    (
        "the server first",
        &[
            (false, "FA", 41, 101, 0),
            (true, "A", 101, 42, 0),
            (true, "FA", 101, 42, 0),
            (false, "A", 42, 102, 0),
        ],
    ),
    (
        "crossed",
        &[
            (true, "FA", 101, 41, 0),
            (false, "FA", 41, 101, 0),
            (true, "A", 102, 42, 0),
            (false, "A", 42, 102, 0),
        ],
    ),
    (
        "a FIN sent again",
        &[
            (true, "FA", 101, 41, 0),
            (true, "FA", 101, 41, 0),
            (false, "FA", 41, 102, 0),
            (true, "A", 102, 42, 0),
        ],
    ),
    ("a reset by the server", &[(false, "RA", 41, 101, 0)]),
    ("a reset by the client", &[(true, "R", 101, 0, 0)]),
    (
        "a reset after the first FIN",
        &[
            (true, "FA", 101, 41, 0),
            (false, "A", 41, 102, 0),
            (false, "A", 41, 102, 9),
            (true, "R", 102, 0, 0),
        ],
    ),
    ("going on", &[(true, "A", 101, 41, 5)]),
];

/// A capture in which every connection goes on by one segment in turn; client ports from 10,000 on.
fn capture(connections: u16) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, 101] {
        file.extend(word.to_le_bytes());
    }
    let mut at_us = 0u32;
    for step in 0..OPEN.len() + 4 {
        for connection in 0..connections {
            let (_, end) = ENDS[usize::from(connection) % ENDS.len()];
            let Some(line) = OPEN.iter().chain(end).nth(step) else { continue };
            let packet = packet(10_000 + connection, line)?;
            let length = u32::try_from(packet.len())?;
            at_us += 7;
            for word in [1_700_000_000 + at_us / 1_000_000, at_us % 1_000_000, length, length] {
                file.extend(word.to_le_bytes());
            }
            file.extend(packet);
        }
    }
    Ok(file)
}

fn packet(client: u16, &(by_client, flags, seq, ack, payload): &Line) -> Result<Vec<u8>> {
    let ends = [([10, 0, 0, 1], client), ([10, 0, 0, 2], 80)];
    let (from, to) = if by_client { (ends[0], ends[1]) } else { (ends[1], ends[0]) };
    // Near the wrap for some connections.
    let isn = u32::MAX - u32::from(client) % 150;
    let mut tcp = PacketBuilder::ipv4(from.0, to.0, 64).tcp(from.1, to.1, isn.wrapping_add(seq), 1000);
    for flag in flags.chars() {
        tcp = match flag {
            'S' => tcp.syn(),
            'F' => tcp.fin(),
            'R' => tcp.rst(),
            _ => tcp.ack(isn.wrapping_add(ack)),
        };
    }
    let mut bytes = Vec::new();
    tcp.write(&mut bytes, &vec![0; payload]).context("a packet")?;
    Ok(bytes)
}

/// What tshark says of the connections of a capture.
#[derive(Default)]
struct Tshark {
    /// By number of the connection (tcp.stream)
    streams: BTreeMap<u64, Ended>,
    /// The connection of each packet
    frames: BTreeMap<u64, u64>,
}

/// Two passes: in one, tcp.completeness is that of the packets before.
fn by_tshark(path: &Path) -> Result<Tshark> {
    let fields = ["frame.number", "tcp.stream", "tcp.completeness", "tcp.flags.fin", "tcp.flags.reset"];
    let mut command = Command::new("tshark");
    command.arg("-2").arg("-r").arg(path).args(["-Y", "tcp", "-T", "fields"]);
    fields.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = command.output().context("tshark")?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let (mut tshark, mut flags) = (Tshark::default(), BTreeMap::<u64, Ended>::new());
    for line in String::from_utf8(output.stdout)?.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [frame, stream, complete, fin, reset] = columns[..] else {
            anyhow::bail!("tshark wrote {line:?}")
        };
        let (frame, stream, complete): (u64, u64, u32) = (frame.parse()?, stream.parse()?, complete.parse()?);
        let (ended, seen) = (tshark.streams.entry(stream).or_default(), flags.entry(stream).or_default());
        ended.fin |= complete & COMPLETENESS_FIN != 0;
        ended.reset |= complete & COMPLETENESS_RST != 0;
        let set = |flag: &str| matches!(flag, "1" | "True");
        seen.fin |= set(fin);
        seen.reset |= set(reset);
        tshark.frames.insert(frame, stream);
    }
    let odd = flags.iter().find(|(stream, seen)| tshark.streams.get(stream) != Some(seen));
    ensure!(
        odd.is_none(),
        "tcp.completeness is not what the flags say: {odd:?}, {:?}",
        tshark.streams.get(&0)
    );
    Ok(tshark)
}

/// What finwait says, by packets of the capture that ended a connection; and how many connections it counts.
fn by_finwait(path: &Path) -> Result<(Vec<(u64, Ended)>, u64)> {
    let output = Command::new(env!("CARGO_BIN_EXE_finwait"))
        .args(["closes", "-o", "json", "-r"])
        .arg(path)
        .output()
        .context("finwait")?;
    ensure!(output.status.success(), "finwait: {}", String::from_utf8_lossy(&output.stderr));
    let (mut ended, mut connections) = (Vec::new(), None);
    for line in String::from_utf8(output.stdout)?.lines() {
        let value: Value = serde_json::from_str(line)?;
        if value["schema"] == "finwait.summary/1" {
            connections = value["capture"]["connections"].as_u64();
            continue;
        }
        let capture = &value["capture"];
        let waves = [0, 1, 2, 3].map(|wave| capture["waves"][wave]["frame"].as_u64());
        let reset = capture["reset"]["frame"].as_u64();
        let frame = waves.into_iter().flatten().next().or(reset).context("a close without a segment")?;
        let kind = value["kind"].as_str().unwrap_or("unknown");
        let by_reset = matches!(kind, "reset" | "refused") || kind == "unknown" && reset.is_some();
        ensure!(by_reset == reset.is_some(), "{kind}, and its reset is packet {reset:?}");
        ended.push((frame, Ended { fin: waves[0].or(waves[2]).is_some(), reset: by_reset }));
    }
    Ok((ended, connections.context("no count of connections")?))
}

/// Where the two disagree about the capture at `path`, a sentence each.
fn disagreements(path: &Path) -> Result<Vec<String>> {
    let tshark = by_tshark(path).with_context(|| path.display().to_string())?;
    let (closes, connections) = by_finwait(path).with_context(|| path.display().to_string())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut ours: BTreeMap<u64, Ended> = tshark.streams.keys().map(|stream| (*stream, NOTHING)).collect();
    for (frame, ended) in closes {
        let stream = tshark.frames.get(&frame).context("a packet that is none of tshark's")?;
        let both = ours.entry(*stream).or_default();
        (both.fin, both.reset) = (both.fin | ended.fin, both.reset | ended.reset);
    }
    let mut found = Vec::new();
    if connections != tshark.streams.len() as u64 {
        found.push(format!("{name}: {connections} connections, to tshark {}", tshark.streams.len()));
    }
    let expected = BY_DESIGN.iter().filter(|(scene, ..)| is_of(&name, scene));
    let expected: Vec<_> = expected.map(|(_, theirs, ours, _)| (*theirs, *ours)).collect();
    let differing = tshark.streams.iter().filter(|(stream, theirs)| ours[stream] != **theirs);
    let differing: Vec<_> = differing.map(|(stream, theirs)| (*theirs, ours[stream])).collect();
    if differing != expected {
        found.push(format!("{name}: differ (tshark's, finwait's) {differing:?}, expected {expected:?}"));
    }
    Ok(found)
}

/// Whether the capture called `name` is one of `scene`: the live tests add a number.
fn is_of(name: &str, scene: &str) -> bool {
    let rest = name.strip_prefix(scene).and_then(|rest| rest.strip_suffix(".pcap"));
    rest.is_some_and(|rest| rest.chars().all(|c| c == '-' || c.is_ascii_digit()))
}

fn captures_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "pcap"));
    paths.sort();
    Ok(paths)
}

#[test]
fn tshark_agrees_on_the_connections_and_on_how_each_of_them_ended() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.pcap");
    fs::write(&path, capture(900)?)?;
    ensure!(by_tshark(&path)?.streams.len() == 900, "tshark finds other connections than were made");
    assert_eq!(disagreements(&path)?, [""; 0]);
    Ok(())
}

#[test]
fn tshark_agrees_on_every_capture_that_is_committed() -> Result<()> {
    let _alone = alone();
    let paths = captures_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captures"))?;
    assert!(paths.len() > 10, "{paths:?}");
    assert_eq!(all_disagreements(&paths)?, [""; 0]);
    Ok(())
}

/// `cargo xtask test` makes them, and `cargo xtask components` says where.
#[test]
fn tshark_agrees_on_every_capture_of_the_live_tests() -> Result<()> {
    let _alone = alone();
    let Some(folder) = env::var_os("FINWAIT_CAPTURES") else {
        println!("no captures: the live tests did not run in this checkout");
        return Ok(());
    };
    let paths = captures_in(Path::new(&folder))?;
    println!("{} captures", paths.len());
    assert_eq!(all_disagreements(&paths)?, [""; 0]);
    Ok(())
}

fn all_disagreements(paths: &[PathBuf]) -> Result<Vec<String>> {
    let found = paths.iter().map(|path| disagreements(path)).collect::<Result<Vec<_>>>()?;
    Ok(found.into_iter().flatten().collect())
}

#[test]
fn a_capture_is_told_by_its_scene() {
    for (name, scene, same) in [
        ("self_connect.pcap", "self_connect", true),
        ("peer_gone_in_LAST_ACK-client-71.pcap", "peer_gone_in_LAST_ACK-client", true),
        ("peer_gone_in_LAST_ACK-server-72.pcap", "peer_gone_in_LAST_ACK-client", false),
        ("FIN_WAIT2_timeout__then_close-22.pcap", "FIN_WAIT2_timeout", false),
        ("self_connect-3.pcapng", "self_connect", false),
    ] {
        assert_eq!(is_of(name, scene), same, "{name}");
    }
}
