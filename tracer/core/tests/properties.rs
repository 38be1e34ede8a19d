//! What holds for any order, duplication or loss of events.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use std::collections::BTreeMap;

use finwait_core::record::CloseRecord;
use finwait_core::{Claim, Cookie, MonoNs, Observation, Record, SocketKey, TcpState, TrackerConfig};
use proptest::prelude::*;
use script::{MILLI, RESETS, SECOND, Script, Sock, accepted, opened, run};

/// A way from ESTABLISHED to CLOSE, and how the socket shows itself on each step.
#[derive(Clone, Copy, Debug)]
enum Way {
    ActiveMerged,
    ActiveSeparate,
    ActiveHidden,
    Passive,
    ResetReceived,
    LingerZero,
    ShutdownThenClose,
    Crossed,
}

const WAYS: [Way; 8] = [
    Way::ActiveMerged,
    Way::ActiveSeparate,
    Way::ActiveHidden,
    Way::Passive,
    Way::ResetReceived,
    Way::LingerZero,
    Way::ShutdownThenClose,
    Way::Crossed,
];

/// A connect() that is refused; the descriptor is used again after it.
fn refused(script: &mut Script, cookie: u64, at: u64) {
    let mut sock = Sock::new(cookie, 300, 400);
    sock.by(99, "retry");
    script.step(&mut sock, at, TcpState::Close, TcpState::SynSent);
    sock.softirq().err(111);
    script.step(&mut sock, at + 1000, TcpState::SynSent, TcpState::Close);
}

/// One whole connection, each of its steps at another time.
fn walk(script: &mut Script, cookie: u64, way: Way, accept: bool) {
    use TcpState::{Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck};
    let base = cookie * 100 * MILLI;
    if !accept && cookie.is_multiple_of(2) {
        refused(script, cookie, MILLI / 2);
    }
    let mut sock = if accept { accepted(script, cookie) } else { opened(script, cookie) };
    sock.acked(cookie % 1000).received(cookie % 77).read_all();
    let fin = |sock: &mut Sock| {
        let tcp = sock.tcp();
        tcp.write_seq = tcp.write_seq.map(|n| n.wrapping_add(1));
    };
    let fin_acked = |sock: &mut Sock, clock| {
        let tcp = sock.tcp();
        (tcp.snd_una, tcp.snd_nxt) = (tcp.write_seq, tcp.write_seq);
        tcp.bytes_acked = tcp.bytes_acked.map(|n| n + 1);
        tcp.clock_cache_ns = Some(clock);
    };
    match way {
        Way::ActiveMerged | Way::ActiveSeparate | Way::ActiveHidden => {
            sock.by(100, "curl").shut(true, true);
            script.step(&mut sock, base, Established, FinWait1);
            fin(&mut sock);
            fin_acked(&mut sock, base);
            sock.softirq().flags(true, false);
            script.step(&mut sock, base + 10, FinWait1, FinWait2);
            if !matches!(way, Way::ActiveHidden) {
                sock.flags(true, true).received(1);
            }
            if matches!(way, Way::ActiveSeparate) {
                sock.tcp().clock_cache_ns = Some(base + 1);
            }
            script.step(&mut sock, base + 20, FinWait2, Close);
        }
        Way::Passive => {
            sock.received(1).flags(false, true).shut(true, false).softirq();
            script.step(&mut sock, base, Established, CloseWait);
            sock.by(811, "nginx").shut(true, true);
            script.step(&mut sock, base + 10, CloseWait, LastAck);
            fin(&mut sock);
            fin_acked(&mut sock, base);
            sock.softirq().flags(true, true);
            script.step(&mut sock, base + 20, LastAck, Close);
        }
        Way::ResetReceived => {
            sock.softirq().err(104);
            script.step(&mut sock, base, Established, Close);
        }
        Way::LingerZero => {
            sock.by(100, "curl").shut(true, true);
            sock.now.flags.as_mut().unwrap().linger = true;
            script.step(&mut sock, base, Established, Close);
        }
        Way::ShutdownThenClose => {
            sock.by(100, "curl").shut(false, true);
            script.step(&mut sock, base, Established, FinWait1);
            fin(&mut sock);
            fin_acked(&mut sock, base);
            sock.softirq();
            script.step(&mut sock, base + 10, FinWait1, FinWait2);
            sock.by(100, "curl").shut(true, true);
            script.step(&mut sock, base + 15, FinWait2, FinWait2);
            sock.flags(true, false);
            script.step(&mut sock, base + 20, FinWait2, Close);
        }
        Way::Crossed => {
            sock.by(100, "curl").shut(true, true);
            script.step(&mut sock, base, Established, FinWait1);
            fin(&mut sock);
            sock.softirq().received(1).flags(true, true);
            script.step(&mut sock, base + 10, FinWait1, Closing);
            fin_acked(&mut sock, base);
            script.step(&mut sock, base + 20, Closing, Close);
        }
    }
    if !accept && cookie.is_multiple_of(3) {
        refused(script, cookie, base + MILLI);
    }
}

fn scripts() -> impl Strategy<Value = Script> {
    prop::collection::vec((0..WAYS.len(), any::<bool>()), 1..12).prop_map(|ways| {
        let mut script = Script::new().hooks(RESETS);
        for (index, (way, accept)) in ways.into_iter().enumerate() {
            walk(&mut script, index as u64 + 1, WAYS[way], accept);
        }
        script
    })
}

/// Every claim by its name: the value as text, or nothing where it is unknown.
fn claims(close: &CloseRecord) -> BTreeMap<String, Option<String>> {
    fn put<T: std::fmt::Debug>(all: &mut BTreeMap<String, Option<String>>, name: &str, claim: &Claim<T>) {
        all.insert(name.to_owned(), claim.value().map(|value| format!("{value:?}")));
    }
    let mut all = BTreeMap::new();
    put(&mut all, "role", &close.role);
    put(&mut all, "opener", &close.opener);
    put(&mut all, "closer", &close.closer);
    put(&mut all, "first_closer", &close.first_closer);
    put(&mut all, "kind", &close.kind);
    put(&mut all, "waves", &close.waves);
    put(&mut all, "successor", &close.successor);
    put(&mut all, "life_ns", &close.life_ns);
    put(&mut all, "handshake_ns", &close.handshake_ns);
    put(&mut all, "bytes_sent", &close.bytes_sent);
    put(&mut all, "bytes_received", &close.bytes_received);
    put(&mut all, "error", &close.error);
    if let Some(reset) = &close.reset {
        put(&mut all, "reset.direction", &reset.direction);
        put(&mut all, "reset.cause", &reset.cause);
    }
    for dwell in &close.dwells {
        put(&mut all, dwell.state.name(), &dwell.duration_ns);
    }
    all
}

/// Close records by socket and time of each of their steps.
fn truths(records: Vec<Record>) -> BTreeMap<(SocketKey, MonoNs), CloseRecord> {
    script::closes(records)
        .into_iter()
        .flat_map(|close| {
            let socket = close.conn_id.socket;
            let times: Vec<MonoNs> = close.steps.iter().map(|step| step.at).collect();
            times.into_iter().map(move |at| ((socket, at), close.clone()))
        })
        .collect()
}

/// Counters that know of every loss.
fn told(observations: &mut Vec<Observation>, lost: u64) {
    let mut end = Script::new();
    end.quiet(100 * SECOND, lost);
    observations.extend(end.observations.into_iter().skip(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn after_any_loss_each_claim_is_the_full_sequences_or_unknown(
        script in scripts(),
        keep in prop::collection::vec(prop::bool::weighted(0.7), 128),
    ) {
        let mut full = script.observations.clone();
        told(&mut full, 0);
        let whole = truths(run(&full, TrackerConfig::default()).0);
        let mut lost = 0;
        let mut holed: Vec<Observation> = Vec::new();
        for (observation, keep) in script.observations.iter().zip(std::iter::once(true).chain(keep.into_iter().cycle())) {
            if keep { holed.push(observation.clone()) } else { lost += 1 }
        }
        told(&mut holed, lost);
        let (records, tracker) = run(&holed, TrackerConfig::default());
        prop_assert_eq!(tracker.accounting().received + lost, script.observations.len() as u64 - 1);
        for close in script::closes(records) {
            let truth = claims(&whole[&(close.conn_id.socket, close.last_seen_at)]);
            for (name, value) in claims(&close) {
                if value.is_some() {
                    prop_assert_eq!(Some(&value), truth.get(&name), "{} of {}", name, close.conn_id);
                }
            }
        }
    }

    #[test]
    fn with_nothing_lost_each_connection_closes_once_with_its_kind_known(script in scripts()) {
        let mut full = script.observations.clone();
        told(&mut full, 0);
        let (records, tracker) = run(&full, TrackerConfig::default());
        let closes = script::closes(records);
        prop_assert_eq!(closes.len() as u64, tracker.fates().begun);
        for close in closes {
            prop_assert!(close.kind.value().is_some() && close.life_ns.value().is_some(), "{close:?}");
            prop_assert_eq!(close.chain_breaks, 0);
        }
    }

    /// A plain model: whatever comes, in whatever order, a connection that was begun ends once, by a record or by
    /// eviction, or is still there; and no time is negative.
    #[test]
    fn no_order_duplication_or_loss_breaks_the_books(
        script in scripts(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        times in prop::collection::vec(0..10_000u64, 1..50),
        capacity in 1..8usize,
        filtered: bool,
    ) {
        let mut observations = vec![script.clone().filtered(filtered).observations[0].clone()];
        for (nth, index) in order.iter().enumerate() {
            let mut observation = index.get(&script.observations).clone();
            if let Observation::StateChange(change) = &mut observation {
                change.at = MonoNs(times[nth % times.len()] * MILLI);
                if nth % 5 == 0 { change.cookie = None }
                if nth % 7 == 0 { change.sock_addr = None }
                if nth % 11 == 0 { change.cookie = Some(Cookie(nth as u64 % 3)) }
            }
            observations.push(observation);
        }
        told(&mut observations, 0);
        let (records, tracker) = run(&observations, TrackerConfig { capacity, ..TrackerConfig::default() });
        let fates = tracker.fates();
        prop_assert_eq!(fates.begun, fates.closed + fates.listeners + fates.evicted + fates.unfollowed + fates.open);
        prop_assert!(fates.open <= capacity as u64);
        let closes = script::closes(records);
        prop_assert_eq!(closes.len() as u64, fates.closed);
        for close in &closes {
            for dwell in &close.dwells {
                prop_assert!(dwell.duration_ns.value().is_none_or(|ns| *ns <= 10_000 * MILLI));
            }
            prop_assert!(close.life_ns.value().is_none_or(|ns| *ns <= 10_000 * MILLI));
        }
    }

    #[test]
    fn an_observation_reads_back_as_it_was_written(script in scripts()) {
        for observation in &script.observations {
            let line = serde_json::to_string(observation).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Observation>(&line).unwrap(), observation);
        }
    }
}
