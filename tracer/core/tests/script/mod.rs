//! A connection's events written as a script: what the kernel would show, step by step.
#![allow(dead_code)] // each test binary uses its part

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use finwait_core::observation::{
    Comm, Counters, Family, Hooks, Host, Program, SCHEMA, Shutdown, SockFlags, StateChange, Stream, Sysctls,
    Task, TcpFields, Tier, Watermark,
};
use finwait_core::record::{CloseRecord, TransitionRecord};
use finwait_core::{
    BootId, Cookie, MonoNs, NetNs, Observation, Pid, Port, Record, SockAddr, TcpState, Tracker, TrackerConfig,
};

pub mod time_wait;

pub const SECOND: u64 = 1_000_000_000;
pub const MILLI: u64 = 1_000_000;

/// Events in the order of the ring, each numbered in its stream.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub observations: Vec<Observation>,
    seq: u64,
    hook_seqs: BTreeMap<Program, u64>,
}

/// One socket: carries its sequence numbers from event to event as the kernel does.
#[derive(Clone, Debug)]
pub struct Sock {
    pub now: StateChange,
}

/// Resets and retransmissions are seen.
pub const RESETS: Hooks = Hooks {
    resets_sent: true,
    reset_reasons: true,
    resets_received: true,
    retransmits: true,
    accepts: false,
    time_wait: finwait_core::observation::TimeWaitSource::Off,
    sockets: false,
};

pub fn task(tgid: u32, comm: &str) -> Task {
    Task {
        tgid: Pid(tgid),
        pid: Pid(tgid),
        comm: Comm::from_text(comm),
        start_boot_ns: Some(5),
        kthread: Some(false),
        exiting: Some(false),
        exit_signal: None,
    }
}

impl Sock {
    /// A socket that tp_btf shows in full, with `iss` and `irs` as its sequence numbers' start.
    pub fn new(cookie: u64, iss: u32, irs: u32) -> Self {
        let tcp = TcpFields {
            linger2: Some(0),
            snd_una: Some(iss),
            snd_nxt: Some(iss),
            write_seq: Some(iss),
            rcv_nxt: Some(irs),
            rcv_wup: Some(irs),
            copied_seq: Some(irs),
            clock_cache_ns: Some(0),
            bytes_acked: Some(0),
            bytes_received: Some(0),
            srtt_us: Some(100),
            rto_ns: Some(200 * MILLI),
            since_send_ns: Some(0),
            since_receive_ns: Some(0),
            total_retrans: Some(0),
            retransmits: Some(0),
            probes_out: Some(0),
            snd_wnd: Some(65_535),
            is_mptcp: Some(false),
        };
        let now = StateChange {
            at: MonoNs(0),
            stream: Stream { cpu: 0, program: Program::Prime, depth: 0 },
            seq: 0,
            old: TcpState::Close,
            new: TcpState::Close,
            family: Family::Inet,
            cookie: Some(Cookie(cookie)),
            sock_addr: Some(SockAddr(0xffff_0000 + cookie * 64)),
            local_addr: Some(Ipv4Addr::new(127, 0, 0, 1).into()),
            remote_addr: Some(Ipv4Addr::new(127, 0, 0, 2).into()),
            inet_sport: Port::new(40_000),
            num: Port::new(40_000),
            dport: Port::new(8080),
            netns: Some(NetNs(4_026_531_840)),
            cgroup: None,
            inode: Some(77),
            uid: Some(0),
            mark: Some(0),
            lock_owned: Some(false),
            task: None,
            flags: Some(SockFlags { dead: false, done: false, linger: false }),
            shutdown: Some(Shutdown { receive: false, send: false }),
            linger_ns: Some(0),
            err: Some(0),
            err_soft: Some(0),
            captured: None,
            tcp,
        };
        Self { now }
    }

    pub fn tcp(&mut self) -> &mut TcpFields {
        &mut self.now.tcp
    }

    /// The next event is made by `task`, holding the lock.
    pub fn by(&mut self, tgid: u32, comm: &str) -> &mut Self {
        self.now.lock_owned = Some(true);
        self.now.task = Some(task(tgid, comm));
        self
    }

    /// The next event is made in softirq.
    pub fn softirq(&mut self) -> &mut Self {
        self.now.lock_owned = Some(false);
        self.now.task = None;
        self
    }

    pub fn shut(&mut self, receive: bool, send: bool) -> &mut Self {
        self.now.shutdown = Some(Shutdown { receive, send });
        self
    }

    pub fn flags(&mut self, dead: bool, done: bool) -> &mut Self {
        self.now.flags = Some(SockFlags { dead, done, linger: self.now.flags.is_some_and(|f| f.linger) });
        self
    }

    pub fn err(&mut self, err: i32) -> &mut Self {
        self.now.err = Some(err);
        self
    }

    /// All that was written is acknowledged, with `control` sequence numbers (SYN, FIN) among it.
    pub fn acked(&mut self, bytes: u64) -> &mut Self {
        let tcp = self.tcp();
        tcp.bytes_acked = tcp.bytes_acked.map(|n| n + bytes);
        tcp.snd_una = tcp.snd_una.map(|n| n.wrapping_add(bytes as u32));
        tcp.snd_nxt = tcp.snd_una;
        tcp.write_seq = tcp.snd_una;
        self
    }

    pub fn received(&mut self, bytes: u64) -> &mut Self {
        let tcp = self.tcp();
        tcp.bytes_received = tcp.bytes_received.map(|n| n + bytes);
        tcp.rcv_nxt = tcp.rcv_nxt.map(|n| n.wrapping_add(bytes as u32));
        self
    }

    /// The application has read everything.
    pub fn read_all(&mut self) -> &mut Self {
        let tcp = self.tcp();
        tcp.copied_seq = tcp.rcv_nxt;
        self
    }
}

impl Script {
    pub fn new() -> Self {
        let host = Host {
            schema: SCHEMA,
            boot_id: BootId(0x4f1c_09ab_2f3a << 80),
            kernel: "6.18.0".into(),
            tier: Tier::TpBtf,
            since: MonoNs(1),
            rps: Some(false),
            filtered: false,
            hooks: Hooks::default(),
            sysctls: Sysctls::default(),
        };
        Self { observations: vec![Observation::Host(Box::new(host))], ..Self::default() }
    }

    /// `hooks` are in force.
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        if let Some(Observation::Host(host)) = self.observations.first_mut() {
            host.hooks = hooks;
        }
        self
    }

    /// The kernel drops what does not match a filter.
    pub fn filtered(mut self, filtered: bool) -> Self {
        if let Some(Observation::Host(host)) = self.observations.first_mut() {
            host.filtered = filtered;
        }
        self
    }

    /// `sock` goes from `old` to `new` at `at`.
    pub fn step(&mut self, sock: &mut Sock, at: u64, old: TcpState, new: TcpState) -> &mut Self {
        self.seq += 1;
        sock.now.at = MonoNs(at);
        sock.now.seq = self.seq;
        (sock.now.old, sock.now.new) = (old, new);
        self.observations.push(Observation::StateChange(Box::new(sock.now.clone())));
        self
    }

    /// The next number of the stream is taken by a record that never arrives.
    pub fn lose(&mut self) -> &mut Self {
        self.seq += 1;
        self
    }

    /// The source found the ring empty at `at`, with `lost` records lost so far.
    pub fn quiet(&mut self, at: u64, lost: u64) -> &mut Self {
        let counters = Counters {
            at: MonoNs(at),
            transitions: self.seq,
            lost_ring: lost,
            recursion_missed: Some(0),
            rescued: Some(0),
            decode_errors: 0,
            hooks_lost: 0,
        };
        self.observations.push(Observation::Counters(Box::new(counters)));
        self.observations.push(Observation::Watermark(Watermark { at: MonoNs(at) }));
        self
    }

    pub fn records(&self) -> Vec<Record> {
        run(&self.observations, TrackerConfig::default()).0
    }

    pub fn closes(&self) -> Vec<CloseRecord> {
        closes(self.records())
    }

    pub fn transitions(&self) -> Vec<TransitionRecord> {
        self.records()
            .into_iter()
            .filter_map(|record| match record {
                Record::Transition(record) => Some(*record),
                Record::Close(_) | Record::TimeWait(_) | Record::BothEnds(_) => None,
            })
            .collect()
    }

    /// The one close record that the script leads to.
    pub fn close(&self) -> CloseRecord {
        let mut closes = self.closes();
        assert_eq!(closes.len(), 1, "one close record");
        closes.remove(0)
    }
}

pub fn closes(records: Vec<Record>) -> Vec<CloseRecord> {
    records
        .into_iter()
        .filter_map(|record| match record {
            Record::Close(record) => Some(*record),
            Record::Transition(_) | Record::TimeWait(_) | Record::BothEnds(_) => None,
        })
        .collect()
}

/// Every record that `observations` lead to, and the tracker after the end.
pub fn run(observations: &[Observation], config: TrackerConfig) -> (Vec<Record>, Tracker) {
    let mut tracker = Tracker::new(config);
    let mut records = Vec::new();
    for observation in observations {
        tracker.observe(observation);
        while let Some(record) = tracker.next_record() {
            records.push(record);
        }
    }
    tracker.finish();
    while let Some(record) = tracker.next_record() {
        records.push(record);
    }
    (records, tracker)
}

/// A client that opened at 1 ms and is established at 1.3 ms.
pub fn opened(script: &mut Script, cookie: u64) -> Sock {
    let mut sock = Sock::new(cookie, 1000, 9000);
    sock.by(100, "curl");
    script.step(&mut sock, MILLI, TcpState::Close, TcpState::SynSent);
    sock.softirq().acked(1);
    script.step(&mut sock, MILLI + 300_000, TcpState::SynSent, TcpState::Established);
    sock
}

/// A child of a listener, established at 1.2 ms and accepted.
pub fn accepted(script: &mut Script, cookie: u64) -> Sock {
    let mut sock = Sock::new(cookie, 5000, 7000);
    sock.now.inode = None;
    script.step(&mut sock, MILLI + 190_000, TcpState::Listen, TcpState::SynRecv);
    script.step(&mut sock, MILLI + 200_000, TcpState::SynRecv, TcpState::Established);
    sock.now.inode = Some(88);
    sock
}
