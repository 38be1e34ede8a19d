use finwait_core::Claim;
use finwait_core::record::{TimeWaitEnd, TimeWaitRecord, WaveTime};
use finwait_core::{Cookie, MonoNs, SocketKey};

use super::*;
use crate::sink::samples_for_tests::{
    Shared, both_ends, close, conn_id, context, killed, known, time_wait, unproven,
};

const STYLE: Style = Style { width: 100, ascii: false, evidence: false, colour: false };

fn explaining() -> Explaining {
    Explaining {
        conn_id: None,
        filter: Filter::default(),
        count: None,
        time_waits: false,
        form: Form::Text(STYLE),
        zone: TimeZone::UTC,
    }
}

fn sink(explaining: Explaining, out: &Shared) -> ExplainSink {
    let mut sink = ExplainSink::new(Box::new(out.clone()), explaining);
    let mut context = context();
    if let Some(host) = &mut context.host {
        host.hooks.time_wait = TimeWaitSource::Fentry;
    }
    sink.context(&context);
    sink
}

fn of_cookie(cookie: u64) -> CloseRecord {
    CloseRecord { conn_id: ConnId { socket: SocketKey::Cookie(Cookie(cookie)), ..conn_id() }, ..close() }
}

fn closed(close: CloseRecord) -> Record {
    Record::Close(Box::new(close))
}

/// conn_id of what was written, in order.
fn heads(out: &Shared) -> Vec<String> {
    let text = out.text();
    let heads = text.lines().filter(|line| line.contains("  closed at "));
    heads.map(|line| line.split(' ').next().unwrap_or_default().to_owned()).collect()
}

fn left(close: &CloseRecord) -> Record {
    Record::TimeWait(Box::new(TimeWaitRecord { conn_id: close.conn_id, ..time_wait() }))
}

#[test]
fn a_slow_close_is_drawn_as_a_ladder_and_told_in_words() {
    let out = Shared::default();
    sink(explaining(), &out).record(&closed(close())).unwrap();
    assert_eq!(
        out.text().lines().collect::<Vec<_>>(),
        [
            "4f1c09ab2f3a-2a-3b9aca00  closed at 20:24:14",
            "  curl/9120                                             10.0.0.7:8080",
            "  10.0.0.5:39812                                       (not observed)",
            "  │ SYN_SENT        0.00 ms  ──────────────── SYN ────────────────▶ │ connect() by curl/9120",
            "  │ ESTABLISHED     1.00 ms  ◀────────────── SYN, ACK ───────────── │ handshake 0.3ms",
            "  ┆                          47ms open, 512 bytes sent, 2.0K bytes  ┆",
            "  ┆                          received                               ┆",
            "  │ FIN_WAIT1      48.00 ms  ─────────────── 1: FIN ──────────────▶ │ close() by curl/9120",
            "  ┆                          0.4ms in FIN_WAIT1: our FIN under way, ┆",
            "  ┆                          and its acknowledgement                ┆",
            "  │ FIN_WAIT2      48.00 ms  ◀─────────────── 2: ACK ────────────── │",
            "  ┆                          3.1s in FIN_WAIT2: the peer kept its   ┆",
            "  ┆                          half open  !                           ┆",
            "  │ TIME_WAIT       3.148 s! ◀─────────────── 3: FIN ────────────── │",
            "  │                 3.148 s  ─────────────── 4: ACK ──────────────▶ │",
            "  ┆                          TIME_WAIT: its end was not seen, or    ┆",
            "  ┆                          has not come                           ┆",
            "",
            "  This end closed first: close() by curl/9120.",
            "  3.1s went by before the FIN of the other end, 10.0.0.7:8080, came: far longer than the round",
            "    trip of 0.3ms explains.",
            "  Our FIN was acknowledged within 0.4ms, so the network and the peer's kernel answer.",
            "  Either its program closed so late or its FIN was lost on the way; the other end's own record",
            "    would tell, and is not on this host.",
            "  Look at the program at the other end: work after the end of a request, a keep-alive timer, or a",
            "    pool that reaps slowly.",
            "  TIME_WAIT is at the end that closes first, here the one with the ephemeral port: where ports run",
            "    short, keep connections and use them again, or let the service close first.",
            "  What net.ipv4.tcp_fin_timeout, net.ipv4.tcp_tw_reuse, net.ipv4.ip_local_port_range were set to",
            "    is not known: the settings in force were not recorded.",
            "  Four segments.",
            "  Nothing was sent again while closing.",
        ],
        "{}",
        out.text()
    );
}

#[test]
fn no_line_is_wider_than_the_terminal_and_ascii_is_ascii() {
    for (width, ascii) in [(80, false), (80, true), (97, false), (160, true)] {
        let out = Shared::default();
        let style = Style { width, ascii, evidence: true, ..STYLE };
        let mut sink = sink(Explaining { form: Form::Text(style), ..explaining() }, &out);
        for record in [closed(close()), closed(killed()), Record::BothEnds(Box::new(both_ends()))] {
            sink.record(&record).unwrap();
        }
        sink.record(&closed(unproven())).unwrap();
        for line in out.text().lines() {
            assert!(line.chars().count() <= width, "{width}: {line}");
            assert!(!ascii || line.is_ascii(), "{line}");
        }
    }
}

#[test]
fn with_evidence_each_sentence_says_what_it_rests_on() {
    let out = Shared::default();
    let style = Style { evidence: true, ..STYLE };
    sink(Explaining { form: Form::Text(style), ..explaining() }, &out).record(&closed(close())).unwrap();
    let text = out.text();
    for part in [
        "      close.kind: each state left was the last one entered, and nothing was lost",
        "      close.dwell_ns.FIN_WAIT2: each state left",
        "      net.ipv4.tcp_fin_timeout is not known: the settings in force were not recorded",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn so_many_are_explained_and_no_more() {
    let out = Shared::default();
    let mut sink = sink(Explaining { count: Some(2), ..explaining() }, &out);
    for cookie in 1..=3 {
        assert_eq!(sink.is_satisfied(), cookie == 3);
        sink.record(&closed(of_cookie(cookie))).unwrap();
    }
    assert_eq!(heads(&out).len(), 2);
}

#[test]
fn one_connection_is_picked_by_its_id() {
    let out = Shared::default();
    let wanted = of_cookie(2).conn_id.to_string();
    let mut sink = sink(Explaining { conn_id: Some(wanted.clone()), ..explaining() }, &out);
    for cookie in 1..=3 {
        sink.record(&closed(of_cookie(cookie))).unwrap();
    }
    assert_eq!(heads(&out), [wanted]);
    assert!(sink.is_satisfied());
}

#[test]
fn the_order_is_that_of_the_closes_however_time_wait_ends() {
    let out = Shared::default();
    let mut sink = sink(Explaining { time_waits: true, ..explaining() }, &out);
    let [first, second] = [of_cookie(1), of_cookie(2)];
    sink.record(&closed(first.clone())).unwrap();
    sink.record(&closed(second.clone())).unwrap();
    assert!(sink.follows(first.conn_id) && heads(&out).is_empty());
    sink.record(&left(&second)).unwrap();
    assert!(heads(&out).is_empty(), "the first still waits");
    sink.record(&left(&first)).unwrap();
    assert_eq!(heads(&out), [first.conn_id.to_string(), second.conn_id.to_string()]);
}

#[test]
fn a_time_wait_socket_that_ends_ahead_of_the_pair_is_not_forgotten() {
    let out = Shared::default();
    let mut sink = sink(Explaining { time_waits: true, ..explaining() }, &out);
    let record = Record::TimeWait(Box::new(TimeWaitRecord {
        conn_id: conn_id(),
        ended: known(WaveTime::at(MonoNs(1))),
        end: known(TimeWaitEnd::ResetReceived),
        ..time_wait()
    }));
    sink.record(&record).unwrap();
    sink.record(&closed(close())).unwrap();
    assert_eq!(heads(&out).len(), 1);
    assert!(out.text().contains("ended by the peer's reset"), "{}", out.text());
}

#[test]
fn at_the_end_nobody_waits_any_more() {
    let out = Shared::default();
    let mut sink = sink(Explaining { time_waits: true, ..explaining() }, &out);
    sink.record(&closed(close())).unwrap();
    while !sink.waiting.is_empty() {
        sink.write_first().unwrap();
    }
    assert_eq!((sink.explained(), heads(&out).len()), (1, 1));
    assert!(matches!(close().kind, Claim::Known { .. }));
}

#[test]
fn colour_is_added_to_the_same_text() {
    let written = |colour| {
        let out = Shared::default();
        let form = Form::Text(Style { colour, evidence: true, ..STYLE });
        sink(Explaining { form, ..explaining() }, &out).record(&closed(close())).unwrap();
        out.text()
    };
    let coloured = written(true);
    assert!(coloured.contains("\u{1b}[1;33m  ┆ "), "what is slow stands out: {coloured}");
    let mut stripped = coloured;
    for code in ["\u{1b}[1m", "\u{1b}[2m", "\u{1b}[1;33m", "\u{1b}[31m", "\u{1b}[0m"] {
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, written(false));
}

#[test]
fn as_json_each_sentence_has_its_grounds_and_every_name_is_documented() {
    let out = Shared::default();
    let mut sink = sink(Explaining { form: Form::Json, ..explaining() }, &out);
    let mut told = sink.context.clone();
    if let Some(host) = &mut told.host {
        host.sysctls.tcp_fin_timeout = Some(60);
        host.sysctls.netns = close().netns;
    }
    sink.context(&told);
    sink.record(&closed(close())).unwrap();
    let line: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!(
        (&line["schema"], &line["conn_id"]),
        (&"finwait.explanation/1".into(), &close().conn_id.to_string().into())
    );
    assert_eq!(line["settings"]["tcp_fin_timeout"], 60);
    let sentences = line["sentences"].as_array().unwrap();
    assert!(sentences.iter().all(|sentence| !sentence["grounds"].as_array().unwrap().is_empty()));
    let documented = include_str!("../../../../docs/events.md");
    let grounds = sentences.iter().flat_map(|sentence| sentence["grounds"].as_array().unwrap());
    let bases = grounds.clone().map(|ground| ground["basis"].as_str().unwrap().to_owned());
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let names = keys(&line).into_iter().chain(keys(&line["this_end"])).chain(keys(&sentences[0]));
    for word in names.chain(grounds.flat_map(keys)).chain(bases) {
        assert!(documented.contains(&format!("`{word}`")), "{word}");
    }
}
