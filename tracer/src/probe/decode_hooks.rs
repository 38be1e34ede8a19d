//! From a hook's record to an observation; as for transitions, nothing here trusts the bytes.

use bytes::Buf;
use finwait_core::observation::{
    AcceptEvent, CallSite, Comm, Family, ResetEvent, RetransmitCause, RetransmitEvent, SocketKind, Stream,
    Subject, Task, TimeWaitChange, TimeWaitEvent,
};
use finwait_core::{Cookie, MonoNs, NetNs, Observation, Pid, Port, SockAddr, TcpState};
use tracer_common::{
    AcceptRecord, CHANGE_ARMED, CHANGE_ASKED, CHANGE_DISARMED, CHANGE_EXPIRED, DEPTHS, Head, KIND_ACCEPT,
    KIND_RESET, KIND_RETRANSMIT, KIND_TIME_WAIT, RECORD_VERSION, ResetRecord, RetransmitRecord, SOCKET_FULL,
    SOCKET_NONE, SOCKET_REQUEST, SOCKET_TIME_WAIT, STACK_FRAMES, SocketPart, TASK_FLAG_EXITING,
    TASK_FLAG_KTHREAD, TaskPart, hook_present, present,
};

use super::{
    call_sites::Taken,
    decode::{AF_INET, AF_INET6, DecodeError, Decoder, address, exit_signal, sixteen},
    hooks::program_of,
};

/// TCPHDR_FIN (include/net/tcp.h)
const FLAG_FIN: u8 = 1;
/// No timer: it is the retransmission timer's own work, which gives it up before (tcp_write_timer_handler,
/// net/ipv4/tcp_timer.c).
const PENDING_NONE: u8 = 0;
/// ICSK_TIME_LOSS_PROBE (include/net/inet_connection_sock.h): given up only after the probe.
const PENDING_LOSS_PROBE: u8 = 5;

/// Decodes one record.
pub(super) fn decode(bytes: &[u8], decoder: &Decoder) -> Result<Observation, DecodeError> {
    let mut rest = bytes;
    let kind = bytes.get(core::mem::offset_of!(Head, kind)).copied().unwrap_or_default();
    let expected = match kind {
        KIND_RESET => size_of::<ResetRecord>(),
        KIND_RETRANSMIT => size_of::<RetransmitRecord>(),
        KIND_ACCEPT => size_of::<AcceptRecord>(),
        KIND_TIME_WAIT => size_of::<tracer_common::TimeWaitRecord>(),
        other => return Err(DecodeError::Kind(other)),
    };
    if bytes.len() != expected {
        return Err(DecodeError::HookLength { kind, bytes: bytes.len() });
    }
    let head = head(&mut rest);
    if head.version != RECORD_VERSION {
        return Err(DecodeError::Version(head.version));
    }
    if usize::from(head.size) != expected {
        return Err(DecodeError::HookLength { kind, bytes: head.size.into() });
    }
    let event = Event { head, stream: stream(&head)?, socket: socket(&mut rest) };
    match kind {
        KIND_RESET => event.reset(&mut rest, decoder),
        KIND_RETRANSMIT => event.retransmit(&mut rest),
        KIND_ACCEPT => event.accept(&mut rest),
        _ => event.time_wait(&mut rest, decoder),
    }
}

/// What all kinds have.
struct Event {
    head: Head,
    stream: Stream,
    socket: SocketPart,
}

impl Event {
    fn has(&self, bit: u64) -> bool {
        self.head.present & bit != 0
    }

    fn reset(&self, rest: &mut &[u8], decoder: &Decoder) -> Result<Observation, DecodeError> {
        let task = task(rest);
        let (reason, answers_segment) = (rest.get_u32_ne(), rest.get_u32_ne() != 0);
        let sent = self.stream.program == finwait_core::observation::Program::SendReset;
        Ok(Observation::Reset(Box::new(ResetEvent {
            at: MonoNs(self.head.time_ns),
            stream: self.stream,
            seq: self.head.seq,
            subject: self.subject()?,
            state: self.state()?,
            answers_segment: sent.then_some(answers_segment),
            reason: if self.has(hook_present::REASON) { decoder.reasons.name(reason) } else { None },
            task: self.task(&task),
        })))
    }

    fn retransmit(&self, rest: &mut &[u8]) -> Result<Observation, DecodeError> {
        let (flags, pending, failed) = (rest.get_u8(), rest.get_u8(), rest.get_u8() != 0);
        Ok(Observation::Retransmit(Box::new(RetransmitEvent {
            at: MonoNs(self.head.time_ns),
            stream: self.stream,
            seq: self.head.seq,
            subject: self.subject()?,
            state: self.state()?,
            fin: self.has(hook_present::TCP_FLAGS).then_some(flags & FLAG_FIN != 0),
            cause: self.has(hook_present::PENDING).then_some(match pending {
                PENDING_NONE => RetransmitCause::Timeout,
                PENDING_LOSS_PROBE => RetransmitCause::LossProbe,
                _ => RetransmitCause::Recovery,
            }),
            failed: self.has(hook_present::FAILED).then_some(failed),
        })))
    }

    fn accept(&self, rest: &mut &[u8]) -> Result<Observation, DecodeError> {
        let task = task(rest);
        Ok(Observation::Accept(Box::new(AcceptEvent {
            at: MonoNs(self.head.time_ns),
            stream: self.stream,
            seq: self.head.seq,
            subject: self.subject()?,
            task: self.task(&task),
        })))
    }

    fn time_wait(&self, rest: &mut &[u8], decoder: &Decoder) -> Result<Observation, DecodeError> {
        let task = task(rest);
        let timeout = rest.get_u64_ne();
        let mut stack = [0; STACK_FRAMES];
        for frame in &mut stack {
            *frame = rest.get_u64_ne();
        }
        let change = change(rest.get_u64_ne())?;
        let taken = decoder.sites.as_ref().filter(|_| self.has(hook_present::STACK));
        let (change, site) = match taken {
            Some(sites) => told(change, sites.of(&stack)),
            None => (change, None),
        };
        // Elsewhere it is a bystander.
        let own = matches!(site, Some(CallSite::Connect | CallSite::Abort));
        Ok(Observation::TimeWait(Box::new(TimeWaitEvent {
            at: MonoNs(self.head.time_ns),
            stream: self.stream,
            seq: self.head.seq,
            change,
            subject: self.subject()?,
            substate: self.state()?,
            timeout_ns: self.has(hook_present::TIMEOUT).then(|| timeout.saturating_mul(decoder.jiffy_ns)),
            site,
            task: if own { self.task(&task) } else { None },
        })))
    }

    fn subject(&self) -> Result<Subject, DecodeError> {
        let socket = &self.socket;
        let kind = match socket.socket_kind {
            SOCKET_NONE => SocketKind::None,
            SOCKET_FULL => SocketKind::Full,
            SOCKET_TIME_WAIT => SocketKind::TimeWait,
            SOCKET_REQUEST => SocketKind::Request,
            other => return Err(self.wrong("socket kind", other.into())),
        };
        let family = match socket.family {
            AF_INET => Family::Inet,
            AF_INET6 => Family::Inet6,
            // None is looked at.
            _ if kind == SocketKind::None && !self.has(present::ADDRESSES) => Family::Inet,
            other => return Err(DecodeError::Family(other)),
        };
        let port = |bit, raw| if self.has(bit) { Port::new(raw) } else { None };
        Ok(Subject {
            kind,
            cookie: self.has(present::COOKIE).then_some(Cookie(socket.socket_cookie)),
            sock_addr: self.has(present::SOCK_ADDR).then_some(SockAddr(socket.sock_addr)),
            netns: self.has(present::NETNS).then_some(NetNs(socket.netns)),
            local_addr: self.has(present::ADDRESSES).then(|| address(family, socket.local_addr)),
            local_port: port(hook_present::LOCAL_PORT, socket.local_port),
            remote_addr: self.has(present::ADDRESSES).then(|| address(family, socket.remote_addr)),
            remote_port: port(present::DPORT, socket.remote_port),
        })
    }

    fn state(&self) -> Result<Option<TcpState>, DecodeError> {
        if !self.has(hook_present::STATE) {
            return Ok(None);
        }
        let raw = self.socket.state;
        TcpState::from_raw(raw).map(Some).ok_or_else(|| self.wrong("state", raw.into()))
    }

    fn task(&self, task: &TaskPart) -> Option<Task> {
        self.has(present::TASK).then(|| Task {
            tgid: Pid(task.tgid),
            pid: Pid(task.pid),
            comm: Comm::from_kernel(task.comm),
            start_boot_ns: self.has(present::TASK_START).then_some(task.task_start_boot_ns),
            kthread: self.has(present::TASK_FLAGS).then_some(task.task_flags & TASK_FLAG_KTHREAD != 0),
            exiting: self.has(present::TASK_FLAGS).then_some(task.task_flags & TASK_FLAG_EXITING != 0),
            exit_signal: exit_signal(self.head.present, task.task_flags, task.exit_signal),
        })
    }

    fn wrong(&self, field: &'static str, value: u64) -> DecodeError {
        DecodeError::HookField { kind: self.head.kind, field, value }
    }
}

/// What happened, and from where if it was a premature end. By the clock a time-wait socket is over before the timer wheel
/// comes round; only the stack then tells whether somebody was quicker. A stack that says nothing leaves it at the clock.
fn told(change: TimeWaitChange, taken: Option<Taken>) -> (TimeWaitChange, Option<CallSite>) {
    use TimeWaitChange::{Disarmed, Expired};
    match (change, taken) {
        // What ends a socket sets no timer anew.
        (Expired, Some(Taken::From(CallSite::Rearm))) => (Expired, None),
        (Disarmed | Expired, Some(Taken::From(site))) => (Disarmed, Some(site)),
        (Disarmed | Expired, Some(Taken::RanOut)) => (Expired, None),
        (Disarmed, None) => (Disarmed, Some(CallSite::Other)),
        (change, _) => (change, None),
    }
}

fn change(raw: u64) -> Result<TimeWaitChange, DecodeError> {
    match u8::try_from(raw) {
        Ok(CHANGE_ASKED) => Ok(TimeWaitChange::Asked),
        Ok(CHANGE_ARMED) => Ok(TimeWaitChange::Armed),
        Ok(CHANGE_DISARMED) => Ok(TimeWaitChange::Disarmed),
        Ok(CHANGE_EXPIRED) => Ok(TimeWaitChange::Expired),
        _ => Err(DecodeError::HookField { kind: KIND_TIME_WAIT, field: "change", value: raw }),
    }
}

fn stream(head: &Head) -> Result<Stream, DecodeError> {
    program_of(head.program)
        .filter(|_| usize::from(head.depth) < DEPTHS)
        .map(|program| Stream { cpu: head.cpu, program, depth: head.depth })
        .ok_or(DecodeError::Program { program: head.program, depth: head.depth })
}

// The readers below take as many bytes as their structures have; `decode` has compared the sum.

fn head(b: &mut &[u8]) -> Head {
    Head {
        version: b.get_u8(),
        kind: b.get_u8(),
        size: b.get_u16_ne(),
        program: b.get_u8(),
        depth: b.get_u8(),
        cpu: b.get_u16_ne(),
        seq: b.get_u64_ne(),
        time_ns: b.get_u64_ne(),
        present: b.get_u64_ne(),
    }
}

fn socket(b: &mut &[u8]) -> SocketPart {
    SocketPart {
        socket_cookie: b.get_u64_ne(),
        sock_addr: b.get_u64_ne(),
        local_addr: sixteen(b),
        remote_addr: sixteen(b),
        netns: b.get_u32_ne(),
        family: b.get_u16_ne(),
        local_port: b.get_u16_ne(),
        remote_port: b.get_u16_ne(),
        socket_kind: b.get_u8(),
        state: b.get_u8(),
        reserved: b.get_u32_ne(),
    }
}

fn task(b: &mut &[u8]) -> TaskPart {
    TaskPart {
        task_start_boot_ns: b.get_u64_ne(),
        comm: sixteen(b),
        tgid: b.get_u32_ne(),
        pid: b.get_u32_ne(),
        task_flags: b.get_u8(),
        exit_signal: b.get_u8(),
        reserved_half: b.get_u16_ne(),
        reserved_word: b.get_u32_ne(),
    }
}

#[cfg(test)]
#[path = "decode_hooks_tests.rs"]
mod tests;
