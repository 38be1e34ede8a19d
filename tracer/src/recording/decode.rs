//! A frame's payload into observations: the encoder's tables, filled in the same way. The payload is untrusted: what is
//! read is bounded by its length.

use finwait_core::observation::{
    AcceptEvent, CgroupNames, Counters, DumpBegin, DumpEnd, Family, Host, Numbered, ReasonName, ResetEvent,
    Resumed, RetransmitEvent, SocketRow, StateChange, Stream, Subject, Task, TimeWaitEvent, Watermark,
    Workload,
};
use finwait_core::{BootId, CgroupId, ClockPair, MonoNs, NetNs, Observation, TcpState, WallNs};

use super::frame::Layout;
use super::layout::{
    self, CHANGE_FIELDS, FAMILY, RARE_FIELDS, RAREST_FIELDS, SLOTS, SLOTS_V1, TASK, blank_change, blank_row,
    blank_subject, each_first_field, each_frequent_field, each_rare_field, each_rarest_field, each_row_field,
    each_subject_field, kind, row, subject_of,
};
use super::sequence;
use super::settings::{hooks, sysctls};
use super::tasks::Tasks;
use super::wire::{Fault, Field, Input, Read, optional, yes, yes_or_no};

/// Reads payloads one after another; it keeps nothing of one for the next but room. What it reads it makes in place, and lends.
#[derive(Debug)]
pub struct Decoder {
    layout: Layout,
    last_at: u64,
    streams: Vec<(Stream, u64)>,
    /// Transitions, of earlier frames as well
    slots: Vec<Observation>,
    /// Slots that this frame took
    filled: usize,
    /// The slot of the last transition
    last_slot: Option<usize>,
    last_subject: Subject,
    last_row: SocketRow,
    tasks: Tasks,
    /// The last accept() and the last event of a time-wait socket: room for the next
    accept: Observation,
    time_wait: Observation,
    /// The last one of another kind
    other: Observation,
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
            layout: Layout::V2,
            last_at: 0,
            streams: Vec::new(),
            slots: Vec::new(),
            filled: 0,
            last_slot: None,
            last_subject: blank_subject(),
            last_row: blank_row(),
            tasks: Tasks::default(),
            accept: blank(),
            time_wait: blank(),
            other: blank(),
        }
    }
}

impl Decoder {
    /// Appends the observations in `payload`, which are said to be `count`, to `batch`.
    ///
    /// # Errors
    /// Where the payload is not what an encoder makes; then `batch` is as it was.
    pub fn decode(
        &mut self,
        layout: Layout,
        payload: &[u8],
        count: u32,
        batch: &mut Vec<Observation>,
    ) -> Result<(), Fault> {
        let begun = batch.len();
        let mut place = self.begin(layout, count);
        let decoded = self.some(payload, &mut place, u32::MAX, &mut |lent| batch.push(lent.clone()));
        if decoded.is_err() {
            batch.truncate(begun);
        }
        decoded
    }

    /// The beginning of another payload of `count` observations.
    pub fn begin(&mut self, layout: Layout, count: u32) -> Place {
        self.layout = layout;
        self.last_at = 0;
        self.streams.clear();
        self.filled = 0;
        self.last_slot = None;
        self.last_subject = blank_subject();
        self.last_row = blank_row();
        self.tasks.clear();
        Place { at: 0, left: count }
    }

    /// Lends at most `limit` observations from `place` on in `payload`, which is the one that was begun, to `take`.
    ///
    /// # Errors
    /// As [`Self::decode`]; what was lent before is valid.
    pub fn some(
        &mut self,
        payload: &[u8],
        place: &mut Place,
        limit: u32,
        take: &mut dyn FnMut(&Observation),
    ) -> Result<(), Fault> {
        let mut input = Input::new(payload.get(place.at..).ok_or(Fault::Short)?);
        for _ in 0..place.left.min(limit) {
            take(self.observation(&mut input).map_err(|fault| *fault)?);
            place.left -= 1;
        }
        place.at = payload.len() - input.len();
        if place.left > 0 || input.is_empty() { Ok(()) } else { Err(Fault::Long) }
    }

    fn observation(&mut self, input: &mut Input<'_>) -> Read<&Observation> {
        match input.byte()? {
            kind::STATE_CHANGE => self.change(input),
            kind::TIME_WAIT => self.time_wait(input),
            kind::ACCEPT => self.accept(input),
            other => {
                self.other = self.rare(other, input)?;
                Ok(&self.other)
            }
        }
    }

    fn rare(&mut self, kind: u8, input: &mut Input<'_>) -> Read<Observation> {
        Ok(match kind {
            kind::HOST => Observation::Host(Box::new(self.host(input)?)),
            kind::CLOCK => Observation::Clock(self.clock(input)?),
            kind::WATERMARK => Observation::Watermark(Watermark { at: self.at(input)? }),
            kind::COUNTERS => Observation::Counters(Box::new(self.counters(input)?)),
            kind::RESET => Observation::Reset(Box::new(self.reset(input)?)),
            kind::RETRANSMIT => Observation::Retransmit(Box::new(self.retransmit(input)?)),
            kind::DUMP_BEGIN => Observation::DumpBegin(self.dump_begin(input)?),
            kind::SOCKET => Observation::Socket(Box::new(self.row(input)?)),
            kind::DUMP_END => Observation::DumpEnd(self.dump_end(input)?),
            kind::CGROUP => Observation::Cgroup(Box::new(cgroup(input)?)),
            kind::RESUMED => Observation::Resumed(Box::new(self.resumed(input)?)),
            _ => return Err(&Fault::Bad("the kind of an observation")),
        })
    }

    #[inline(always)]
    fn at(&mut self, input: &mut Input<'_>) -> Read<MonoNs> {
        self.last_at = input.difference(self.last_at)?;
        Ok(MonoNs(self.last_at))
    }

    #[inline(always)]
    fn numbered(&mut self, input: &mut Input<'_>) -> Read<(Stream, u64)> {
        let mut index: usize = input.small(&Fault::Bad("a stream"))?;
        if index == 0 {
            *input = self.new_stream(*input)?;
            index = self.streams.len();
        }
        let (stream, last) = self.streams.get_mut(index - 1).ok_or(&Fault::Bad("a stream"))?;
        *last = input.difference(*last)?;
        Ok((*stream, *last))
    }

    /// Takes one in; what follows it.
    #[cold]
    fn new_stream<'a>(&mut self, mut input: Input<'a>) -> Read<Input<'a>> {
        let cpu = input.small(&Fault::Bad("a CPU"))?;
        let program = layout::program(input.byte()?)?;
        self.streams.push((Stream { cpu, program, depth: input.byte()? }, 0));
        Ok(input)
    }

    fn change(&mut self, input: &mut Input<'_>) -> Read<&Observation> {
        // Of its own, so that it stays in registers.
        let mut rest = *input;
        let code: usize = rest.small(&Fault::Bad("a slot"))?;
        let at = self.at(&mut rest)?;
        let (stream, seq) = self.numbered(&mut rest)?;
        let states = rest.byte()?;
        let mask = rest.number()?;
        if mask & !CHANGE_FIELDS != 0 {
            return Err(&Fault::Bad("the fields of a transition"));
        }
        let slot = match code.checked_sub(1) {
            Some(slot) if slot < self.slots() => slot,
            Some(_) => return Err(&Fault::Bad("a slot")),
            None => self.make_room(),
        };
        self.last_slot = Some(slot);
        let Some(lent) = self.slots.get_mut(slot) else { return Err(&Fault::Bad("a slot")) };
        let Observation::StateChange(change) = lent else { return Err(&Fault::Bad("a slot")) };
        (change.at, change.stream, change.seq) = (at, stream, seq);
        (change.old, change.new) = (layout::state(states >> 4)?, layout::state(states & 0xf)?);
        *input = changed_fields(self.layout, change, mask, rest)?;
        if mask & TASK != 0 {
            self.tasks.read(input, &mut change.task)?;
        }
        Ok(lent)
    }

    /// Slots that this frame has filled.
    fn slots(&self) -> usize {
        self.filled.min(self.most_slots())
    }

    fn most_slots(&self) -> usize {
        match self.layout {
            Layout::V1 => SLOTS_V1,
            Layout::V2 => SLOTS,
        }
    }

    /// A slot that holds the frame's last transition.
    fn make_room(&mut self) -> usize {
        let slot = self.filled % self.most_slots();
        self.filled += 1;
        if slot == self.slots.len() {
            self.slots.push(blank_slot());
        }
        match self.last_slot {
            None => self.slots[slot] = blank_slot(),
            Some(last) => {
                // There is nothing to copy where the last is the only one.
                if let Ok([Observation::StateChange(last), Observation::StateChange(new)]) =
                    self.slots.get_disjoint_mut([last, slot])
                {
                    copy(last, new);
                }
            }
        }
        slot
    }

    /// Into `last_subject`.
    fn subject(&mut self, input: &mut Input<'_>) -> Read<()> {
        let mut rest = *input;
        let code: usize = rest.small(&Fault::Bad("a slot"))?;
        if let Some(slot) = code.checked_sub(1) {
            let slots = self.slots.get(..self.slots()).unwrap_or_default();
            let Some(Observation::StateChange(change)) = slots.get(slot) else {
                return Err(&Fault::Bad("a slot"));
            };
            self.last_subject = subject_of(change);
        }
        let subject = &mut self.last_subject;
        let mask = rest.byte()?;
        macro_rules! get {
            ($bit:literal, $field:ident) => {
                if mask & 1 << $bit != 0 {
                    subject.$field = Field::get(subject.$field, &mut rest)?;
                }
            };
        }
        each_subject_field!(get);
        if mask & 1 != 0 {
            subject.kind = layout::socket_kind(rest.byte()?)?;
        }
        *input = rest;
        Ok(())
    }

    fn task(&mut self, input: &mut Input<'_>) -> Read<Option<Task>> {
        let mut task = None;
        self.tasks.read(input, &mut task)?;
        Ok(task)
    }

    fn reset(&mut self, input: &mut Input<'_>) -> Read<ResetEvent> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        self.subject(input)?;
        let subject = self.last_subject;
        let state = optional_state(input)?;
        let answers_segment = yes_or_no(input)?;
        let reason = input.text()?;
        let reason = yes(input)?.then(|| ReasonName::new(reason));
        Ok(ResetEvent { at, stream, seq, subject, state, answers_segment, reason, task: self.task(input)? })
    }

    fn retransmit(&mut self, input: &mut Input<'_>) -> Read<RetransmitEvent> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        self.subject(input)?;
        let subject = self.last_subject;
        let state = optional_state(input)?;
        let fin = yes_or_no(input)?;
        let cause = input.byte()?.checked_sub(1).map(layout::retransmit_cause).transpose()?;
        Ok(RetransmitEvent { at, stream, seq, subject, state, fin, cause, failed: yes_or_no(input)? })
    }

    fn accept(&mut self, input: &mut Input<'_>) -> Read<&Observation> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        self.subject(input)?;
        let subject = self.last_subject;
        let task = self.task(input)?;
        let event = AcceptEvent { at, stream, seq, subject, task };
        match &mut self.accept {
            Observation::Accept(room) => **room = event,
            other => *other = Observation::Accept(Box::new(event)),
        }
        Ok(&self.accept)
    }

    fn time_wait(&mut self, input: &mut Input<'_>) -> Read<&Observation> {
        let at = self.at(input)?;
        let (stream, seq) = self.numbered(input)?;
        self.subject(input)?;
        let subject = self.last_subject;
        let change = layout::time_wait_change(input.byte()?)?;
        let substate = optional_state(input)?;
        let timeout_ns = optional(input)?;
        let site = input.byte()?.checked_sub(1).map(layout::call_site).transpose()?;
        let task = self.task(input)?;
        let event = TimeWaitEvent { at, stream, seq, change, subject, substate, timeout_ns, site, task };
        match &mut self.time_wait {
            Observation::TimeWait(room) => **room = event,
            other => *other = Observation::TimeWait(Box::new(event)),
        }
        Ok(&self.time_wait)
    }

    fn dump_begin(&mut self, input: &mut Input<'_>) -> Read<DumpBegin> {
        Ok(DumpBegin { at: self.at(input)?, scope: layout::dump_scope(input.byte()?)? })
    }

    fn dump_end(&mut self, input: &mut Input<'_>) -> Read<DumpEnd> {
        let (at, scope) = (self.at(input)?, layout::dump_scope(input.byte()?)?);
        let mut complete = Vec::new();
        let mut last = 0;
        for _ in 0..input.number()? {
            last = input.difference(last)?;
            complete.push(NetNs(u32::try_from(last).map_err(|_| &Fault::Bad("a namespace"))?));
        }
        Ok(DumpEnd { at, scope, complete })
    }

    fn row(&mut self, input: &mut Input<'_>) -> Read<SocketRow> {
        let (state, mask) = (input.byte()?, input.number()?);
        if mask & !row::FIELDS != 0 {
            return Err(&Fault::Bad("the fields of a socket"));
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
        let there = || &Fault::Bad("an end of a socket");
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

    fn clock(&mut self, input: &mut Input<'_>) -> Read<ClockPair> {
        Ok(ClockPair { mono: self.at(input)?, wall: WallNs(input.number()?) })
    }

    fn counters(&mut self, input: &mut Input<'_>) -> Read<Counters> {
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

    fn host(&mut self, input: &mut Input<'_>) -> Read<Host> {
        Ok(Host {
            since: self.at(input)?,
            schema: input.small(&Fault::Bad("a schema"))?,
            boot_id: BootId(u128::from_le_bytes(input.bytes()?)),
            kernel: input.text()?.to_owned(),
            tier: layout::tier(input.byte()?)?,
            rps: yes_or_no(input)?,
            filtered: yes(input)?,
            hooks: hooks(input)?,
            sysctls: sysctls(input)?,
        })
    }

    fn resumed(&mut self, input: &mut Input<'_>) -> Read<Resumed> {
        let (at, counters) = (self.at(input)?, self.counters(input)?);
        let mut numbers = Vec::new();
        for _ in 0..input.number()? {
            let (stream, seq) = self.numbered(input)?;
            numbers.push(Numbered { stream, seq });
        }
        Ok(Resumed { at, counters, numbers })
    }
}

/// Nothing has been read yet.
fn blank() -> Observation {
    Observation::Watermark(Watermark { at: MonoNs(0) })
}

fn blank_slot() -> Observation {
    Observation::StateChange(Box::new(blank_change()))
}

/// All but the captured close, which no recording has: in place, as a transition is large.
#[inline(never)]
fn copy(from: &StateChange, to: &mut StateChange) {
    macro_rules! copy {
        ($($field:ident)*) => {
            let StateChange { captured: _, $($field),* } = from;
            $(to.$field = *$field;)*
            to.captured = None;
        };
    }
    copy! {
        at stream seq old new family cookie sock_addr local_addr remote_addr inet_sport num dport netns cgroup
        inode uid mark lock_owned task flags shutdown linger_ns err err_soft tcp
    }
}

/// `change` is what they are compared with. What follows them.
#[inline(always)]
fn changed_fields<'a>(
    layout: Layout,
    change: &mut StateChange,
    mask: u64,
    mut input: Input<'a>,
) -> Read<Input<'a>> {
    macro_rules! get {
        ($bit:literal, $($field:ident).+) => {
            if mask & 1 << $bit != 0 {
                change.$($field).+ = Field::get(change.$($field).+, &mut input)?;
            }
        };
    }
    each_first_field!(get);
    input = sequence::get(layout, &mut change.tcp, mask, input)?;
    each_frequent_field!(get);
    if mask & RARE_FIELDS == 0 {
        return Ok(input);
    }
    each_rare_field!(get);
    if mask & RAREST_FIELDS != 0 {
        each_rarest_field!(get);
    }
    if mask & FAMILY != 0 {
        change.family = if change.family == Family::Inet { Family::Inet6 } else { Family::Inet };
    }
    Ok(input)
}

fn cgroup(input: &mut Input<'_>) -> Read<CgroupNames> {
    let cgroup = CgroupId(input.number()?);
    let path = input.text()?.to_owned();
    let mut name = || -> Read<Option<String>> {
        if yes(input)? { Ok(Some(input.text()?.to_owned())) } else { Ok(None) }
    };
    let workload = Workload { path, container: name()?, runtime: name()?, pod: name()?, unit: name()? };
    Ok(CgroupNames { cgroup, workload })
}

fn optional_state(input: &mut Input<'_>) -> Read<Option<TcpState>> {
    match input.byte()? {
        0 => Ok(None),
        code => layout::state(code).map(Some),
    }
}
