//! What a file that goes on begins with, so that it can be read without those before it.

use std::collections::{BTreeMap, HashMap};

use finwait_core::observation::{CgroupNames, Counters, Host, Numbered, Resumed, Stream};
use finwait_core::{CgroupId, ClockPair, MonoNs, Observation};

/// Cgroups whose names are kept; beyond that a name is known only to the file that has it.
const NAMES: usize = 4096;

/// What was learnt so far.
#[derive(Debug, Default)]
pub(super) struct Preamble {
    host: Option<Host>,
    clock: Option<ClockPair>,
    names: BTreeMap<CgroupId, CgroupNames>,
    numbers: HashMap<Stream, u64>,
    counters: Counters,
    watermark: MonoNs,
}

impl Preamble {
    pub(super) fn host(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Takes note of `observation`.
    pub(super) fn learn(&mut self, observation: &Observation) {
        match observation {
            Observation::Host(host) => self.host = Some((**host).clone()),
            Observation::Clock(clock) => self.clock = Some(*clock),
            Observation::Counters(counters) => self.counters = **counters,
            Observation::Watermark(watermark) => self.watermark = self.watermark.max(watermark.at),
            Observation::Cgroup(names) => {
                if self.names.len() < NAMES || self.names.contains_key(&names.cgroup) {
                    self.names.insert(names.cgroup, (**names).clone());
                }
            }
            Observation::StateChange(event) => self.number(event.stream, event.seq),
            Observation::Reset(event) => self.number(event.stream, event.seq),
            Observation::Retransmit(event) => self.number(event.stream, event.seq),
            Observation::Accept(event) => self.number(event.stream, event.seq),
            Observation::TimeWait(event) => self.number(event.stream, event.seq),
            Observation::Resumed(resumed) => {
                resumed.numbers.iter().for_each(|numbered| self.number(numbered.stream, numbered.seq));
            }
            Observation::DumpBegin(_) | Observation::Socket(_) | Observation::DumpEnd(_) => {}
        }
    }

    fn number(&mut self, stream: Stream, seq: u64) {
        let last = self.numbers.entry(stream).or_default();
        *last = seq.max(*last);
    }

    /// All of it, the host first.
    pub(super) fn observations(&self) -> Vec<Observation> {
        let mut all = Vec::new();
        all.extend(self.host.clone().map(|host| Observation::Host(Box::new(host))));
        all.extend(self.clock.map(Observation::Clock));
        let mut numbers: Vec<Numbered> =
            self.numbers.iter().map(|(stream, seq)| Numbered { stream: *stream, seq: *seq }).collect();
        numbers.sort_unstable_by_key(|numbered| numbered.stream);
        let resumed = Resumed { at: self.watermark, counters: self.counters, numbers };
        all.push(Observation::Resumed(Box::new(resumed)));
        all.extend(self.names.values().map(|names| Observation::Cgroup(Box::new(names.clone()))));
        all
    }
}
