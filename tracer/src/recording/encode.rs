//! Observations into a frame's payload. Each frame begins with empty tables, so that each can be read alone.

use std::collections::HashMap;

use finwait_core::observation::{
    AcceptEvent, CgroupNames, Counters, DumpBegin, DumpEnd, Host, ResetEvent, Resumed, RetransmitEvent,
    SocketRow, StateChange, Stream, Subject, Sysctls, Task, TimeWaitEvent,
};
use finwait_core::{ClockPair, MonoNs, NetNs, Observation, TcpState};

use super::layout::{
    self, FAMILY, SLOTS, TASK, TASKS, blank_change, blank_row, blank_subject, each_first_field,
    each_frequent_field, each_rare_field, each_rarest_field, each_row_field, each_subject_field, kind, row,
    subject_of,
};
use super::sequence;
use super::wire::{Field, put_difference, put_number, put_text};

/// A payload in the making.
#[derive(Debug)]
pub struct Encoder {
    out: Vec<u8>,
    /// What follows a mask that is not known yet
    fields: Vec<u8>,
    observations: u32,
    last_at: u64,
    streams: HashMap<Stream, (u64, u64)>,
    slots: Vec<StateChange>,
    /// Transitions so far: where the next slot is
    filled: usize,
    slot_of: HashMap<Key, usize>,
    /// The slot of the last transition
    last_slot: Option<usize>,
    blank: StateChange,
    last_subject: Subject,
    last_row: SocketRow,
    tasks: Vec<Task>,
    tasks_filled: usize,
    task_at: HashMap<u32, usize>,
}

/// Cookie, or else address, of a socket.
type Key = (Option<u64>, Option<u64>);

impl Default for Encoder {
    fn default() -> Self {
        Self {
            out: Vec::new(),
            fields: Vec::new(),
            observations: 0,
            last_at: 0,
            streams: HashMap::new(),
            slots: Vec::new(),
            filled: 0,
            slot_of: HashMap::new(),
            last_slot: None,
            blank: blank_change(),
            last_subject: blank_subject(),
            last_row: blank_row(),
            tasks: Vec::new(),
            tasks_filled: 0,
            task_at: HashMap::new(),
        }
    }
}

impl Encoder {
    /// The payload so far.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.out
    }

    /// How many observations it has.
    #[must_use]
    pub fn observations(&self) -> u32 {
        self.observations
    }

    /// Begins another frame.
    pub fn clear(&mut self) {
        self.out.clear();
        self.observations = 0;
        self.last_at = 0;
        self.streams.clear();
        self.slots.clear();
        self.filled = 0;
        self.slot_of.clear();
        self.last_slot = None;
        self.last_subject = blank_subject();
        self.last_row = blank_row();
        self.tasks.clear();
        self.tasks_filled = 0;
        self.task_at.clear();
    }

    /// Appends `observation`.
    pub fn push(&mut self, observation: &Observation) {
        self.observations += 1;
        match observation {
            Observation::Host(host) => self.host(host),
            Observation::Clock(clock) => self.clock(*clock),
            Observation::StateChange(change) => self.change(change),
            Observation::Watermark(watermark) => self.begin(kind::WATERMARK, watermark.at),
            Observation::Counters(counters) => {
                self.out.push(kind::COUNTERS);
                self.counters(counters);
            }
            Observation::Reset(event) => self.reset(event),
            Observation::Retransmit(event) => self.retransmit(event),
            Observation::Accept(event) => self.accept(event),
            Observation::TimeWait(event) => self.time_wait(event),
            Observation::DumpBegin(begin) => self.dump_begin(begin),
            Observation::Socket(row) => self.row(row),
            Observation::DumpEnd(end) => self.dump_end(end),
            Observation::Cgroup(names) => self.cgroup(names),
            Observation::Resumed(resumed) => self.resumed(resumed),
        }
    }

    fn begin(&mut self, kind: u8, at: MonoNs) {
        self.out.push(kind);
        self.at(at);
    }

    fn at(&mut self, at: MonoNs) {
        put_difference(&mut self.out, self.last_at, at.0);
        self.last_at = at.0;
    }

    /// 0 and the stream itself, where it is new, else its number from 1; then its number's difference.
    fn numbered(&mut self, stream: Stream, seq: u64) {
        let next = self.streams.len() as u64 + 1;
        let (index, last) = self.streams.entry(stream).or_insert((next, 0));
        let new = *index == next;
        put_number(&mut self.out, if new { 0 } else { *index });
        if new {
            put_number(&mut self.out, stream.cpu.into());
            self.out.push(layout::program_code(stream.program));
            self.out.push(stream.depth);
        }
        put_difference(&mut self.out, *last, seq);
        *last = seq;
    }

    fn change(&mut self, change: &StateChange) {
        self.out.push(kind::STATE_CHANGE);
        let key = key(change.cookie.map(|c| c.0), change.sock_addr.map(|a| a.0));
        let known = self.slot_of.get(&key).copied();
        put_number(&mut self.out, known.map_or(0, |slot| slot as u64 + 1));
        self.at(change.at);
        self.numbered(change.stream, change.seq);
        self.out.push(change.old.raw() << 4 | change.new.raw());
        self.changed_fields(change, known);
        let slot = known.unwrap_or_else(|| self.make_room(key));
        self.slots[slot].clone_from(change);
        self.last_slot = Some(slot);
    }

    /// A slot for the socket `key`: a new one, or the oldest.
    fn make_room(&mut self, key: Key) -> usize {
        let slot = self.filled % SLOTS;
        self.filled += 1;
        match self.slots.get(slot) {
            None => self.slots.push(blank_change()),
            Some(old) => {
                let old = self::key(old.cookie.map(|c| c.0), old.sock_addr.map(|a| a.0));
                if self.slot_of.get(&old) == Some(&slot) {
                    self.slot_of.remove(&old);
                }
            }
        }
        if key != (None, None) {
            self.slot_of.insert(key, slot);
        }
        slot
    }

    /// The mask of the fields that differ, and these.
    fn changed_fields(&mut self, change: &StateChange, known: Option<usize>) {
        let base = known.or(self.last_slot).map_or(&self.blank, |slot| &self.slots[slot]);
        let (mut mask, fields) = (0u64, &mut self.fields);
        fields.clear();
        macro_rules! put {
            ($bit:literal, $($field:ident).+) => {
                if change.$($field).+ != base.$($field).+ {
                    mask |= 1 << $bit;
                    Field::put(change.$($field).+, base.$($field).+, fields);
                }
            };
        }
        each_first_field!(put);
        mask |= sequence::put(&change.tcp, &base.tcp, fields);
        each_frequent_field!(put);
        each_rare_field!(put);
        each_rarest_field!(put);
        if change.family != base.family {
            mask |= FAMILY;
        }
        let task_differs = change.task != base.task;
        if task_differs {
            mask |= TASK;
        }
        put_number(&mut self.out, mask);
        self.out.extend_from_slice(&self.fields);
        if task_differs {
            self.task(change.task);
        }
    }

    /// 0 for none, 1 and the task itself where it is new, else its number from 2.
    fn task(&mut self, task: Option<Task>) {
        let Some(task) = task else { return self.out.push(0) };
        if let Some(index) = self.task_at.get(&task.pid.0)
            && self.tasks.get(*index) == Some(&task)
        {
            return put_number(&mut self.out, *index as u64 + 2);
        }
        self.out.push(1);
        put_task(&mut self.out, &task);
        let index = self.tasks_filled % TASKS;
        self.tasks_filled += 1;
        match self.tasks.get_mut(index) {
            Some(old) => *old = task,
            None => self.tasks.push(task),
        }
        self.task_at.insert(task.pid.0, index);
    }

    /// Compared with a transition of the same socket, where there was one in this frame, else with the last subject.
    fn subject(&mut self, subject: &Subject) {
        let key = key(subject.cookie.map(|c| c.0), subject.sock_addr.map(|a| a.0));
        let known = self.slot_of.get(&key).copied();
        put_number(&mut self.out, known.map_or(0, |slot| slot as u64 + 1));
        let base = known.map_or(self.last_subject, |slot| subject_of(&self.slots[slot]));
        let (mut mask, fields) = (0u8, &mut self.fields);
        fields.clear();
        macro_rules! put {
            ($bit:literal, $field:ident) => {
                if subject.$field != base.$field {
                    mask |= 1 << $bit;
                    Field::put(subject.$field, base.$field, fields);
                }
            };
        }
        each_subject_field!(put);
        if subject.kind != base.kind {
            mask |= 1;
            fields.push(layout::socket_kind_code(subject.kind));
        }
        self.out.push(mask);
        self.out.extend_from_slice(&self.fields);
        self.last_subject = *subject;
    }

    fn reset(&mut self, event: &ResetEvent) {
        self.begin(kind::RESET, event.at);
        self.numbered(event.stream, event.seq);
        self.subject(&event.subject);
        self.state(event.state);
        self.yes_or_no(event.answers_segment);
        put_text(&mut self.out, event.reason.as_ref().map_or("", |reason| reason.as_str()));
        self.out.push(event.reason.is_some().into());
        self.task(event.task);
    }

    fn retransmit(&mut self, event: &RetransmitEvent) {
        self.begin(kind::RETRANSMIT, event.at);
        self.numbered(event.stream, event.seq);
        self.subject(&event.subject);
        self.state(event.state);
        self.yes_or_no(event.fin);
        self.out.push(event.cause.map_or(0, |cause| layout::retransmit_cause_code(cause) + 1));
        self.yes_or_no(event.failed);
    }

    fn accept(&mut self, event: &AcceptEvent) {
        self.begin(kind::ACCEPT, event.at);
        self.numbered(event.stream, event.seq);
        self.subject(&event.subject);
        self.task(event.task);
    }

    fn time_wait(&mut self, event: &TimeWaitEvent) {
        self.begin(kind::TIME_WAIT, event.at);
        self.numbered(event.stream, event.seq);
        self.subject(&event.subject);
        self.out.push(layout::time_wait_change_code(event.change));
        self.state(event.substate);
        self.optional(event.timeout_ns);
        self.out.push(event.site.map_or(0, |site| layout::call_site_code(site) + 1));
        self.task(event.task);
    }

    fn dump_begin(&mut self, begin: &DumpBegin) {
        self.begin(kind::DUMP_BEGIN, begin.at);
        self.out.push(layout::dump_scope_code(begin.scope));
    }

    fn dump_end(&mut self, end: &DumpEnd) {
        self.begin(kind::DUMP_END, end.at);
        self.out.push(layout::dump_scope_code(end.scope));
        put_number(&mut self.out, end.complete.len() as u64);
        let mut last = 0;
        for NetNs(netns) in &end.complete {
            put_difference(&mut self.out, last, u64::from(*netns));
            last = u64::from(*netns);
        }
    }

    fn row(&mut self, socket: &SocketRow) {
        let (base, fields, mut mask) = (&self.last_row, &mut self.fields, 0u64);
        fields.clear();
        macro_rules! put {
            ($bit:literal, $field:ident) => {
                if socket.$field != base.$field {
                    mask |= 1 << $bit;
                    Field::put(socket.$field, base.$field, fields);
                }
            };
        }
        each_row_field!(put);
        if socket.netns != base.netns {
            mask |= row::NETNS;
            Some(socket.netns).put(Some(base.netns), fields);
        }
        if socket.local_addr != base.local_addr {
            mask |= row::LOCAL;
            Some(socket.local_addr).put(Some(base.local_addr), fields);
        }
        if socket.remote_addr != base.remote_addr {
            mask |= row::REMOTE;
            Some(socket.remote_addr).put(Some(base.remote_addr), fields);
        }
        if socket.holder != base.holder {
            mask |= row::HOLDER;
        }
        let inet6 = layout::family_code(socket.family) * row::INET6;
        let mini = u8::from(socket.mini) * row::MINI;
        self.out.push(kind::SOCKET);
        self.out.push(socket.state.raw() | inet6 | mini);
        put_number(&mut self.out, mask);
        self.out.extend_from_slice(&self.fields);
        if mask & row::HOLDER != 0 {
            self.task(socket.holder);
        }
        self.last_row.clone_from(socket);
    }

    fn state(&mut self, state: Option<TcpState>) {
        self.out.push(state.map_or(0, TcpState::raw));
    }

    fn yes_or_no(&mut self, value: Option<bool>) {
        value.put(None, &mut self.out);
    }

    /// Whether it is there, and what it is.
    fn optional(&mut self, value: Option<u64>) {
        self.out.push(value.is_some().into());
        if let Some(value) = value {
            put_number(&mut self.out, value);
        }
    }

    fn clock(&mut self, clock: ClockPair) {
        self.begin(kind::CLOCK, clock.mono);
        put_number(&mut self.out, clock.wall.0);
    }

    fn counters(&mut self, counters: &Counters) {
        self.at(counters.at);
        put_number(&mut self.out, counters.transitions);
        put_number(&mut self.out, counters.lost_ring);
        self.optional(counters.recursion_missed);
        self.optional(counters.rescued);
        put_number(&mut self.out, counters.decode_errors);
        put_number(&mut self.out, counters.hooks_lost);
    }

    fn host(&mut self, host: &Host) {
        self.begin(kind::HOST, host.since);
        put_number(&mut self.out, host.schema.into());
        self.out.extend_from_slice(&host.boot_id.0.to_le_bytes());
        put_text(&mut self.out, &host.kernel);
        self.out.push(layout::tier_code(host.tier));
        self.yes_or_no(host.rps);
        self.out.push(host.filtered.into());
        let hooks = &host.hooks;
        let in_force = [
            hooks.resets_sent,
            hooks.reset_reasons,
            hooks.resets_received,
            hooks.retransmits,
            hooks.accepts,
            hooks.sockets,
        ];
        self.out.push(in_force.iter().rev().fold(0, |bits, on| bits << 1 | u8::from(*on)));
        self.out.push(layout::time_wait_source_code(hooks.time_wait));
        self.sysctls(&host.sysctls);
    }

    fn sysctls(&mut self, sysctls: &Sysctls) {
        let numbers = [
            sysctls.netns.map(|netns| netns.0),
            sysctls.tcp_fin_timeout,
            sysctls.tcp_tw_reuse,
            sysctls.tcp_orphan_retries,
            sysctls.tcp_max_orphans,
            sysctls.tcp_max_tw_buckets,
            sysctls.ip_local_port_range.map(|ports| u32::from(ports.first) << 16 | u32::from(ports.last)),
        ];
        for number in numbers {
            self.optional(number.map(u64::from));
        }
    }

    fn cgroup(&mut self, names: &CgroupNames) {
        self.out.push(kind::CGROUP);
        put_number(&mut self.out, names.cgroup.0);
        let workload = &names.workload;
        put_text(&mut self.out, &workload.path);
        for name in [&workload.container, &workload.runtime, &workload.pod, &workload.unit] {
            self.out.push(name.is_some().into());
            if let Some(name) = name {
                put_text(&mut self.out, name);
            }
        }
    }

    fn resumed(&mut self, resumed: &Resumed) {
        self.begin(kind::RESUMED, resumed.at);
        self.counters(&resumed.counters);
        put_number(&mut self.out, resumed.numbers.len() as u64);
        for numbered in &resumed.numbers {
            self.numbered(numbered.stream, numbered.seq);
        }
    }
}

fn key(cookie: Option<u64>, address: Option<u64>) -> Key {
    (cookie, address.filter(|_| cookie.is_none()))
}

fn put_task(out: &mut Vec<u8>, task: &Task) {
    put_number(out, task.tgid.0.into());
    put_number(out, task.pid.0.into());
    let comm = task.comm.as_bytes();
    out.push(comm.len() as u8);
    out.extend_from_slice(comm);
    out.push(task.start_boot_ns.is_some().into());
    if let Some(start) = task.start_boot_ns {
        put_number(out, start);
    }
    task.kthread.put(None, out);
    task.exiting.put(None, out);
    out.push(task.exit_signal.is_some().into());
    if let Some(signal) = task.exit_signal {
        out.push(signal);
    }
}
