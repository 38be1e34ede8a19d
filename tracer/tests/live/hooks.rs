//! The hooks beyond the transitions: each delivers what its event is, for the socket that it happened to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use finwait_core::observation::{
    AcceptEvent, CallSite, Hooks, Program, ResetEvent, RetransmitCause, RetransmitEvent, SocketKind, Subject,
    TimeWaitChange, TimeWaitEvent, TimeWaitSource,
};
use finwait_core::{Observation, StateChange, TcpState, TrackerConfig};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tracer::probe::host::{KernelVersion, kernel_release};
use tracer::probe::{HookName, Probe, ProbeConfig, ProbeError, TierChoice, TimeWaitChoice};
use tracer::scenario::watch::{Reading, only, track_with};
use tracer::scenario::{Namespace, ScenarioError, SideName, catalog};

use crate::process::FINWAIT;
use crate::replay::assert_replays;
use crate::support::SPAWNING;

/// A test gives up waiting after this.
const LIMIT: Duration = Duration::from_secs(15);
const SECOND_NS: u64 = 1_000_000_000;

/// What the hooks said, and which of them are in force.
struct Told {
    hooks: Hooks,
    resets: Vec<ResetEvent>,
    retransmits: Vec<RetransmitEvent>,
    accepts: Vec<AcceptEvent>,
    time_waits: Vec<TimeWaitEvent>,
    changes: Vec<StateChange>,
}

fn attach(namespace: &Namespace, time_wait: TimeWaitChoice) -> Result<Probe, ProbeError> {
    let filter = only(namespace.inode());
    Probe::attach(&ProbeConfig { filter, tier: TierChoice::TpBtf, time_wait, ..ProbeConfig::default() })
}

/// Watches `traffic`, which is given all that was observed so far; it returns an error rather than panic, as the reader
/// waits for its return.
fn watch<T>(
    probe: Probe,
    traffic: impl FnOnce(&Mutex<Vec<Observation>>) -> Result<T, ScenarioError>,
) -> (T, Told) {
    let _shared = SPAWNING.read().unwrap_or_else(PoisonError::into_inner);
    watch_unshared(probe, traffic)
}

/// The same without regard to processes that are being started.
fn watch_unshared<T>(
    probe: Probe,
    traffic: impl FnOnce(&Mutex<Vec<Observation>>) -> Result<T, ScenarioError>,
) -> (T, Told) {
    let hooks = probe.hooks();
    let all = Mutex::new(Vec::new());
    let each = |observation: &Observation| all.lock().expect("lock").push(observation.clone());
    let watched = track_with(probe, Reading::Always, TrackerConfig::default(), || traffic(&all), each);
    let (made, seen) = watched.expect("watch");
    // Nothing is asked of `hooks_lost`: runs that were skipped count there whosever traffic they were for.
    assert_eq!(seen.accounting.decode_errors, 0);
    let all = all.into_inner().expect("lock");
    assert_replays(&all, &seen);
    let mut told = Told {
        hooks,
        resets: Vec::new(),
        retransmits: Vec::new(),
        accepts: Vec::new(),
        time_waits: Vec::new(),
        changes: Vec::new(),
    };
    for observation in all {
        match observation {
            Observation::Reset(event) => told.resets.push(*event),
            Observation::Retransmit(event) => told.retransmits.push(*event),
            Observation::Accept(event) => told.accepts.push(*event),
            Observation::TimeWait(event) => told.time_waits.push(*event),
            Observation::StateChange(change) => told.changes.push(*change),
            // Dumps are the source's own.
            Observation::Host(host) => {
                assert_eq!(host.hooks, Hooks { sockets: host.hooks.sockets, ..hooks });
            }
            _ => {}
        }
    }
    (made, told)
}

/// Waits until something like it was observed.
fn await_observed(
    all: &Mutex<Vec<Observation>>,
    what: &str,
    like: impl Fn(&Observation) -> bool,
) -> Result<(), ScenarioError> {
    let end = Instant::now() + LIMIT;
    while !all.lock().expect("lock").iter().any(&like) {
        if Instant::now() > end {
            return Err(ScenarioError::unexpected(format!("no {what} in {} s", LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// A connection between the namespace's two threads.
struct Pair {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
}

impl Pair {
    fn new(namespace: &Namespace) -> Result<Self, ScenarioError> {
        let at = SocketAddr::new(namespace.fresh_address(), 0);
        let listener = namespace.server().run(move || Ok(TcpListener::bind(at)?))?;
        let to = listener.local_addr()?;
        let client = namespace.client().run(move || connect(None, to))?;
        let accepting = listener.try_clone()?;
        let server = namespace.server().run(move || Ok(accepting.accept()?.0))?;
        Ok(Self { listener, client, server })
    }

    /// Addresses of the client's end: its own, then the server's.
    fn ends(&self) -> Result<(SocketAddr, SocketAddr), ScenarioError> {
        Ok((self.client.local_addr()?, self.client.peer_addr()?))
    }
}

/// From `from`, which may be taken again after it.
fn connect(from: Option<SocketAddr>, to: SocketAddr) -> Result<TcpStream, ScenarioError> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if let Some(from) = from {
        socket.bind(&from.into())?;
    }
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Local and remote end.
fn ends_of(subject: &Subject) -> Option<(SocketAddr, SocketAddr)> {
    Some((
        SocketAddr::new(subject.local_addr?, subject.local_port?.0),
        SocketAddr::new(subject.remote_addr?, subject.remote_port?.0),
    ))
}

/// Without the cookie helper (5.12) a socket has one only once somebody asked for it.
fn shows_cookies_late() -> bool {
    KernelVersion::parse(&kernel_release()).expect("a version") < KernelVersion(5, 12)
}

#[test]
fn a_reset_that_the_application_asks_for_is_sent_and_received() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let (made, told) = watch(probe, |_| catalog::LINGER_ZERO.run(&namespace));
    assert!(told.hooks.resets_sent && told.hooks.resets_received);
    let connection = &made.connections[0];
    let by = |program| told.resets.iter().filter(move |reset| reset.stream.program == program);
    let [sent] = by(Program::SendReset).collect::<Vec<_>>()[..] else { panic!("{:#?}", told.resets) };
    let [received] = by(Program::ReceiveReset).collect::<Vec<_>>()[..] else { panic!("{:#?}", told.resets) };
    assert_eq!(ends_of(&sent.subject), Some(connection.ends(SideName::Client)));
    assert_eq!(ends_of(&received.subject), Some(connection.ends(SideName::Server)));
    for reset in [sent, received] {
        assert_eq!((reset.subject.kind, reset.subject.netns), (SocketKind::Full, Some(namespace.inode())));
        // The last one: at its first a child may still show its listener's cookie.
        let own = told.changes.iter().rfind(|change| change.sock_addr == reset.subject.sock_addr);
        let own = own.expect("a transition of the same socket").cookie;
        // On 5.10 one of the two may come before anything made the cookie.
        let late = own.is_none() || reset.subject.cookie.is_none();
        assert!(own == reset.subject.cookie || late && shows_cookies_late(), "{own:?}, {reset:?}");
    }
    assert_eq!((sent.answers_segment, received.answers_segment), (Some(false), None));
    assert_eq!(sent.task.expect("task").pid, namespace.client().owner().pid);
    assert_eq!(received.state, Some(TcpState::Established));
    assert_eq!(sent.reason.is_some(), told.hooks.reset_reasons, "{sent:?}");
    assert_eq!(received.reason, None);
}

#[test]
fn a_close_with_unread_data_gives_that_as_the_resets_reason() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let (_, told) = watch(probe, |_| catalog::UNREAD_DATA.run(&namespace));
    let sent: Vec<_> =
        told.resets.iter().filter(|reset| reset.stream.program == Program::SendReset).collect();
    let [sent] = sent[..] else { panic!("{:#?}", told.resets) };
    let reason = sent.reason.map(|reason| reason.as_str().to_owned());
    // 6.10 and 6.11 give a reason to answers only.
    if told.hooks.reset_reasons && reason.as_deref() != Some("NOT_SPECIFIED") {
        assert_eq!(reason.as_deref(), Some("TCP_ABORT_ON_CLOSE"));
    }
}

#[test]
fn a_segment_for_no_socket_is_answered_by_a_reset_of_none() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let (made, told) = watch(probe, |_| catalog::REFUSED.run(&namespace));
    let received: Vec<_> =
        told.resets.iter().filter(|reset| reset.stream.program == Program::ReceiveReset).collect();
    let [received] = received[..] else { panic!("{:#?}", told.resets) };
    assert_eq!(ends_of(&received.subject), Some(made.connections[0].ends(SideName::Client)));
    assert_eq!(received.state, Some(TcpState::SynSent));
    // Before 6.10 the tracepoint was called for sockets only.
    let of_none: Vec<_> =
        told.resets.iter().filter(|reset| reset.stream.program == Program::SendReset).collect();
    assert_eq!(of_none.len(), usize::from(told.hooks.reset_reasons), "{of_none:#?}");
    for reset in of_none {
        assert_eq!((reset.subject.kind, reset.subject.netns), (SocketKind::None, Some(namespace.inode())));
        assert_eq!((reset.answers_segment, reset.state), (Some(true), None));
        assert_eq!(reset.reason.map(|reason| reason.as_str().to_owned()).as_deref(), Some("NO_SOCKET"));
    }
}

/// Classic BPF on a TCP socket: drops every segment with FIN, keeps the others whole.
fn without_fins() -> [SockFilter; 4] {
    /// Load the byte at `k`, jump if its bits `k` are set, return `k`.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const FIN: u32 = 1;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(JUMP_IF_SET, 0, 1, FIN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[test]
fn a_fin_that_is_lost_is_sent_again_by_a_probe_and_then_by_timeouts() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let (ends, told) = watch(probe, |all| {
        let pair = Pair::new(&namespace)?;
        let ends = pair.ends()?;
        SockRef::from(&pair.server).attach_filter(&without_fins())?;
        namespace.client().close(pair.client)?;
        await_observed(
            all,
            "a retransmission by timeout",
            |observation| matches!(observation, Observation::Retransmit(event) if event.cause == Some(RetransmitCause::Timeout)),
        )?;
        SockRef::from(&pair.server).detach_filter()?;
        await_observed(
            all,
            "the FIN's arrival",
            |observation| matches!(observation, Observation::StateChange(change) if change.new == TcpState::CloseWait),
        )?;
        namespace.server().close((pair.server, pair.listener))?;
        Ok(ends)
    });
    assert!(told.hooks.retransmits);
    assert!(told.retransmits.len() >= 2, "{:#?}", told.retransmits);
    for event in &told.retransmits {
        assert_eq!(ends_of(&event.subject), Some(ends));
        assert_eq!((event.state, event.fin), (Some(TcpState::FinWait1), Some(true)));
        assert_ne!(event.failed, Some(true));
    }
    let causes: Vec<_> = told.retransmits.iter().filter_map(|event| event.cause).collect();
    assert_eq!(causes[0], RetransmitCause::LossProbe);
    assert!(causes[1..].iter().all(|cause| *cause == RetransmitCause::Timeout), "{causes:?}");
}

#[test]
fn retransmissions_of_open_connections_are_left_out() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let (sent_again, told) = watch(probe, |_| {
        let mut pair = Pair::new(&namespace)?;
        let nothing = [SockFilter::new(0x06, 0, 0, 0)];
        SockRef::from(&pair.server).attach_filter(&nothing)?;
        pair.client.write_all(b"lost")?;
        let end = Instant::now() + LIMIT;
        while retransmitted(&namespace)? == 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        let sent_again = retransmitted(&namespace)?;
        SockRef::from(&pair.server).detach_filter()?;
        // What is closed with nothing in flight has nothing to send again.
        pair.server.read_exact(&mut [0; 4])?;
        namespace.client().close(pair.client)?;
        namespace.server().close((pair.server, pair.listener))?;
        Ok(sent_again)
    });
    assert!(sent_again > 0);
    assert_eq!(told.retransmits, []);
}

/// Segments that the namespace has sent again.
fn retransmitted(namespace: &Namespace) -> Result<u64, ScenarioError> {
    let table = namespace.client().run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut rows = table.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (rows.next().expect("names"), rows.next().expect("values"));
    let mut columns = names.split(' ').zip(values.split(' '));
    Ok(columns.find(|(name, _)| *name == "RetransSegs").expect("column").1.parse().expect("number"))
}

#[test]
fn accept_names_who_called_it_where_the_kernel_lets_it() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let refused = probe.hook_refusals().iter().any(|refusal| refusal.hook == HookName::Accepts);
    let (made, told) = watch(probe, |_| catalog::CLIENT_CLOSES_FIRST.run(&namespace));
    assert_eq!(told.hooks.accepts, !refused);
    let expected = usize::from(told.hooks.accepts);
    assert_eq!(told.accepts.len(), expected, "{:#?}", told.accepts);
    for accept in &told.accepts {
        assert_eq!(ends_of(&accept.subject), Some(made.connections[0].ends(SideName::Server)));
        assert_eq!(accept.subject.kind, SocketKind::Full);
        assert_eq!(accept.task.expect("task").pid, namespace.server().owner().pid);
    }
}

/// A time-wait socket of the client's is armed for FIN_WAIT2, then for TIME_WAIT; another connect() from its very port ends it.
fn reused(
    namespace: &Namespace,
    all: &Mutex<Vec<Observation>>,
) -> Result<(SocketAddr, SocketAddr), ScenarioError> {
    // A timer that is set anew for the same two seconds is moved without a word: FIN_WAIT2 has to end elsewhere than
    // TIME_WAIT, which follows it.
    set_fin_timeout(namespace, 30)?;
    let pair = Pair::new(namespace)?;
    let (local, remote) = pair.ends()?;
    namespace.client().close(pair.client)?;
    await_change(all, TimeWaitChange::Armed, Some(TcpState::FinWait2))?;
    namespace.server().close(pair.server)?;
    await_change(all, TimeWaitChange::Armed, Some(TcpState::TimeWait))?;
    // A reuse needs a later timestamp than the last one, which counts milliseconds.
    std::thread::sleep(Duration::from_millis(20));
    let again = namespace.client().run(move || connect(Some(local), remote))?;
    await_observed(
        all,
        "its end by connect()",
        |observation| matches!(observation, Observation::TimeWait(event) if event.site == Some(CallSite::Connect)),
    )?;
    namespace.client().close(again)?;
    namespace.server().close(pair.listener)?;
    Ok((local, remote))
}

fn await_change(
    all: &Mutex<Vec<Observation>>,
    change: TimeWaitChange,
    substate: Option<TcpState>,
) -> Result<(), ScenarioError> {
    await_observed(
        all,
        &format!("{change:?} in {substate:?}"),
        |observation| matches!(observation, Observation::TimeWait(event) if (event.change, event.substate) == (change, substate)),
    )
}

/// Of this namespace.
fn set_fin_timeout(namespace: &Namespace, seconds: u32) -> Result<(), ScenarioError> {
    namespace
        .client()
        .run(move || Ok(std::fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", seconds.to_string())?))
}

/// The client closes and the server does not: a FIN_WAIT2 that ends by its own time, then one that data ends.
fn fin_wait2(
    namespace: &Namespace,
    all: &Mutex<Vec<Observation>>,
) -> Result<[(SocketAddr, SocketAddr); 2], ScenarioError> {
    set_fin_timeout(namespace, 1)?;
    let waits = Pair::new(namespace)?;
    let expired = waits.ends()?;
    namespace.client().close(waits.client)?;
    await_change(all, TimeWaitChange::Expired, Some(TcpState::FinWait2))?;
    namespace.server().close((waits.server, waits.listener))?;
    set_fin_timeout(namespace, 30)?;
    let mut late = Pair::new(namespace)?;
    let killed = late.ends()?;
    namespace.client().close(late.client)?;
    await_observed(all, "a FIN_WAIT2 that may last", |observation| {
        matches!(observation, Observation::TimeWait(event)
            if event.change == TimeWaitChange::Armed && ends_of(&event.subject) == Some(killed))
    })?;
    late.server.write_all(b"late")?;
    await_change(all, TimeWaitChange::Disarmed, Some(TcpState::FinWait2))?;
    namespace.server().close((late.server, late.listener))?;
    Ok([expired, killed])
}

/// What was told of the first connection at `ends` until its time-wait socket ended. That has its predecessor's cookie.
fn life_of(told: &Told, namespace: &Namespace, ends: (SocketAddr, SocketAddr)) -> Vec<TimeWaitEvent> {
    let before = told.changes.iter().find(|change| {
        change.new == TcpState::Close && change.inet_sport.map(|port| port.0) == Some(ends.0.port())
    });
    let before = before.expect("its predecessor");
    let of_it = told.time_waits.iter().filter(|event| ends_of(&event.subject) == Some(ends));
    let mut life: Vec<_> = of_it.cloned().collect();
    let end = life.iter().position(is_end).expect("its end");
    life.truncate(end + 1);
    for event in &life {
        // Where it has none (5.10), a dump of the sockets may give one to the time-wait socket.
        assert!(before.cookie.is_none() || event.subject.cookie == before.cookie, "{event:?}");
        assert_eq!(event.subject.netns, Some(namespace.inode()));
        let asked = event.change == TimeWaitChange::Asked;
        assert_eq!(event.subject.kind, if asked { SocketKind::Full } else { SocketKind::TimeWait });
        assert_eq!(event.subject.sock_addr == before.sock_addr, asked);
    }
    life
}

fn is_end(event: &TimeWaitEvent) -> bool {
    match event.change {
        TimeWaitChange::Asked | TimeWaitChange::Armed => false,
        TimeWaitChange::Disarmed => event.site != Some(CallSite::Rearm),
        TimeWaitChange::Expired => true,
    }
}

/// Change and substate of each, but for what only one kind of hook shows: that it is asked for, and that a timer which is
/// set anew is taken off before.
fn changes(life: &[TimeWaitEvent]) -> Vec<(TimeWaitChange, Option<TcpState>)> {
    let shown_by_all = life
        .iter()
        .filter(|event| event.change != TimeWaitChange::Asked && event.site != Some(CallSite::Rearm));
    shown_by_all.map(|event| (event.change, event.substate)).collect()
}

fn is_about(span_ns: u64, seconds: u64) -> bool {
    span_ns.abs_diff(seconds * SECOND_NS) < SECOND_NS / 10
}

/// What must be told by either hook.
fn time_wait_sockets_are_followed(choice: TimeWaitChoice, source: TimeWaitSource) {
    use TimeWaitChange::{Armed, Disarmed, Expired};
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, choice).expect("attach");
    assert_eq!(probe.hooks().time_wait, source);
    let ((reuse, [expired, killed]), told) =
        watch(probe, |all| Ok((reused(&namespace, all)?, fin_wait2(&namespace, all)?)));

    let (fin_wait2, time_wait) = (Some(TcpState::FinWait2), Some(TcpState::TimeWait));
    let life = life_of(&told, &namespace, reuse);
    let expected = [(Armed, fin_wait2), (Armed, time_wait), (Disarmed, time_wait)];
    assert_eq!(changes(&life), expected, "{life:#?}");
    let spans = life.iter().filter_map(|event| event.timeout_ns).collect::<Vec<_>>();
    assert!(is_about(spans[0], 30) && is_about(spans[1], 60), "{life:#?}");
    let end = life.last().expect("its end");
    assert_eq!(end.site, Some(CallSite::Connect));
    assert_eq!(end.task.expect("task").pid, namespace.client().owner().pid);

    let life = life_of(&told, &namespace, expired);
    assert_eq!(changes(&life), [(Armed, fin_wait2), (Expired, fin_wait2)], "{life:#?}");
    let armed = life.iter().find(|event| event.change == Armed).expect("armed");
    assert!(is_about(armed.timeout_ns.expect("timeout"), 1), "{armed:#?}");

    let life = life_of(&told, &namespace, killed);
    assert_eq!(changes(&life), [(Armed, fin_wait2), (Disarmed, fin_wait2)], "{life:#?}");
    let end = life.last().expect("ended");
    assert_eq!((end.site, end.task), (Some(CallSite::Receive), None), "{end:#?}");
    if told.hooks.reset_reasons {
        let answer = told.resets.iter().find(|reset| reset.subject.kind == SocketKind::TimeWait);
        assert_eq!(answer.and_then(|reset| ends_of(&reset.subject)), Some(killed));
    }
}

#[test]
fn the_timer_hooks_follow_a_time_wait_socket_to_its_end() {
    time_wait_sockets_are_followed(TimeWaitChoice::Timer, TimeWaitSource::Timer);
}

#[test]
fn fentry_follows_a_time_wait_socket_to_its_end_or_is_refused_with_a_reason() {
    let namespace = Namespace::new().expect("namespace");
    match attach(&namespace, TimeWaitChoice::Fentry) {
        Ok(_) => time_wait_sockets_are_followed(TimeWaitChoice::Fentry, TimeWaitSource::Fentry),
        Err(ProbeError::TimeWaitRefused { choice, reason }) => {
            assert_eq!(choice, "fentry");
            assert!(reason.contains("tcp_time_wait"), "{reason}");
            let probe = attach(&namespace, TimeWaitChoice::Auto).expect("attach");
            assert_eq!(probe.hooks().time_wait, TimeWaitSource::Sweep);
            assert!(probe.hook_refusals().iter().any(|refusal| refusal.hook == HookName::TimeWait));
        }
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn the_classic_tier_has_no_hooks() {
    let config = ProbeConfig { tier: TierChoice::Classic, ..ProbeConfig::default() };
    let probe = Probe::attach(&config).expect("attach");
    assert_eq!(probe.hooks(), Hooks { time_wait: TimeWaitSource::Sweep, ..Hooks::default() });
    let asked = ProbeConfig { time_wait: TimeWaitChoice::Timer, ..config };
    assert!(matches!(Probe::attach(&asked), Err(ProbeError::TimeWaitRefused { choice: "timer", .. })));
}

#[test]
fn a_process_that_is_killed_closes_with_the_signal_that_ends_it() {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(&namespace, TimeWaitChoice::Off).expect("attach");
    let _alone = SPAWNING.write().unwrap_or_else(PoisonError::into_inner);
    let (local, told) = watch_unshared(probe, |all| {
        let Pair { listener, client, server } = Pair::new(&namespace)?;
        let local = client.local_addr()?;
        // Waits for a recording that never comes; the only holder of the socket once it was started.
        let mut command = Command::new(FINWAIT);
        command.args(["closes", "-r", "-"]).stdin(Stdio::from(std::os::fd::OwnedFd::from(client)));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        drop(command);
        child.kill()?;
        child.wait()?;
        await_observed(
            all,
            "its close",
            |observation| matches!(observation, Observation::StateChange(change) if change.new == TcpState::FinWait1),
        )?;
        namespace.server().close((server, listener))?;
        Ok(local)
    });
    let close = told.changes.iter().find(|change| change.new == TcpState::FinWait1).expect("its close");
    assert_eq!(close.inet_sport.map(|port| port.0), Some(local.port()));
    let task = close.task.expect("task");
    // Kernels before 5.11 do not show it.
    if task.exiting.is_some() {
        assert_eq!((task.exiting, task.exit_signal), (Some(true), Some(9)));
    }
    let opener = told.changes.iter().find(|change| change.new == TcpState::SynSent).expect("its beginning");
    assert_eq!(opener.task.expect("task").exit_signal, None, "it lives");
}
