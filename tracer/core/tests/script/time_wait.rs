//! Time-wait sockets in a script: what their hooks and the dumps show.

use finwait_core::observation::{
    CallSite, DumpBegin, DumpEnd, DumpScope, Family, Hooks, Program, ResetEvent, SocketKind, SocketRow,
    Stream, Subject, TimeWaitChange, TimeWaitEvent, TimeWaitSource,
};
use finwait_core::record::TimeWaitRecord;
use finwait_core::{MonoNs, NetNs, Observation, Record, SockAddr, TcpState};

use super::{SECOND, Script, Sock, task};

/// The time-wait socket of `sock`, as its hooks show it.
pub fn subject(sock: &Sock) -> Subject {
    let now = &sock.now;
    Subject {
        kind: SocketKind::TimeWait,
        cookie: now.cookie,
        sock_addr: now.sock_addr.map(|address| SockAddr(address.0 + 0x8000_0000)),
        netns: now.netns,
        local_addr: now.local_addr,
        local_port: now.inet_sport,
        remote_addr: now.remote_addr,
        remote_port: now.dport,
    }
}

/// A row of a dump that shows the time-wait socket of `sock` with `timer_ns` left.
pub fn row(sock: &Sock, state: TcpState, timer_ns: u64) -> SocketRow {
    let now = &sock.now;
    SocketRow {
        netns: now.netns.unwrap(),
        family: Family::Inet,
        state,
        mini: true,
        cookie: now.cookie,
        local_addr: now.local_addr.unwrap(),
        local_port: now.inet_sport,
        remote_addr: now.remote_addr.unwrap(),
        remote_port: now.dport,
        inode: None,
        uid: None,
        mark: None,
        cgroup: None,
        holder: None,
        timer_ns: Some(timer_ns),
    }
}

pub fn time_waits(records: Vec<Record>) -> Vec<TimeWaitRecord> {
    records
        .into_iter()
        .filter_map(|record| match record {
            Record::TimeWait(record) => Some(*record),
            _ => None,
        })
        .collect()
}

/// What happens to time-wait sockets, on CPU 0.
pub trait TimeWaits {
    fn watching(self, source: TimeWaitSource) -> Self;
    fn hook(&mut self, program: Program) -> (Stream, u64);
    fn lose_hook(&mut self, program: Program) -> &mut Self;
    fn time_wait(&mut self, event: TimeWaitEvent) -> &mut Self;
    fn asked(&mut self, sock: &Sock, at: u64, state: TcpState) -> &mut Self;
    fn armed(&mut self, sock: &Sock, at: u64, state: TcpState) -> &mut Self;
    fn disarmed(&mut self, sock: &Sock, at: u64, state: TcpState, site: Option<CallSite>) -> &mut Self;
    fn expired(&mut self, sock: &Sock, at: u64, state: TcpState) -> &mut Self;
    fn reset_for(&mut self, sock: &Sock, at: u64) -> &mut Self;
    fn dump(&mut self, from: u64, to: u64, scope: DumpScope, rows: Vec<SocketRow>) -> &mut Self;
    fn time_wait_records(&self) -> Vec<TimeWaitRecord>;
    fn time_wait_record(&self) -> TimeWaitRecord;
}

fn event(
    script: &mut Script,
    sock: &Sock,
    at: u64,
    change: TimeWaitChange,
    state: TcpState,
) -> TimeWaitEvent {
    let program = match change {
        TimeWaitChange::Asked => Program::TimeWaitAsk,
        TimeWaitChange::Armed => Program::TimeWaitArm,
        TimeWaitChange::Disarmed | TimeWaitChange::Expired => Program::TimeWaitKill,
    };
    let (stream, seq) = script.hook(program);
    TimeWaitEvent {
        at: MonoNs(at),
        stream,
        seq,
        change,
        subject: subject(sock),
        substate: Some(state),
        timeout_ns: None,
        site: None,
        task: None,
    }
}

impl TimeWaits for Script {
    fn watching(mut self, source: TimeWaitSource) -> Self {
        if let Some(Observation::Host(host)) = self.observations.first_mut() {
            host.hooks = Hooks { time_wait: source, ..Hooks::default() };
        }
        self
    }

    fn hook(&mut self, program: Program) -> (Stream, u64) {
        let seq = self.hook_seqs.entry(program).or_default();
        *seq += 1;
        (Stream { cpu: 0, program, depth: 0 }, *seq)
    }

    fn lose_hook(&mut self, program: Program) -> &mut Self {
        self.hook(program);
        self
    }

    fn time_wait(&mut self, event: TimeWaitEvent) -> &mut Self {
        self.observations.push(Observation::TimeWait(Box::new(event)));
        self
    }

    fn asked(&mut self, sock: &Sock, at: u64, state: TcpState) -> &mut Self {
        let mut asked = event(self, sock, at, TimeWaitChange::Asked, state);
        asked.subject.kind = SocketKind::Full;
        asked.subject.sock_addr = sock.now.sock_addr;
        self.time_wait(asked)
    }

    /// For 60 s, or 10 s in FIN_WAIT2.
    fn armed(&mut self, sock: &Sock, at: u64, state: TcpState) -> &mut Self {
        let seconds = if state == TcpState::TimeWait { 60 } else { 10 };
        let armed = event(self, sock, at, TimeWaitChange::Armed, state);
        self.time_wait(TimeWaitEvent { timeout_ns: Some(seconds * SECOND), ..armed })
    }

    /// By the task "reuse" (7), where a task does it.
    fn disarmed(&mut self, sock: &Sock, at: u64, state: TcpState, site: Option<CallSite>) -> &mut Self {
        let disarmed = event(self, sock, at, TimeWaitChange::Disarmed, state);
        let tasks = matches!(site, Some(CallSite::Connect | CallSite::Abort));
        self.time_wait(TimeWaitEvent { site, task: tasks.then(|| task(7, "reuse")), ..disarmed })
    }

    fn expired(&mut self, sock: &Sock, at: u64, state: TcpState) -> &mut Self {
        let expired = event(self, sock, at, TimeWaitChange::Expired, state);
        self.time_wait(expired)
    }

    /// A segment for the time-wait socket is answered by a reset.
    fn reset_for(&mut self, sock: &Sock, at: u64) -> &mut Self {
        let (stream, seq) = self.hook(Program::SendReset);
        self.observations.push(Observation::Reset(Box::new(ResetEvent {
            at: MonoNs(at),
            stream,
            seq,
            subject: subject(sock),
            state: Some(TcpState::TimeWait),
            answers_segment: Some(true),
            reason: None,
            task: None,
        })));
        self
    }

    /// A complete dump of the namespace of every script.
    fn dump(&mut self, from: u64, to: u64, scope: DumpScope, rows: Vec<SocketRow>) -> &mut Self {
        self.observations.push(Observation::DumpBegin(DumpBegin { at: MonoNs(from), scope }));
        self.observations.extend(rows.into_iter().map(|row| Observation::Socket(Box::new(row))));
        let complete = vec![NetNs(4_026_531_840)];
        self.observations.push(Observation::DumpEnd(DumpEnd { at: MonoNs(to), scope, complete }));
        self
    }

    fn time_wait_records(&self) -> Vec<TimeWaitRecord> {
        time_waits(self.records())
    }

    /// The one time-wait record that the script leads to.
    fn time_wait_record(&self) -> TimeWaitRecord {
        let mut records = self.time_wait_records();
        assert_eq!(records.len(), 1, "one time-wait record");
        records.remove(0)
    }
}
