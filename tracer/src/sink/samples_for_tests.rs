//! Records made by hand, for the tests of whatever shows them.

use finwait_core::observation::{
    Comm, Family, Host, Program, ReasonName, Stream, Task, TcpFields, Tier, TimeWaitSource, Workload,
};
use finwait_core::record::{
    BothEnds, CloseKind, CloseRecord, Dwell, Endpoint, FinOutcome, FinRetransmits, FirstCloser, LocalCause,
    Owner, Reset, ResetCause, ResetDirection, Role, SeenFrom, Step, Successor, TimeWaitEnd, TimeWaitRecord,
    TransitionRecord, WaveTime, WaveTimes, Waves,
};
use finwait_core::{
    Accounting, BootId, CgroupId, Claim, ClockPair, ConnId, Cookie, Evidence, MonoNs, NetNs, Pid, Port,
    Reason, SockAddr, SocketKey, StateChange, TcpState, WallNs,
};

use super::Context;

const MS: u64 = 1_000_000;
const START: u64 = 1_000 * MS;

pub(crate) fn known<T>(value: T) -> Claim<T> {
    Claim::known(value, [Evidence::UnbrokenChain])
}

pub(crate) fn owner(comm: &str, tgid: u32, pid: u32) -> Owner {
    Owner { tgid: Pid(tgid), pid: Pid(pid), comm: Comm::from_text(comm), start_boot_ns: Some(77) }
}

pub(crate) fn endpoint(addr: &str, port: u16) -> Endpoint {
    Endpoint { addr: Some(addr.parse().unwrap()), port: Port::new(port) }
}

pub(crate) fn boot() -> BootId {
    BootId::parse("4f1c09ab-2f3a-4b5c-8d6e-7f8091a2b3c4").unwrap()
}

pub(crate) fn conn_id() -> ConnId {
    ConnId { boot: boot(), socket: SocketKey::Cookie(Cookie(0x2a)), generation: START }
}

pub(crate) fn host(tier: Tier) -> Host {
    Host {
        schema: finwait_core::observation::SCHEMA,
        boot_id: boot(),
        kernel: "6.18.44".to_owned(),
        tier,
        since: MonoNs(START - 100 * MS),
        rps: Some(false),
        filtered: false,
        hooks: finwait_core::observation::Hooks::default(),
        sysctls: finwait_core::observation::Sysctls::default(),
    }
}

/// Host and clocks such that monotonic 1 s is 2026-09-23 20:24:11 UTC.
pub(crate) fn context() -> Context {
    Context {
        host: Some(host(Tier::TpBtf)),
        clock: Some(ClockPair { mono: MonoNs(START), wall: WallNs(1_790_195_051_000_000_000) }),
    }
}

pub(crate) fn dwell(state: TcpState, duration_ns: u64) -> Dwell {
    Dwell { state, duration_ns: known(duration_ns), unsent_bytes: None, slow: false }
}

fn wave(after_ms: u64) -> Claim<WaveTime> {
    known(WaveTime::at(MonoNs(START + after_ms * MS)))
}

pub(crate) fn step(after_ms: u64, old: TcpState, new: TcpState) -> Step {
    Step { at: MonoNs(START + after_ms * MS), old, new }
}

/// curl asked 10.0.0.7:8080 and closed first; the peer took 3.1 s to close its end.
pub(crate) fn close() -> CloseRecord {
    use TcpState::{Close, Established, FinWait1, FinWait2, SynSent};
    CloseRecord {
        conn_id: conn_id(),
        family: Family::Inet,
        local: endpoint("10.0.0.5", 39812),
        remote: endpoint("10.0.0.7", 8080),
        netns: Some(NetNs(4_026_531_840)),
        cgroup: Some(CgroupId(77)),
        workload: None,
        uid: Some(1000),
        mark: Some(0),
        is_mptcp: Some(false),
        closed_at: Some(MonoNs(START + 3_148 * MS)),
        last_seen_at: MonoNs(START + 3_148 * MS),
        seen_from: SeenFrom::Handshake,
        role: known(Role::Opened),
        opener: known(owner("curl", 9120, 9120)),
        acceptor: Claim::Unknown(Reason::DidNotHappen),
        closer: known(owner("curl", 9120, 9120)),
        holder: None,
        cause: known(LocalCause::Close),
        exit_signal: None,
        first_closer: known(FirstCloser::Local),
        kind: known(CloseKind::Active),
        reset: None,
        timeout: None,
        error: known(0),
        waves: known(Waves::Four),
        wave_times: WaveTimes { waves: [48, 48, 3_148, 3_148].map(wave), slow: Some(3) },
        half_closed_ns: known(3_100 * MS),
        half_closed_bytes: known(0),
        fin_retransmits: known(FinRetransmits::default()),
        fin_outcome: known(FinOutcome::Acknowledged),
        successor: known(Successor::TimeWait),
        life_ns: known(3_148 * MS),
        handshake_ns: known(310_000),
        dwells: vec![
            dwell(Established, 47 * MS),
            dwell(FinWait1, 400_000),
            Dwell { slow: true, ..dwell(FinWait2, 3_100 * MS) },
        ],
        steps: vec![
            step(0, Close, SynSent),
            step(1, SynSent, Established),
            step(48, Established, FinWait1),
            step(48, FinWait1, FinWait2),
            step(3_148, FinWait2, Close),
        ],
        steps_dropped: 0,
        bytes_sent: known(512),
        bytes_received: known(2048),
        srtt_us: known(300),
        total_retrans: Some(0),
        idle_send_ns: Some(40 * MS),
        idle_receive_ns: Some(30 * MS),
        chain_breaks: 0,
        captured: None,
    }
}

/// An accepted connection of which only the end was seen, and not enough of that.
pub(crate) fn unproven() -> CloseRecord {
    let reason = Reason::TransitionMissing;
    CloseRecord {
        local: endpoint("2001:db8::5", 443),
        remote: endpoint("2001:db8::77", 60110),
        family: Family::Inet6,
        netns: None,
        cgroup: None,
        uid: None,
        mark: None,
        is_mptcp: None,
        closed_at: None,
        seen_from: SeenFrom::Middle,
        role: known(Role::Accepted),
        opener: Claim::Unknown(Reason::NotVisible),
        closer: Claim::Unknown(reason),
        first_closer: Claim::Unknown(reason),
        kind: Claim::Unknown(reason),
        error: Claim::Unknown(reason),
        waves: Claim::Unknown(reason),
        successor: Claim::Unknown(reason),
        life_ns: Claim::Unknown(Reason::SeenFromMiddle),
        handshake_ns: Claim::Unknown(Reason::SeenFromMiddle),
        dwells: Vec::new(),
        bytes_sent: Claim::Unknown(reason),
        bytes_received: Claim::Unknown(reason),
        srtt_us: Claim::Unknown(reason),
        total_retrans: None,
        idle_send_ns: None,
        idle_receive_ns: None,
        chain_breaks: 1,
        captured: None,
        ..close()
    }
}

pub(crate) fn workload() -> Workload {
    let container = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";
    Workload {
        path: format!("/system.slice/docker-{container}.scope"),
        container: Some(container.to_owned()),
        runtime: Some("docker".to_owned()),
        pod: Some("6f1e0c2a-0b1c-4d5e-8f90-a1b2c3d4e5f6".to_owned()),
        unit: Some("docker.service".to_owned()),
    }
}

/// nginx in a container was killed with a request unread: a reset.
pub(crate) fn killed() -> CloseRecord {
    CloseRecord {
        workload: Some(std::sync::Arc::new(workload())),
        role: known(Role::Accepted),
        opener: Claim::Unknown(Reason::NotVisible),
        acceptor: known(owner("nginx", 811, 812)),
        closer: known(owner("nginx", 811, 811)),
        holder: Some(owner("nginx", 810, 810)),
        cause: known(LocalCause::ProcessKilled),
        exit_signal: Some(9),
        kind: known(CloseKind::Reset),
        first_closer: Claim::Unknown(Reason::DidNotHappen),
        reset: Some(Reset {
            direction: known(ResetDirection::Sent),
            cause: known(ResetCause::UnreadData),
            unread_bytes: known(4096),
            state: TcpState::Established,
            reason: known(ReasonName::new("TCP_ABORT_ON_CLOSE")),
        }),
        dwells: vec![dwell(TcpState::Established, 3_000 * MS)],
        steps: vec![
            step(0, TcpState::Listen, TcpState::SynRecv),
            step(3_148, TcpState::Established, TcpState::Close),
        ],
        successor: known(Successor::Nothing),
        fin_outcome: Claim::Unknown(Reason::DidNotHappen),
        ..close()
    }
}

/// What [`close`] left behind: its peer's FIN came after 3.1 s, the rest took 60.9 s.
pub(crate) fn time_wait() -> TimeWaitRecord {
    TimeWaitRecord {
        conn_id: conn_id(),
        family: Family::Inet,
        local: endpoint("10.0.0.5", 39812),
        remote: endpoint("10.0.0.7", 8080),
        netns: Some(NetNs(4_026_531_840)),
        cgroup: Some(CgroupId(77)),
        source: TimeWaitSource::Fentry,
        began: wave(48),
        from_fin_wait2: known(true),
        entered: wave(3_148),
        ended: wave(64_048),
        end: known(TimeWaitEnd::Expired),
        fin_wait2_ns: known((3_100 * MS, 3_100 * MS)),
        time_wait_ns: known((60_900 * MS, 60_900 * MS)),
        timeout_ns: Some(60_000 * MS),
        rearmed: Some(0),
        ended_by: Claim::Unknown(Reason::NoTask),
    }
}

/// [`close`] and the end of nginx that it was connected to.
pub(crate) fn both_ends() -> BothEnds {
    let opener_side = close();
    let mut waves = opener_side.wave_times;
    waves.waves[0] = known(WaveTime::at(MonoNs(START + 48 * MS + 40_000)));
    let acceptor_side = CloseRecord {
        conn_id: ConnId { socket: SocketKey::Cookie(Cookie(0x2b)), ..conn_id() },
        local: opener_side.remote,
        remote: opener_side.local,
        role: known(Role::Accepted),
        opener: Claim::Unknown(Reason::NotVisible),
        acceptor: known(owner("nginx", 811, 811)),
        closer: known(owner("nginx", 811, 811)),
        first_closer: known(FirstCloser::Peer),
        kind: known(CloseKind::Passive),
        wave_times: waves,
        successor: known(Successor::Nothing),
        bytes_sent: known(2048),
        bytes_received: known(512),
        dwells: vec![
            dwell(TcpState::Established, 47 * MS),
            Dwell { slow: true, ..dwell(TcpState::CloseWait, 3_100 * MS) },
            dwell(TcpState::LastAck, 100_000),
        ],
        ..close()
    };
    BothEnds { opener_side, acceptor_side }
}

pub(crate) fn change(old: TcpState, new: TcpState) -> StateChange {
    StateChange {
        at: MonoNs(START + 48 * MS),
        stream: Stream { cpu: 1, program: Program::Prime, depth: 0 },
        seq: 7,
        old,
        new,
        family: Family::Inet,
        cookie: Some(Cookie(0x2a)),
        sock_addr: Some(SockAddr(0xffff_8880_1234_5680)),
        local_addr: Some("10.0.0.5".parse().unwrap()),
        remote_addr: Some("10.0.0.7".parse().unwrap()),
        inet_sport: Port::new(39812),
        num: Port::new(39812),
        dport: Port::new(8080),
        netns: Some(NetNs(4_026_531_840)),
        cgroup: Some(CgroupId(77)),
        inode: Some(4711),
        uid: Some(1000),
        mark: Some(0),
        lock_owned: Some(true),
        task: Some(Task {
            tgid: Pid(9120),
            pid: Pid(9120),
            comm: Comm::from_text("curl"),
            start_boot_ns: Some(77),
            kthread: Some(false),
            exiting: Some(false),
            exit_signal: None,
        }),
        flags: Some(finwait_core::observation::SockFlags { dead: false, done: false, linger: false }),
        shutdown: Some(finwait_core::observation::Shutdown { receive: false, send: true }),
        linger_ns: Some(0),
        err: Some(0),
        err_soft: Some(0),
        captured: None,
        tcp: tcp_fields(),
    }
}

fn tcp_fields() -> TcpFields {
    TcpFields {
        linger2: Some(0),
        snd_una: Some(1),
        snd_nxt: Some(2),
        write_seq: Some(3),
        rcv_nxt: Some(4),
        rcv_wup: Some(5),
        copied_seq: Some(6),
        clock_cache_ns: Some(7),
        bytes_acked: Some(8),
        bytes_received: Some(9),
        srtt_us: Some(10),
        rto_ns: Some(11),
        since_send_ns: Some(12),
        since_receive_ns: Some(13),
        total_retrans: Some(14),
        retransmits: Some(15),
        probes_out: Some(16),
        snd_wnd: Some(65_535),
        is_mptcp: Some(false),
    }
}

pub(crate) fn transition(old: TcpState, new: TcpState) -> TransitionRecord {
    TransitionRecord {
        conn_id: conn_id(),
        change: change(old, new),
        local: endpoint("10.0.0.5", 39812),
        remote: endpoint("10.0.0.7", 8080),
        actor: known(owner("curl", 9120, 9121)),
        owner: Some(owner("curl", 9120, 9121)),
        in_old_state_ns: known(47_123_400),
        chain_broken: false,
    }
}

/// The same as the classic tier sees it.
pub(crate) fn classic_transition(old: TcpState, new: TcpState) -> TransitionRecord {
    let absent = Claim::Unknown(Reason::FieldAbsent);
    let mut record = transition(old, new);
    record.conn_id.socket = SocketKey::Address(SockAddr(0xffff_8880_1234_5680));
    let change = &mut record.change;
    change.cookie = None;
    change.task = None;
    change.lock_owned = None;
    change.netns = None;
    change.cgroup = None;
    record.actor = absent;
    record.owner = None;
    record
}

pub(crate) fn accounting() -> Accounting {
    Accounting {
        received: 4127,
        duplicates: 2,
        lost_ring: 1,
        recursion_missed: Some(3),
        rescued: Some(3),
        gaps: 1,
        chain_breaks: 1,
        evicted: 0,
        decode_errors: 0,
        counted: 4128,
        hooks_lost: 0,
    }
}

/// An output that can be read while a sink holds it.
#[derive(Clone, Default)]
pub(crate) struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
