//! tshark and finwait read the same captures: they agree on how many connections there are, and on which of them ended by FIN and which
//! by a reset.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use etherparse::PacketBuilder;
use serde_json::Value;

use super::alone;

/// How a connection ended: `fin`, `reset`, or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ended {
    fin: bool,
    reset: bool,
}

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

/// By client port, what tshark says of the flags of each conversation.
fn by_tshark(path: &str) -> Result<BTreeMap<u16, Ended>> {
    let fields = ["tcp.stream", "tcp.srcport", "tcp.dstport", "tcp.flags.fin", "tcp.flags.reset"];
    let mut command = Command::new("tshark");
    command.args(["-r", path, "-Y", "tcp", "-T", "fields"]);
    fields.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = command.output().context("tshark")?;
    ensure!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let (mut ended, mut streams) = (BTreeMap::new(), BTreeMap::new());
    for line in String::from_utf8(output.stdout)?.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [stream, from, to, fin, reset] = columns[..] else { anyhow::bail!("tshark wrote {line:?}") };
        let (from, to): (u16, u16) = (from.parse()?, to.parse()?);
        let client = from.max(to);
        ensure!(*streams.entry(stream.to_owned()).or_insert(client) == client, "one stream, two connections");
        let ended: &mut Ended = ended.entry(client).or_default();
        let set = |flag: &str| matches!(flag, "1" | "True");
        ended.fin |= set(fin);
        ended.reset |= set(reset);
    }
    Ok(ended)
}

/// The same by finwait's closes, and how many connections it says there are.
fn by_finwait(path: &str) -> Result<(BTreeMap<u16, Ended>, u64)> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_finwait")).args(["closes", "-o", "json", "-r", path]).output()?;
    ensure!(output.status.success(), "finwait: {}", String::from_utf8_lossy(&output.stderr));
    let (mut ended, mut connections) = (BTreeMap::new(), 0);
    for line in String::from_utf8(output.stdout)?.lines() {
        let value: Value = serde_json::from_str(line)?;
        if value["schema"] == "finwait.summary/1" {
            connections = value["capture"]["connections"].as_u64().context("no count")?;
            continue;
        }
        let ports = [&value["local_port"], &value["remote_port"]].map(|port| port.as_u64().unwrap_or(0));
        let client = u16::try_from(ports[0].max(ports[1]))?;
        let ended: &mut Ended = ended.entry(client).or_default();
        let fins = [0, 2].map(|wave| !value["capture"]["waves"][wave].is_null());
        ended.fin |= fins.contains(&true);
        ended.reset |= value["kind"] == "reset" || value["kind"] == "refused";
    }
    Ok((ended, connections))
}

#[test]
fn tshark_agrees_on_the_connections_and_on_how_each_of_them_ended() -> Result<()> {
    let _alone = alone();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("made.pcap");
    fs::write(&path, capture(900)?)?;
    let path = path.to_str().context("a path")?;
    let tshark = by_tshark(path)?;
    let (finwait, connections) = by_finwait(path)?;
    assert_eq!(connections, tshark.len() as u64);
    for (client, theirs) in &tshark {
        let ours = finwait.get(client).copied().unwrap_or_default();
        let situation = ENDS[usize::from(client - 10_000) % ENDS.len()].0;
        assert_eq!(ours, *theirs, "port {client}: {situation}");
    }
    Ok(())
}
