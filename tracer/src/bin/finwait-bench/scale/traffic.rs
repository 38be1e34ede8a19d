//! Synthetic connections, as the kernel's programs would show them with every field. Half of them is opened here and closed
//! here first, half is accepted and closed by the peer first. Each is made from its number alone.

use std::net::Ipv4Addr;
use std::ops::Range;

use finwait_core::observation::{
    AcceptEvent, Comm, Counters, DumpBegin, DumpEnd, DumpScope, Family, Hooks, Host, Program, SCHEMA,
    Shutdown, SockFlags, SocketKind, SocketRow, StateChange, Stream, Subject, Sysctls, Task, TcpFields, Tier,
    TimeWaitChange, TimeWaitEvent, TimeWaitSource, Watermark,
};
use finwait_core::{
    BootId, CgroupId, ClockPair, Cookie, MonoNs, NetNs, Observation, Pid, Port, SockAddr, TcpState, WallNs,
};

const NETNS: NetNs = NetNs(4_026_531_840);
const MILLI: u64 = 1_000_000;
/// Batches a second: the ring is read as often.
pub(crate) const TICKS_A_SECOND: u64 = 200;
pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// What connections look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Ports that are served, here and elsewhere, and processes that serve them or ask there
    pub(crate) services: u64,
}

impl Traffic {
    /// Connections that fall into `groups` groups by role and service.
    pub(crate) fn of_groups(groups: u64) -> Self {
        Self { services: groups.div_ceil(2).max(1) }
    }
}

/// Makes observations in the order of the stream, numbered as its programs number them.
#[derive(Debug)]
pub(crate) struct Script {
    traffic: Traffic,
    /// Between two connections
    step_ns: u64,
    now: u64,
    transitions: u64,
    accepts: u64,
    arms: u64,
    expiries: u64,
    made: Vec<Observation>,
}

impl Script {
    pub(crate) fn new(traffic: Traffic, step_ns: u64) -> Self {
        let (now, made) = (1000 * SECOND_NS, Vec::new());
        Self { traffic, step_ns, now, transitions: 0, accepts: 0, arms: 0, expiries: 0, made }
    }

    /// What every stream begins with.
    pub(crate) fn begin(&self) -> Vec<Observation> {
        let hooks = Hooks {
            resets_sent: true,
            reset_reasons: true,
            resets_received: true,
            retransmits: true,
            accepts: true,
            time_wait: TimeWaitSource::Timer,
            sockets: true,
        };
        let host = Host {
            schema: SCHEMA,
            boot_id: BootId(7),
            kernel: "synthetic".to_owned(),
            tier: Tier::TpBtf,
            since: MonoNs(self.now),
            rps: Some(false),
            filtered: false,
            hooks,
            sysctls: Sysctls::default(),
        };
        let clock = ClockPair { mono: MonoNs(self.now), wall: WallNs(1_800_000_000_000_000_000) };
        vec![Observation::Host(Box::new(host)), Observation::Clock(clock)]
    }

    /// All since the last watermark, and one.
    pub(crate) fn watermark(&mut self) -> Vec<Observation> {
        let counters =
            Counters { at: MonoNs(self.now), transitions: self.transitions, ..Counters::default() };
        self.made.push(Observation::Counters(Box::new(counters)));
        self.made.push(Observation::Watermark(Watermark { at: MonoNs(self.now) }));
        std::mem::take(&mut self.made)
    }

    /// The connection is established.
    pub(crate) fn open(&mut self, number: u64) {
        use TcpState::{Close, Established, Listen, SynRecv, SynSent};
        let wait = dwell(number, 1);
        if accepted(number) {
            self.change(number, 0, Listen, SynRecv, |_| {});
            self.change(number, wait, SynRecv, Established, |_| {});
            self.accept(number, wait);
        } else {
            let task = task(self.service(number));
            self.change(number, 0, Close, SynSent, |change| by(change, task));
            self.change(number, wait, SynSent, Established, |_| {});
        }
        self.now += self.step_ns;
    }

    /// The connection is closed, by an exchange of FINs; one that was opened here leaves a time-wait socket.
    pub(crate) fn close(&mut self, number: u64) {
        use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
        let (second, third) = (dwell(number, 2), dwell(number, 2) + dwell(number, 3));
        let task = task(self.service(number));
        if accepted(number) {
            self.change(number, 0, Established, CloseWait, |change| received_fin(change, 0));
            self.change(number, second, CloseWait, LastAck, |change| {
                by(change, task);
                queued_fin(change, 0);
            });
            self.change(number, third, LastAck, Close, |change| queued_fin(change, 1));
        } else {
            self.change(number, 0, Established, FinWait1, |change| {
                by(change, task);
                queued_fin(change, 0);
            });
            self.change(number, second, FinWait1, FinWait2, |change| queued_fin(change, 1));
            self.time_wait(number, third, TimeWaitChange::Armed);
            self.change(number, third, FinWait2, Close, |change| {
                queued_fin(change, 1);
                received_fin(change, 1);
            });
        }
    }

    /// The connection's time-wait socket is over.
    pub(crate) fn end_time_wait(&mut self, number: u64) {
        if !accepted(number) {
            self.time_wait(number, 0, TimeWaitChange::Expired);
        }
    }

    pub(crate) fn dump_begin(&self) -> [Observation; 1] {
        let begin = DumpBegin { at: MonoNs(self.now), scope: DumpScope::Connections };
        [Observation::DumpBegin(begin)]
    }

    /// Established connections of these numbers.
    pub(crate) fn rows(&self, numbers: Range<u64>) -> Vec<Observation> {
        let row = |number| {
            let service = self.service(number);
            let (local_port, remote_port) = self.ports(number);
            Observation::Socket(Box::new(SocketRow {
                netns: NETNS,
                family: Family::Inet,
                state: TcpState::Established,
                mini: false,
                cookie: Some(cookie(number)),
                local_addr: local().into(),
                local_port,
                remote_addr: remote(number).into(),
                remote_port,
                inode: Some(number + 1000),
                uid: Some(1000),
                mark: Some(0),
                cgroup: Some(CgroupId(service + 5000)),
                holder: Some(task(service)),
                timer_ns: None,
            }))
        };
        numbers.map(row).collect()
    }

    pub(crate) fn dump_end(&mut self) -> [Observation; 1] {
        self.now += MILLI;
        let at = MonoNs(self.now);
        [Observation::DumpEnd(DumpEnd { at, scope: DumpScope::Connections, complete: vec![NETNS] })]
    }

    fn service(&self, number: u64) -> u64 {
        number / 2 % self.traffic.services
    }

    /// Local and remote one.
    fn ports(&self, number: u64) -> (Option<Port>, Option<Port>) {
        let served = Port::new(1000 + self.service(number) as u16);
        let ephemeral = Port::new(32_768 + (number % 28_000) as u16);
        if accepted(number) { (served, ephemeral) } else { (ephemeral, served) }
    }

    fn change(
        &mut self,
        number: u64,
        after_ns: u64,
        old: TcpState,
        new: TcpState,
        more: impl FnOnce(&mut StateChange),
    ) {
        self.transitions += 1;
        let (local_port, remote_port) = self.ports(number);
        let mut change = StateChange {
            at: MonoNs(self.now + after_ns),
            stream: stream(Program::Prime),
            seq: self.transitions,
            old,
            new,
            family: Family::Inet,
            cookie: Some(cookie(number)),
            sock_addr: Some(address(number)),
            local_addr: Some(local().into()),
            remote_addr: Some(remote(number).into()),
            inet_sport: local_port,
            num: local_port,
            dport: remote_port,
            netns: Some(NETNS),
            cgroup: Some(CgroupId(self.service(number) + 5000)),
            inode: Some(number + 1000),
            uid: Some(1000),
            mark: Some(0),
            lock_owned: Some(false),
            task: None,
            flags: Some(SockFlags { dead: false, done: false, linger: false }),
            shutdown: Some(Shutdown { receive: false, send: false }),
            linger_ns: Some(0),
            err: Some(0),
            err_soft: Some(0),
            captured: None,
            tcp: numbers(number),
        };
        more(&mut change);
        self.made.push(Observation::StateChange(Box::new(change)));
    }

    fn accept(&mut self, number: u64, after_ns: u64) {
        self.accepts += 1;
        let event = AcceptEvent {
            at: MonoNs(self.now + after_ns),
            stream: stream(Program::Accept),
            seq: self.accepts,
            subject: self.subject(number, SocketKind::Full),
            task: Some(task(self.service(number))),
        };
        self.made.push(Observation::Accept(Box::new(event)));
    }

    fn time_wait(&mut self, number: u64, after_ns: u64, change: TimeWaitChange) {
        let (program, count) = match change {
            TimeWaitChange::Armed => (Program::TimerStart, &mut self.arms),
            _ => (Program::TimerExpire, &mut self.expiries),
        };
        *count += 1;
        let event = TimeWaitEvent {
            at: MonoNs(self.now + after_ns),
            stream: stream(program),
            seq: *count,
            change,
            subject: self.subject(number, SocketKind::TimeWait),
            substate: Some(TcpState::TimeWait),
            timeout_ns: Some(60_000 * MILLI),
            site: None,
            task: None,
        };
        self.made.push(Observation::TimeWait(Box::new(event)));
    }

    fn subject(&self, number: u64, kind: SocketKind) -> Subject {
        let (local_port, remote_port) = self.ports(number);
        let offset = if kind == SocketKind::TimeWait { 1 << 40 } else { 0 };
        Subject {
            kind,
            cookie: Some(cookie(number)),
            sock_addr: Some(SockAddr(address(number).0 + offset)),
            netns: Some(NETNS),
            local_addr: Some(local().into()),
            local_port,
            remote_addr: Some(remote(number).into()),
            remote_port,
        }
    }
}

/// Connections that come and go evenly.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) script: Script,
    rate: u64,
    opened: u64,
}

impl Load {
    /// `rate` connections a second.
    pub(crate) fn new(script: Script, rate: u64) -> Self {
        Self { script, rate, opened: 0 }
    }

    /// Opens a batch's share of connections, closes those of a second ago and ends the time-waits of two seconds ago.
    pub(crate) fn tick(&mut self) -> Vec<Observation> {
        let first = self.opened;
        self.opened += self.rate / TICKS_A_SECOND;
        for number in first..self.opened {
            self.script.open(number);
            if let Some(number) = number.checked_sub(self.rate) {
                self.script.close(number);
            }
            if let Some(number) = number.checked_sub(2 * self.rate) {
                self.script.end_time_wait(number);
            }
        }
        self.script.watermark()
    }
}

fn accepted(number: u64) -> bool {
    number % 2 == 1
}

fn cookie(number: u64) -> Cookie {
    Cookie(number + 1)
}

/// Sockets that are live at the same time have different ones.
fn address(number: u64) -> SockAddr {
    SockAddr(0xffff_8880_0000_0000 + number % (1 << 22) * 2432)
}

fn local() -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 5)
}

fn remote(number: u64) -> Ipv4Addr {
    Ipv4Addr::from(0x0a40_0000 + (number / 28_000 * 64 + mixed(number) % 64) as u32)
}

fn stream(program: Program) -> Stream {
    Stream { cpu: 0, program, depth: 0 }
}

/// The one process of a service, with some threads.
fn task(service: u64) -> Task {
    let tgid = service as u32 * 16 + 1000;
    Task {
        tgid: Pid(tgid),
        pid: Pid(tgid + service as u32 % 8),
        comm: Comm::from_text(&format!("service-{service}")),
        start_boot_ns: Some(service * MILLI),
        kthread: Some(false),
        exiting: Some(false),
        exit_signal: None,
    }
}

/// A kilobyte went each way.
fn numbers(number: u64) -> TcpFields {
    let (iss, irs) = (mixed(number) as u32, mixed(number + 1) as u32);
    let (sent, received) = (iss.wrapping_add(1024), irs.wrapping_add(1024));
    TcpFields {
        linger2: Some(0),
        snd_una: Some(sent),
        snd_nxt: Some(sent),
        write_seq: Some(sent),
        rcv_nxt: Some(received),
        rcv_wup: Some(received),
        copied_seq: Some(received),
        clock_cache_ns: Some(mixed(number + 2)),
        bytes_acked: Some(1024),
        bytes_received: Some(1024),
        srtt_us: Some(100),
        rto_ns: Some(200 * MILLI),
        since_send_ns: Some(MILLI),
        since_receive_ns: Some(MILLI),
        total_retrans: Some(0),
        retransmits: Some(0),
        probes_out: Some(0),
        snd_wnd: Some(65_535),
        is_mptcp: Some(false),
    }
}

fn by(change: &mut StateChange, task: Task) {
    (change.lock_owned, change.task) = (Some(true), Some(task));
}

/// Our FIN is written, and `acked` of it acknowledged.
fn queued_fin(change: &mut StateChange, acked: u32) {
    let tcp = &mut change.tcp;
    change.shutdown = Some(Shutdown { receive: true, send: true });
    (tcp.write_seq, tcp.snd_nxt) = (later(tcp.write_seq, 1), later(tcp.snd_nxt, 1));
    tcp.snd_una = later(tcp.snd_una, acked);
    tcp.bytes_acked = tcp.bytes_acked.map(|bytes| bytes + u64::from(acked));
}

/// The peer's FIN has come; whether it is `acked` yet.
fn received_fin(change: &mut StateChange, acked: u32) {
    let tcp = &mut change.tcp;
    change.flags = Some(SockFlags { dead: false, done: true, linger: false });
    tcp.rcv_nxt = later(tcp.rcv_nxt, 1);
    tcp.rcv_wup = later(tcp.rcv_wup, acked);
    tcp.bytes_received = tcp.bytes_received.map(|bytes| bytes + 1);
}

fn later(number: Option<u32>, by: u32) -> Option<u32> {
    number.map(|number| number.wrapping_add(by))
}

/// How long the connection stays in its `nth` state: 10 µs to 20 ms, all lengths alike on a logarithmic scale.
fn dwell(number: u64, nth: u64) -> u64 {
    let random = mixed(number * 8 + nth);
    let octave = 10_000 << (random % 11);
    octave + octave * (random >> 32) / (1 << 32)
}

/// A number that looks like none of its neighbours' (the finaliser of splitmix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
