//! `--redact-addresses`: no answer has a peer's address in full, whichever way it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::OPENMETRICS;
use crate::served::{Served, refused};

/// The peers of [`recording`].
const PEERS: [&str; 4] = ["198.51.100.77", "203.0.113.9", "2001:db8:1:2::77", "2001:db8:9::9"];
/// What is left of them.
const LEFT: [&str; 4] = ["198.51.100.0", "203.0.113.0", "2001:db8:1::", "2001:db8:9::"];

/// The fixture with peers far away, one of them as IPv4-mapped IPv6; a fifth connection stays in CLOSE_WAIT.
fn recording() -> String {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
    let text = std::fs::read_to_string(fixture).unwrap();
    let peer = |address: &str| format!("\"remote_addr\":\"{address}\"");
    let text = text
        .replace(&peer("10.0.0.7"), &peer("::ffff:198.51.100.77"))
        .replace(&peer("::1"), &peer("2001:db8:1:2::77"))
        .replace(&peer("10.0.0.9"), &peer("2001:db8:9::9"));
    let stuck = text.lines().find(|line| line.contains("\"new\":\"CLOSE_WAIT\"")).unwrap();
    let mut stuck: Value = serde_json::from_str(stuck).unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let last: Value =
        serde_json::from_str(text.lines().rfind(|l| l.contains("state_change")).unwrap()).unwrap();
    stuck["seq"] = (number(&last["seq"]) + 1).into();
    stuck["cpu"] = last["cpu"].clone();
    stuck["time_ns"] = (number(&last["time_ns"]) + 1).into();
    stuck["cookie"] = 99.into();
    stuck["sock_addr"] = (number(&stuck["sock_addr"]) + 4096).into();
    format!("{text}{stuck}\n")
}

/// It serves [`recording`], and somebody listened to the stream meanwhile: what came there.
fn served(arguments: &[&str]) -> (Served, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    command.args(["serve", "-r", "-", "--web.listen-address", "127.0.0.1:0"]).args(arguments);
    let mut served = Served::begun(command.stdin(Stdio::piped()).env_remove("NOTIFY_SOCKET"));
    let mut stream = served.connect();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", served.address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.by_ref().take_while(|line| !line.is_empty()).any(|line| line.contains("event-stream")));
    let mut stdin = served.child.stdin.take().unwrap();
    stdin.write_all(recording().as_bytes()).unwrap();
    drop(stdin);
    served.wait_until_ready();
    let data = lines.filter(|line| line.starts_with("data:")).take(4).collect::<Vec<_>>().join("\n");
    (served, data)
}

/// Every answer that tells of connections.
fn answers(served: &Served) -> Vec<(String, String)> {
    let closes = served.api("closes");
    let ids = closes["closes"].as_array().unwrap().iter().map(|close| close["conn_id"].as_str().unwrap());
    let one = ids.map(|id| format!("/api/v1/closes/{id}"));
    let all = ["summary", "history", "services", "stuck", "closes"].map(|name| format!("/api/v1/{name}"));
    let mut asked: Vec<(String, &str)> = one.chain(all).map(|path| (path, "")).collect();
    asked.extend([("/metrics".to_owned(), ""), ("/metrics".to_owned(), OPENMETRICS), ("/".to_owned(), "")]);
    asked.into_iter().map(|(path, headers)| (path.clone(), served.get(&path, headers).body)).collect()
}

const BY_ALL: &str = "role,service,process,container,unit,peer,netns";

#[test]
fn without_it_every_peer_is_told() {
    let (served, stream) = served(&["--group-by", BY_ALL]);
    let closes = served.get("/api/v1/closes", "").body;
    let stuck = served.get("/api/v1/stuck", "").body;
    for peer in PEERS {
        assert!(closes.contains(peer) && stream.contains(peer), "{peer}");
    }
    assert!(stuck.contains("203.0.113.9"), "{stuck}");
    assert_eq!(served.api("summary")["redacted"], false);
}

#[test]
fn no_answer_has_the_full_address_of_a_peer() {
    let far = ["--peer-network", "far=203.0.113.0/24"];
    let (served, stream) = served(&["--redact-addresses", "--group-by", BY_ALL, far[0], far[1]]);
    let mut answers = answers(&served);
    assert_eq!(answers.len(), 4 + 5 + 3);
    answers.push(("the stream".to_owned(), stream.clone()));
    for (path, body) in &answers {
        for peer in PEERS {
            assert!(!body.contains(peer), "{peer} in {path}: {body}");
        }
    }
    let closes = served.get("/api/v1/closes", "").body;
    for left in LEFT {
        let left = format!("\"remote_addr\":\"{left}\"");
        assert!(closes.contains(&left) && stream.contains(&left), "{left} in {closes}");
    }
    assert!(
        closes.contains("\"local_addr\":\"10.0.0.5\"")
            && served.get("/api/v1/stuck", "").body.contains(LEFT[1])
    );
    assert_eq!(served.api("summary")["redacted"], true);
    assert!(served.get("/metrics", "").body.contains("peer_network=\"far\""));
    let (_, verdict) = served.end();
    assert!(PEERS.iter().all(|peer| !verdict.contains(peer)), "{verdict}");
}

#[test]
fn ports_are_told_where_they_are_a_services() {
    let (served, _) = served(&["--redact-addresses"]);
    let port = |kind: &str| served.api(&format!("closes?kind={kind}"))["closes"][0]["remote_port"].clone();
    assert_eq!((port("active"), port("reset"), port("refused")), (json!(8080), json!(5432), json!(81)));
    assert_eq!(port("passive"), Value::Null, "the peer opened it, from an ephemeral port");
    let stuck = served.api("stuck");
    assert_eq!((&stuck["total"], &stuck["connections"][0]["remote_port"]), (&json!(1), &Value::Null));
}

/// Whoever may ask for addresses one by one must not learn which of them it is.
#[test]
fn a_peer_is_found_by_its_network_and_all_addresses_in_it_are_the_same() {
    let (served, _) = served(&["--redact-addresses"]);
    assert_eq!(served.kinds("peer=203.0.113.0/24"), ["passive"]);
    assert_eq!(served.kinds("peer=203.0.113.0"), ["passive"]);
    for host in 1..=255 {
        assert!(served.kinds(&format!("peer=203.0.113.{host}")).is_empty(), "{host}");
        assert_eq!(served.kinds(&format!("peer=203.0.113.{host}/32")).len(), 0, "{host}");
    }
}

#[test]
fn a_network_of_peers_that_would_tell_more_is_refused() {
    let (code, stderr) = refused(&["--redact-addresses", "--peer-network", "desk=203.0.113.8/29"]);
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
    assert!(stderr.contains("203.0.113.8/29") && stderr.contains("/24"), "{stderr}");
}
