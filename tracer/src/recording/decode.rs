//! A frame's payload into observations: the encoder's tables, filled in the same way. The payload is untrusted: what is
//! read is bounded by its length.

use finwait_core::observation::{
    AcceptEvent, CgroupNames, Comm, Counters, DumpBegin, DumpEnd, Family, Hooks, Host, Numbered, PortBounds,
    ReasonName, ResetEvent, Resumed, RetransmitEvent, SocketRow, StateChange, Stream, Subject, Sysctls, Task,
    TimeWaitEvent, Watermark, Workload,
};
use finwait_core::{BootId, CgroupId, ClockPair, MonoNs, NetNs, Observation, Pid, TcpState, WallNs};

use super::layout::{
    self, CHANGE_FIELDS, FAMILY, RARE_FIELDS, SLOTS, TASK, TASKS, blank_change, blank_row, blank_subject,
    each_frequent_field, each_rare_field, each_row_field, each_subject_field, kind, row, subject_of,
};
use super::wire::{Fault, Field, Input};
use crate::source::room::Room;

/// Reads payloads one after another; it keeps nothing of one for the next but room.
#[derive(Debug)]
pub struct Decoder {
    last_at: u64,
    streams: Vec<(Stream, u64)>,
    slots: Vec<StateChange>,
    filled: usize,
    /// The slot of the last transition
    last_slot: Option<usize>,
    last_subject: Subject,
    last_row: SocketRow,
    tasks: Vec<Task>,
    tasks_filled: usize,
    room: Room,
}

/// How far a payload has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    at: usize,
    /// Observations that are still to be read
    pub left: u32,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            last_at: 0,
            streams: Vec::new(),
            slots: Vec::new(),
            filled: 0,
            last_slot: None,
            last_subject: blank_subject(),
            last_row: blank_row(),
            tasks: Vec::new(),
            tasks_filled: 0,
            room: Room::default(),
        }
    }
}

impl Decoder {
    /// Appends the observations in `payload`, which are said to be `count`, to `batch`.
    ///
    /// # Errors
    /// Where the payload is not what an encoder makes; then `batch` is as it was.
    pub fn decode(&mut self, payload: &[u8], count: u32, batch: &mut Vec<Observation>) -> Result<(), Fault> {
        let begun = batch.len();
        let mut place = self.begin(count);
        let decoded = self.some(payload, &mut place, u32::MAX, batch);
        if decoded.is_err() {
            batch.truncate(begun);
        }
        decoded
    }

    /// The beginning of another payload of `count` observations.
    pub fn begin(&mut self, count: u32) -> Place {
        self.last_at = 0;
        self.streams.clear();
        self.slots.clear();
        self.filled = 0;
        self.last_slot = None;
        self.last_subject = blank_subject();
        self.last_row = blank_row();
        self.tasks.clear();
        self.tasks_filled = 0;
        Place { at: 0, left: count }
    }

    /// Appends at most `limit` observations from `place` on in `payload`, which is the one that was begun.
    ///
    /// # Errors
    /// As [`Self::decode`]; what was appended before is valid.
    pub fn some(
        &mut self,
        payload: &[u8],
        place: &mut Place,
        limit: u32,
        batch: &mut Vec<Observation>,
    ) -> Result<(), Fault> {
        let mut input = Input::new(payload.get(place.at..).ok_or(Fault::Short)?);
        for _ in 0..place.left.min(limit) {
            let observation = self.observation(&mut input)?;
            batch.push(observation);
            place.left -= 1;
        }
        place.at = payload.len() - input.len();
        if place.left > 0 || input.is_empty() { Ok(()) } else { Err(Fault::Long) }
    }

    fn observation(&mut self, input: &mut Input<'_>) -> Result<Observation, Fault> {
        Ok(match input.byte()? {
            kind::STATE_CHANGE => Observation::StateChange(self.change(input)?),
            kind::HOST => Observation::Host(self.host(input)?),
            kind::CLOCK => Observation::Clock(self.clock(input)?),
            kind::WATERMARK => Observation::Watermark(Watermark { at: self.at(input)? }),
            kind::COUNTERS => Observation::Counters(self.counters(input)?),
            kind::RESET => Observation::Reset(Box::new(self.reset(input)?)),
            kind::RETRANSMIT => Observation::Retransmit(Box::new(self.retransmit(input)?)),
            kind::ACCEPT => Observation::Accept(Box::new(self.accept(input)?)),
            kind::TIME_WAIT => Observation::TimeWait(Box::new(self.time_wait(input)?)),
            kind::DUMP_BEGIN => Observation::DumpBegin(self.dump_begin(input)?),
            kind::SOCKET => Observation::Socket(Box::new(self.row(input)?)),
            kind::DUMP_END => Observation::DumpEnd(self.dump_end(input)?),
            kind::CGROUP => Observation::Cgroup(Box::new(cgroup(input)?)),
            kind::RESUMED => Observation::Resumed(Box::new(self.resumed(input)?)),
            _ => return Err(Fault::Bad("the kind of an observation")),
        })
    }

    #[inline]
    fn at(&mut self, input: &mut Input<'_>) -> Result<MonoNs, Fault> {
        self.last_at = input.difference(self.last_at)?;
        Ok(MonoNs(self.last_at))
    }

    #[inline]
    fn numbered(&mut self, input: &mut Input<'_>) -> Result<(Stream, u64), Fault> {
        let index: usize = match input.small("a stream")? {
            0 => {
                let cpu = input.small("a CPU")?;
                let program = layout::program(input.byte()?)?;
                self.streams.push((Stream { cpu, program, depth: input.byte()? }, 0));
                self.streams.len()
            }
            known => known,
        };
        let (stream, last) = self.streams.get_mut(index - 1).ok_or(Fault::Bad("a stream"))?;
        *last = input.difference(*last)?;
        Ok((*stream, *last))
    }

    fn change(&mut self, input: &mut Input<'_>) -> Result<Box<StateChange>, Fault> {
        let code: usize = input.small("a slot")?;
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        let states = input.byte()?;
        let mask = input.number()?;
        if mask & !CHANGE_FIELDS != 0 {
            return Err(Fault::Bad("the fields of a transition"));
        }
        let slot = match code.checked_sub(1) {
            Some(slot) if slot < self.slots.len() => slot,
            Some(_) => return Err(Fault::Bad("a slot")),
            None => self.make_room(),
        };
        let change = &mut self.slots[slot];
        (change.at, change.stream, change.seq) = (at, stream, seq);
        (change.old, change.new) = (layout::state(states >> 4)?, layout::state(states & 0xf)?);
        changed_fields(change, mask, input)?;
        if mask & TASK != 0 {
            self.slots[slot].task = self.task(input)?;
        }
        self.last_slot = Some(slot);
        Ok(self.room.put(copy(&self.slots[slot])))
    }

    /// Takes the room of what was decoded before, for what comes next.
    pub fn take_back(&mut self, batch: &mut Vec<Observation>) {
        self.room.take_back(batch);
    }

    /// A slot that holds the frame's last transition.
    fn make_room(&mut self) -> usize {
        let base = self.last_slot.map_or_else(blank_change, |last| copy(&self.slots[last]));
        let slot = self.filled % SLOTS;
        self.filled += 1;
        match self.slots.get_mut(slot) {
            Some(old) => *old = base,
            None => self.slots.push(base),
        }
        slot
    }

    fn task(&mut self, input: &mut Input<'_>) -> Result<Option<Task>, Fault> {
        let code: usize = input.small("a task")?;
        Ok(match code {
            0 => None,
            1 => {
                let task = task(input)?;
                let index = self.tasks_filled % TASKS;
                self.tasks_filled += 1;
                match self.tasks.get_mut(index) {
                    Some(old) => *old = task,
                    None => self.tasks.push(task),
                }
                Some(task)
            }
            known => Some(*self.tasks.get(known - 2).ok_or(Fault::Bad("a task"))?),
        })
    }

    fn subject(&mut self, input: &mut Input<'_>) -> Result<Subject, Fault> {
        let code: usize = input.small("a slot")?;
        let mut subject = match code.checked_sub(1) {
            None => self.last_subject,
            Some(slot) => subject_of(self.slots.get(slot).ok_or(Fault::Bad("a slot"))?),
        };
        let mask = input.byte()?;
        macro_rules! get {
            ($bit:literal, $field:ident) => {
                if mask & 1 << $bit != 0 {
                    subject.$field = Field::get(subject.$field, input)?;
                }
            };
        }
        each_subject_field!(get);
        if mask & 1 != 0 {
            subject.kind = layout::socket_kind(input.byte()?)?;
        }
        self.last_subject = subject;
        Ok(subject)
    }

    fn reset(&mut self, input: &mut Input<'_>) -> Result<ResetEvent, Fault> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        let subject = self.subject(input)?;
        let state = optional_state(input)?;
        let answers_segment = yes_or_no(input)?;
        let reason = input.text()?;
        let reason = yes(input)?.then(|| ReasonName::new(reason));
        Ok(ResetEvent { at, stream, seq, subject, state, answers_segment, reason, task: self.task(input)? })
    }

    fn retransmit(&mut self, input: &mut Input<'_>) -> Result<RetransmitEvent, Fault> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        let subject = self.subject(input)?;
        let state = optional_state(input)?;
        let fin = yes_or_no(input)?;
        let cause = input.byte()?.checked_sub(1).map(layout::retransmit_cause).transpose()?;
        Ok(RetransmitEvent { at, stream, seq, subject, state, fin, cause, failed: yes_or_no(input)? })
    }

    fn accept(&mut self, input: &mut Input<'_>) -> Result<AcceptEvent, Fault> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        let subject = self.subject(input)?;
        Ok(AcceptEvent { at, stream, seq, subject, task: self.task(input)? })
    }

    fn time_wait(&mut self, input: &mut Input<'_>) -> Result<TimeWaitEvent, Fault> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        let subject = self.subject(input)?;
        let change = layout::time_wait_change(input.byte()?)?;
        let substate = optional_state(input)?;
        let timeout_ns = optional(input)?;
        let site = input.byte()?.checked_sub(1).map(layout::call_site).transpose()?;
        let task = self.task(input)?;
        Ok(TimeWaitEvent { at, stream, seq, change, subject, substate, timeout_ns, site, task })
    }

    fn dump_begin(&mut self, input: &mut Input<'_>) -> Result<DumpBegin, Fault> {
        Ok(DumpBegin { at: self.at(input)?, scope: layout::dump_scope(input.byte()?)? })
    }

    fn dump_end(&mut self, input: &mut Input<'_>) -> Result<DumpEnd, Fault> {
        let (at, scope) = (self.at(input)?, layout::dump_scope(input.byte()?)?);
        let mut complete = Vec::new();
        let mut last = 0;
        for _ in 0..input.number()? {
            last = input.difference(last)?;
            complete.push(NetNs(u32::try_from(last).map_err(|_| Fault::Bad("a namespace"))?));
        }
        Ok(DumpEnd { at, scope, complete })
    }

    fn row(&mut self, input: &mut Input<'_>) -> Result<SocketRow, Fault> {
        let (state, mask) = (input.byte()?, input.number()?);
        if mask & !row::FIELDS != 0 {
            return Err(Fault::Bad("the fields of a socket"));
        }
        let mut socket = self.last_row.clone();
        macro_rules! get {
            ($bit:literal, $field:ident) => {
                if mask & 1 << $bit != 0 {
                    socket.$field = Field::get(socket.$field, input)?;
                }
            };
        }
        each_row_field!(get);
        let there = || Fault::Bad("an end of a socket");
        if mask & row::NETNS != 0 {
            socket.netns = Field::get(Some(socket.netns), input)?.ok_or_else(there)?;
        }
        if mask & row::LOCAL != 0 {
            socket.local_addr = Field::get(Some(socket.local_addr), input)?.ok_or_else(there)?;
        }
        if mask & row::REMOTE != 0 {
            socket.remote_addr = Field::get(Some(socket.remote_addr), input)?.ok_or_else(there)?;
        }
        if mask & row::HOLDER != 0 {
            socket.holder = self.task(input)?;
        }
        socket.family = layout::family(u8::from(state & row::INET6 != 0))?;
        socket.mini = state & row::MINI != 0;
        socket.state = layout::state(state & !(row::INET6 | row::MINI))?;
        self.last_row.clone_from(&socket);
        Ok(socket)
    }

    fn clock(&mut self, input: &mut Input<'_>) -> Result<ClockPair, Fault> {
        Ok(ClockPair { mono: self.at(input)?, wall: WallNs(input.number()?) })
    }

    fn counters(&mut self, input: &mut Input<'_>) -> Result<Counters, Fault> {
        Ok(Counters {
            at: self.at(input)?,
            transitions: input.number()?,
            lost_ring: input.number()?,
            recursion_missed: optional(input)?,
            rescued: optional(input)?,
            decode_errors: input.number()?,
            hooks_lost: input.number()?,
        })
    }

    fn host(&mut self, input: &mut Input<'_>) -> Result<Host, Fault> {
        Ok(Host {
            since: self.at(input)?,
            schema: input.small("a schema")?,
            boot_id: BootId(u128::from_le_bytes(input.bytes()?)),
            kernel: input.text()?.to_owned(),
            tier: layout::tier(input.byte()?)?,
            rps: yes_or_no(input)?,
            filtered: yes(input)?,
            hooks: hooks(input)?,
            sysctls: sysctls(input)?,
        })
    }

    fn resumed(&mut self, input: &mut Input<'_>) -> Result<Resumed, Fault> {
        let (at, counters) = (self.at(input)?, self.counters(input)?);
        let mut numbers = Vec::new();
        for _ in 0..input.number()? {
            let (stream, seq) = self.numbered(input)?;
            numbers.push(Numbered { stream, seq });
        }
        Ok(Resumed { at, counters, numbers })
    }
}

/// A recording has no captured close, so the rest is copied at once.
#[inline]
fn copy(change: &StateChange) -> StateChange {
    StateChange { captured: None, ..*change }
}

/// `change` is what they are compared with.
#[inline]
fn changed_fields(change: &mut StateChange, mask: u64, input: &mut Input<'_>) -> Result<(), Fault> {
    macro_rules! get {
        ($bit:literal, $($field:ident).+) => {
            if mask & 1 << $bit != 0 {
                change.$($field).+ = Field::get(change.$($field).+, input)?;
            }
        };
    }
    each_frequent_field!(get);
    if mask & RARE_FIELDS == 0 {
        return Ok(());
    }
    each_rare_field!(get);
    if mask & FAMILY != 0 {
        change.family = if change.family == Family::Inet { Family::Inet6 } else { Family::Inet };
    }
    Ok(())
}

fn task(input: &mut Input<'_>) -> Result<Task, Fault> {
    Ok(Task {
        tgid: Pid(input.small("a process")?),
        pid: Pid(input.small("a thread")?),
        comm: comm(input)?,
        start_boot_ns: optional(input)?,
        kthread: yes_or_no(input)?,
        exiting: yes_or_no(input)?,
        exit_signal: if yes(input)? { Some(input.byte()?) } else { None },
    })
}

fn comm(input: &mut Input<'_>) -> Result<Comm, Fault> {
    let length = input.byte()?.into();
    let mut raw = [0; 16];
    let place = raw.get_mut(..length).ok_or(Fault::Bad("a task's name"))?;
    place.copy_from_slice(input.slice(length)?);
    Ok(Comm::from_kernel(raw))
}

fn hooks(input: &mut Input<'_>) -> Result<Hooks, Fault> {
    let bits = input.byte()?;
    if bits >> 6 != 0 {
        return Err(Fault::Bad("the hooks in force"));
    }
    let on = |bit: u8| bits >> bit & 1 != 0;
    Ok(Hooks {
        resets_sent: on(0),
        reset_reasons: on(1),
        resets_received: on(2),
        retransmits: on(3),
        accepts: on(4),
        sockets: on(5),
        time_wait: layout::time_wait_source(input.byte()?)?,
    })
}

fn sysctls(input: &mut Input<'_>) -> Result<Sysctls, Fault> {
    let mut number = || -> Result<Option<u32>, Fault> {
        optional(input)?.map(u32::try_from).transpose().map_err(|_| Fault::Bad("a setting"))
    };
    Ok(Sysctls {
        netns: number()?.map(NetNs),
        tcp_fin_timeout: number()?,
        tcp_tw_reuse: number()?,
        tcp_orphan_retries: number()?,
        tcp_max_orphans: number()?,
        tcp_max_tw_buckets: number()?,
        ip_local_port_range: number()?
            .map(|ports| PortBounds { first: (ports >> 16) as u16, last: ports as u16 }),
    })
}

fn cgroup(input: &mut Input<'_>) -> Result<CgroupNames, Fault> {
    let cgroup = CgroupId(input.number()?);
    let path = input.text()?.to_owned();
    let mut name = || -> Result<Option<String>, Fault> {
        if yes(input)? { Ok(Some(input.text()?.to_owned())) } else { Ok(None) }
    };
    let workload = Workload { path, container: name()?, runtime: name()?, pod: name()?, unit: name()? };
    Ok(CgroupNames { cgroup, workload })
}

fn optional_state(input: &mut Input<'_>) -> Result<Option<TcpState>, Fault> {
    match input.byte()? {
        0 => Ok(None),
        code => layout::state(code).map(Some),
    }
}

fn yes_or_no(input: &mut Input<'_>) -> Result<Option<bool>, Fault> {
    Field::get(None, input)
}

fn yes(input: &mut Input<'_>) -> Result<bool, Fault> {
    match input.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Fault::Bad("yes or no")),
    }
}

fn optional(input: &mut Input<'_>) -> Result<Option<u64>, Fault> {
    if yes(input)? { input.number().map(Some) } else { Ok(None) }
}
