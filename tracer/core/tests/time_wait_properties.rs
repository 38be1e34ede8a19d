//! What holds for time-wait sockets whatever is lost: no claim contradicts what really happened.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use std::collections::BTreeMap;

use finwait_core::TcpState::{Close, Established, FinWait1, FinWait2, Listen, SynRecv, SynSent, TimeWait};
use finwait_core::observation::{CallSite, Counters, DumpScope, Stream, TimeWaitSource, Watermark};
use finwait_core::record::{Successor, TimeWaitEnd, TimeWaitRecord, WaveTime};
use finwait_core::{
    Claim, ConnId, MonoNs, Observation, Port, Reason, Record, SockAddr, SocketKey, TrackerConfig,
};
use proptest::prelude::*;
use script::time_wait::{TimeWaits, row, time_waits};
use script::{MILLI, SECOND, Script, Sock, run};

/// A bucket of the timer wheel at 60 s, HZ=250.
const BUCKET: u64 = 2_048 * MILLI;

/// How one life of a place goes on after its CLOSE.
#[derive(Clone, Debug)]
struct Plan {
    hidden: bool,
    /// tcp_fin_timeout
    fin_timeout_s: u64,
    /// The peer's FIN comes to a mini-socket in FIN_WAIT2 after so many ms
    flip_ms: Option<u64>,
    /// A segment comes again after so many ms
    rearms_ms: Vec<u64>,
    end: TimeWaitEnd,
    end_ms: u64,
    open_end: bool,
    symbols: bool,
    /// The next life is the same descriptor's
    same_fd: bool,
}

/// What really happened, by the time of CLOSE.
#[derive(Clone)]
struct Truth {
    sock: Sock,
    closed: u64,
    hidden: bool,
    entered: Option<u64>,
    arms: Vec<(u64, u64)>,
    ended: Option<(u64, TimeWaitEnd)>,
    never: bool,
    /// Another connection came to its place, how and when
    followed: Option<(TimeWaitEnd, u64)>,
}

impl std::fmt::Debug for Truth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (cookie, entered, ended) = (self.sock.now.cookie, self.entered, self.ended);
        write!(f, "{cookie:?} closed {} entered {entered:?} ended {ended:?} ", self.closed)?;
        write!(f, "never {} hidden {} arms {:?}", self.never, self.hidden, self.arms)
    }
}

impl Truth {
    fn alive(&self, at: u64) -> bool {
        !self.never && self.closed <= at && self.ended.is_none_or(|(ended, _)| at < ended)
    }

    fn life(&self) -> Life {
        (SocketKey::Cookie(self.sock.now.cookie.unwrap()), self.closed)
    }

    fn left(&self, at: u64) -> u64 {
        let (armed, timeout) = self.arms.iter().rfind(|(armed, _)| *armed <= at).copied().unwrap_or((0, 0));
        (armed + timeout).saturating_sub(at) / MILLI * MILLI
    }
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let end = prop::sample::select(vec![
        TimeWaitEnd::Expired,
        TimeWaitEnd::ResetReceived,
        TimeWaitEnd::Killed,
        TimeWaitEnd::LateData,
        TimeWaitEnd::ReusedBySyn,
        TimeWaitEnd::ReusedByConnect,
        TimeWaitEnd::NeverAllocated,
    ]);
    let plan = (
        (
            any::<bool>(),
            prop::sample::select(vec![10, 60]),
            prop::option::of(1..9000u64),
            prop::collection::vec(1..20_000u64, 0..3),
        ),
        (end, 1..9000u64, prop::bool::weighted(0.1), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((hidden, fin_timeout_s, flip_ms, rearms_ms), (end, end_ms, open_end, symbols, same_fd))| Plan {
                hidden,
                fin_timeout_s,
                flip_ms,
                rearms_ms,
                end,
                end_ms,
                open_end,
                symbols,
                same_fd,
            },
        );
    prop::collection::vec(plan, 1..4)
}

/// A world: everything that a source may show of some places, and what really happened.
#[derive(Clone, Default)]
struct World {
    script: Script,
    truths: Vec<Truth>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for observation in &self.script.observations {
            match observation {
                Observation::StateChange(c) => {
                    writeln!(f, "{} {:?} {:?} to {:?}", c.at.0, c.cookie, c.old, c.new)?;
                }
                Observation::TimeWait(e) => {
                    let (change, state, site) = (e.change, e.substate, e.site);
                    writeln!(f, "{} {:?} {change:?} {state:?} {site:?}", e.at.0, e.subject.cookie)?;
                }
                Observation::Reset(e) => writeln!(f, "{} {:?} reset", e.at.0, e.subject.cookie)?,
                _ => {}
            }
        }
        write!(f, "{:#?}", self.truths)
    }
}

/// The lives of one place one after the other. Sockets and time-wait sockets use the same memory again.
fn live(world: &mut World, place: u64, plans: &[Plan], source: TimeWaitSource) {
    let hooked = source != TimeWaitSource::Sweep;
    let mut cookie = place * 100;
    let mut begin = place * 7 * MILLI + SECOND;
    let mut way = TimeWaitEnd::ReusedByConnect;
    for plan in plans {
        let mut sock = Sock::new(cookie, 1000 + cookie as u32, 9000);
        let port = Port::new(1000 + place as u16);
        (sock.now.inet_sport, sock.now.num) = (port, port);
        sock.now.sock_addr = Some(SockAddr(0x1000 + place * 64));
        open(&mut world.script, &mut sock, begin, way);
        let same_fd = plan.same_fd && !plan.hidden;
        let closed = begin + 12 * MILLI;
        sock.by(100, "curl").shut(true, true);
        world.script.step(&mut sock, closed - 2 * MILLI, Established, FinWait1);
        sock.softirq().flags(!same_fd, false);
        world.script.step(&mut sock, closed - MILLI, FinWait1, FinWait2);
        let truth = truth(plan, &sock, closed);
        if hooked {
            let state = if plan.hidden { FinWait2 } else { TimeWait };
            if source == TimeWaitSource::Fentry {
                world.script.asked(&sock, closed - 3000, state);
            }
            show(&mut world.script, &truth, plan, source);
        } else if let Some((ended, TimeWaitEnd::LateData)) = truth.ended {
            world.script.reset_for(&sock, ended);
        }
        sock.flags(!same_fd, !plan.hidden);
        world.script.step(&mut sock, closed, FinWait2, Close);
        let ended = truth.ended;
        world.truths.push(truth);
        let Some((ended, end)) = ended else { return };
        let reused = matches!(end, TimeWaitEnd::ReusedBySyn | TimeWaitEnd::ReusedByConnect);
        (way, begin) = match reused {
            true => (end, ended),
            false => (TimeWaitEnd::ReusedBySyn, ended + 2 * SECOND + plan.end_ms * MILLI),
        };
        if same_fd {
            way = TimeWaitEnd::ReusedByConnect;
        } else {
            cookie += 1;
        }
        if let Some(truth) = world.truths.last_mut() {
            truth.followed = Some((way, begin));
        }
    }
    if let Some(truth) = world.truths.last_mut() {
        truth.followed = None;
    }
}

/// A connection that takes its place at `at`.
fn open(script: &mut Script, sock: &mut Sock, at: u64, way: TimeWaitEnd) {
    if way == TimeWaitEnd::ReusedByConnect {
        sock.by(100, "curl");
        script.step(sock, at - 1000, Close, SynSent);
        sock.softirq().acked(1);
        script.step(sock, at + MILLI, SynSent, Established);
    } else {
        script.step(sock, at + MILLI, Listen, SynRecv);
        script.step(sock, at + MILLI + 10, SynRecv, Established);
    }
}

fn truth(plan: &Plan, sock: &Sock, closed: u64) -> Truth {
    let never = plan.end == TimeWaitEnd::NeverAllocated;
    let first = closed - 2000;
    let entered = match (plan.hidden, plan.flip_ms) {
        (false, _) => Some(closed),
        (true, flip) => flip.map(|ms| closed + ms * MILLI),
    };
    let mut arms = vec![(first, if plan.hidden { plan.fin_timeout_s * SECOND } else { 60 * SECOND })];
    if let Some(entered) = entered.filter(|_| plan.hidden) {
        arms.push((entered, 60 * SECOND));
    }
    if entered.is_some() {
        for ms in &plan.rearms_ms {
            let last = arms.last().unwrap().0;
            arms.push((last + ms * MILLI, 60 * SECOND));
        }
    }
    let (last, timeout) = *arms.last().unwrap();
    let over = last + timeout + SECOND + plan.end_ms * MILLI / 9;
    let early = last + plan.end_ms * MILLI;
    let ended = match (plan.end, entered.is_some()) {
        _ if plan.open_end || never => None,
        (TimeWaitEnd::Expired, true) => Some((over, TimeWaitEnd::Expired)),
        (TimeWaitEnd::ResetReceived | TimeWaitEnd::Killed, _) => Some((early, plan.end)),
        (TimeWaitEnd::ReusedBySyn, true) if !plan.same_fd => Some((early, plan.end)),
        (TimeWaitEnd::ReusedByConnect, true) => Some((early, plan.end)),
        (_, true) => Some((early, TimeWaitEnd::ResetReceived)),
        (TimeWaitEnd::LateData, false) => Some((early, TimeWaitEnd::LateData)),
        (_, false) => Some((over, TimeWaitEnd::FinWait2TimedOut)),
    };
    let sock = sock.clone();
    Truth { sock, closed, hidden: plan.hidden, entered, arms, ended, never, followed: None }
}

/// What the hooks show of it. A timer that is set anew by less than a bucket of the wheel passes no tracepoint.
fn show(script: &mut Script, truth: &Truth, plan: &Plan, source: TimeWaitSource) {
    if truth.never {
        return;
    }
    let sock = &truth.sock;
    let state = |at: u64| match truth.entered {
        Some(entered) if at >= entered || !truth.hidden => TimeWait,
        _ => FinWait2,
    };
    let mut expires = 0;
    for (at, timeout) in &truth.arms {
        let unseen = source == TimeWaitSource::Timer && (at + timeout).abs_diff(expires) < BUCKET;
        expires = at + timeout;
        if !unseen {
            script.armed_for(sock, *at, state(*at), *timeout);
        }
    }
    let Some((ended, end)) = truth.ended else { return };
    let site = match end {
        TimeWaitEnd::ResetReceived => CallSite::Segment,
        TimeWaitEnd::Killed => CallSite::Abort,
        TimeWaitEnd::ReusedByConnect => CallSite::Connect,
        TimeWaitEnd::ReusedBySyn | TimeWaitEnd::LateData => CallSite::Receive,
        _ => {
            script.expired(sock, ended, state(ended));
            return;
        }
    };
    if end == TimeWaitEnd::LateData {
        script.reset_for(sock, ended - 500);
    }
    script.disarmed(sock, ended, state(ended), plan.symbols.then_some(site));
}

fn worlds(source: TimeWaitSource) -> impl Strategy<Value = World> {
    prop::collection::vec(plans(), 1..4).prop_map(move |places| {
        let mut world = World { script: Script::new().watching(source), ..World::default() };
        if source == TimeWaitSource::Sweep
            && let Some(Observation::Host(host)) = world.script.observations.first_mut()
        {
            host.hooks.resets_sent = true;
        }
        for (index, plans) in places.iter().enumerate() {
            live(&mut world, index as u64 + 1, plans, source);
        }
        world.script.observations.sort_by_key(Observation::at);
        number(&mut world.script.observations);
        world
    })
}

fn numbers(observation: &mut Observation) -> Option<(Stream, &mut u64)> {
    match observation {
        Observation::StateChange(change) => Some((change.stream, &mut change.seq)),
        Observation::Reset(event) => Some((event.stream, &mut event.seq)),
        Observation::TimeWait(event) => Some((event.stream, &mut event.seq)),
        _ => None,
    }
}

/// Each stream from 1 on, in the order of the ring.
fn number(observations: &mut [Observation]) {
    let mut last: BTreeMap<Stream, u64> = BTreeMap::new();
    for observation in observations {
        if let Some((stream, seq)) = numbers(observation) {
            let next = last.entry(stream).or_default();
            *next += 1;
            *seq = *next;
        }
    }
}

/// The observations of a run that receives those that `keep` says, with a reading of the counters each 5 s and, for a
/// sweep, a dump each 2 s unless that is left out too.
fn received(world: &World, keep: &mut impl FnMut() -> bool, sweep: bool) -> Vec<Observation> {
    let mut out = Script::default();
    let (mut lost_ring, mut hooks_lost) = (0, 0);
    let mut tick = 0;
    let end = 400;
    let mut events = world.script.observations.iter().peekable();
    while tick <= end {
        let now = tick * SECOND;
        while let Some(event) = events.next_if(|event| event.at() <= Some(MonoNs(now + MILLI))) {
            match event {
                Observation::Host(_) => out.observations.push(event.clone()),
                _ if keep() => out.observations.push(event.clone()),
                Observation::StateChange(_) => lost_ring += 1,
                _ => hooks_lost += 1,
            }
        }
        if sweep && tick.is_multiple_of(2) && keep() {
            let shown = world.truths.iter().filter(|truth| truth.alive(now));
            let rows = shown.map(|truth| {
                let flipped = !truth.hidden || truth.entered.is_some_and(|entered| entered <= now);
                row(&truth.sock, if flipped { TimeWait } else { FinWait2 }, truth.left(now))
            });
            out.dump(now.saturating_sub(MILLI), now + MILLI, DumpScope::TimeWait, rows.collect());
        }
        if tick.is_multiple_of(5) {
            let at = MonoNs(now + MILLI);
            out.observations.push(Observation::Counters(Box::new(Counters {
                at,
                lost_ring,
                hooks_lost,
                ..Counters::default()
            })));
            out.observations.push(Observation::Watermark(Watermark { at }));
        }
        tick += 1;
    }
    out.observations
}

/// A connection by its socket and the time of its CLOSE.
type Life = (SocketKey, u64);

fn by_close(records: Vec<Record>) -> BTreeMap<Life, TimeWaitRecord> {
    let closed: BTreeMap<ConnId, u64> = records
        .iter()
        .filter_map(|record| match record {
            Record::Close(close) => Some((close.conn_id, close.closed_at?.0)),
            _ => None,
        })
        .collect();
    let mut all = BTreeMap::new();
    for record in time_waits(records) {
        let before = all.insert((record.conn_id.socket, closed[&record.conn_id]), record);
        assert!(before.is_none(), "one record each: {before:?}");
    }
    all
}

fn holds(claim: &Claim<WaveTime>, truth: Option<u64>) -> bool {
    claim
        .value()
        .is_none_or(|time| truth.is_some_and(|truth| time.earliest.0 <= truth && truth <= time.latest.0))
}

/// Every claim of `record` is what really happened, or unknown.
fn check(record: &TimeWaitRecord, truth: &Truth, sweep: bool) {
    let ended = truth.ended.map(|(at, _)| at);
    let there = (!truth.never).then_some(truth.closed);
    assert!(holds(&record.began, there), "began {record:?} {truth:?}");
    let entered = truth.entered.filter(|_| !truth.never);
    assert!(holds(&record.entered, entered), "entered {record:?} {truth:?}");
    assert!(holds(&record.ended, ended), "ended {record:?} {truth:?}");
    if let Some(hidden) = record.from_fin_wait2.value() {
        assert!(*hidden == truth.hidden && !truth.never, "{record:?} {truth:?}");
    }
    let end = if truth.never { Some(TimeWaitEnd::NeverAllocated) } else { truth.ended.map(|(_, end)| end) };
    if let Some(said) = record.end.value() {
        // A sweep cannot tell what killed it the moment before its place was taken; but then its time was not over.
        let taken = |(way, at): (TimeWaitEnd, u64)| sweep && way == *said && truth.left(at) > 0;
        assert!(end == Some(*said) || truth.followed.is_some_and(taken), "{record:?} {truth:?}");
    }
    let rearmed = truth.arms.len() as u32 - 1 - u32::from(truth.hidden && truth.entered.is_some());
    assert!(record.rearmed.is_none_or(|count| count == rearmed), "{record:?} {truth:?}");
    let lasted = |from: Option<u64>, to: Option<u64>| Some((to?).saturating_sub(from?));
    for (claim, truth_ns) in [
        (&record.time_wait_ns, lasted(entered, ended)),
        (&record.fin_wait2_ns, lasted(there, entered.or(ended))),
    ] {
        if let Some((at_least, at_most)) = claim.value() {
            let truth_ns = truth_ns.expect("it happened");
            assert!(*at_least <= truth_ns && truth_ns <= *at_most, "{record:?} {truth:?}");
        }
    }
}

fn check_all(world: &World, observations: &[Observation], sweep: bool) -> BTreeMap<Life, TimeWaitRecord> {
    let truths: BTreeMap<Life, &Truth> = world.truths.iter().map(|truth| (truth.life(), truth)).collect();
    let records = by_close(run(observations, TrackerConfig::default()).0);
    for (life, record) in &records {
        check(record, truths[life], sweep);
    }
    records
}

/// Which observations are received: most of them, or hardly half.
fn losses() -> impl Strategy<Value = Vec<bool>> {
    let weights = prop::sample::select(vec![0.5, 0.8, 0.95]);
    weights.prop_flat_map(|weight| prop::collection::vec(prop::bool::weighted(weight), 64..128))
}

fn hooked() -> impl Strategy<Value = World> {
    prop_oneof![worlds(TimeWaitSource::Fentry), worlds(TimeWaitSource::Timer)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_hooks_prove_every_end_whose_function_is_known(world in hooked()) {
        let records = check_all(&world, &received(&world, &mut || true, false), false);
        prop_assert_eq!(records.len(), world.truths.len());
        for truth in &world.truths {
            let record = &records[&truth.life()];
            let hidden_symbols = record.end.reason() == Some(Reason::SymbolsHidden);
            // Without a call for it, an aborted FIN_WAIT2 looks like one without room.
            let silent = truth.never && truth.hidden && record.source == TimeWaitSource::Timer;
            match truth.ended {
                None if !truth.never => prop_assert_eq!(record.end.reason(), Some(Reason::StillOpen)),
                _ => prop_assert!(record.end.value().is_some() || hidden_symbols || silent, "{record:?}"),
            }
            prop_assert!(record.began.value().is_some() || truth.never);
        }
    }

    #[test]
    fn after_any_loss_each_claim_of_the_hooks_is_true_or_unknown(
        world in hooked(),
        keep in losses(),
    ) {
        let mut keep = keep.into_iter().cycle();
        check_all(&world, &received(&world, &mut || keep.next().unwrap(), false), false);
    }

    #[test]
    fn after_any_loss_each_claim_of_a_sweep_is_true_or_unknown(
        world in worlds(TimeWaitSource::Sweep),
        keep in losses(),
        everything: bool,
    ) {
        let mut keep = keep.into_iter().cycle();
        check_all(&world, &received(&world, &mut || everything || keep.next().unwrap(), true), true);
    }

    #[test]
    fn in_any_order_each_close_that_leaves_a_time_wait_socket_has_one_record(
        world in hooked(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
        sweep: bool,
        capacity in 1..8usize,
    ) {
        let all = received(&world, &mut || true, sweep);
        let mut observations = vec![all[0].clone()];
        observations.extend(order.iter().map(|index| index.get(&all).clone()));
        observations.extend(received(&World::default(), &mut || true, false));
        let config = TrackerConfig { time_waits: capacity, ..TrackerConfig::default() };
        let (records, _) = run(&observations, config);
        // An event that comes twice begins a connection of the same name twice.
        let mut told: BTreeMap<ConnId, i64> = BTreeMap::new();
        for record in &records {
            let leaves = match record {
                Record::Close(close) => close.successor.value() == Some(&Successor::TimeWait)
                    || close.successor.reason() == Some(Reason::HiddenFinWait2),
                _ => false,
            };
            *told.entry(record.conn_id()).or_default() +=
                i64::from(matches!(record, Record::TimeWait(_))) - i64::from(leaves);
        }
        prop_assert!(told.values().all(|balance| *balance == 0), "{told:?}");
    }
}
