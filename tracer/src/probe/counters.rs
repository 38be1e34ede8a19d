//! The kernel programs' counters.

use std::{io, os::unix::fs::FileExt};

use aya::{
    Pod,
    maps::{MapError, PerCpuValues},
};
use finwait_core::observation::{self, Program, Stream};
use finwait_core::{MonoNs, TcpState};
use tracer_common::{
    CpuState, PAIR_STATES, PROGRAM_CLASSIC, PROGRAM_PRIME, PROGRAM_SHADOW, PROGRAM_SHADOW2, PROGRAM_SHADOW3,
    PROGRAMS, depths, lane, pair_index,
};

use super::load::Probe;

/// How often the counters are read again because something was missed meanwhile.
const SNAPSHOT_TRIES: u32 = 4;

/// One CPU's counters as aya reads them.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct CpuBytes(CpuState);

// SAFETY: made of u64 only.
unsafe impl Pod for CpuBytes {}

/// Why the counters could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CountersError {
    /// bpf(BPF_MAP_LOOKUP_ELEM) failed.
    #[error("cannot read the programs' counters: {0}")]
    Map(#[from] MapError),
    /// fdinfo of the program.
    #[error("cannot read /proc/self/fdinfo of the first program: {0}")]
    Info(#[from] io::Error),
}

/// Where one stream of sequence numbers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamCount {
    /// CPU, program and depth
    pub stream: Stream,
    /// Last number given out, 0 if none
    pub seq: u64,
    /// Of these, how many found no room in the ring
    pub lost_ring: u64,
}

/// Totals since attaching. While programs run the words are read one after the other: a sum may be off by those that
/// came in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelCounters {
    /// When reading began
    pub at: MonoNs,
    pairs: Vec<u64>,
    /// Streams that gave out at least one number
    pub streams: Vec<StreamCount>,
    /// Records that found no room in the ring
    pub lost_ring: u64,
    /// Transitions that may be of interest and that the first program was skipped for; `None` where the kernel does not
    /// count (prime before 5.12, classic before 6.7)
    pub recursion_missed: Option<u64>,
    /// Transitions that a shadow reported: those of `recursion_missed`, and rare repetitions. The classic tier has no
    /// shadow: 0 where misses are counted
    pub rescued_candidates: Option<u64>,
    /// Transitions that a shadow found without a token, relevant or not; `None` in the classic tier
    pub untokened: Option<u64>,
    /// What the hooks beyond the transitions saw and could not report
    pub hooks_lost: u64,
}

impl KernelCounters {
    /// Transitions from `old` to `new`, counted before the ring was asked for room.
    #[must_use]
    pub fn pair(&self, old: TcpState, new: TcpState) -> u64 {
        self.pairs[pair_index(old.raw(), new.raw())]
    }

    /// All transitions counted.
    #[must_use]
    pub fn transitions(&self) -> u64 {
        self.pairs.iter().sum()
    }

    /// Numbers given out by `program`, lost records included.
    #[must_use]
    pub fn emitted(&self, program: Program) -> u64 {
        self.streams.iter().filter(|count| count.stream.program == program).map(|count| count.seq).sum()
    }

    /// The same as an observation.
    #[must_use]
    pub fn observation(&self, decode_errors: u64) -> observation::Counters {
        observation::Counters {
            at: self.at,
            transitions: self.transitions(),
            lost_ring: self.lost_ring,
            recursion_missed: self.recursion_missed,
            rescued: self.rescued_candidates,
            decode_errors,
            hooks_lost: self.hooks_lost,
        }
    }

    fn sum<'a>(at: MonoNs, cpus: impl Iterator<Item = &'a CpuState>) -> (Self, u64, u64) {
        let mut counters = Self {
            at,
            pairs: vec![0; PAIR_STATES * PAIR_STATES],
            streams: Vec::new(),
            lost_ring: 0,
            recursion_missed: None,
            rescued_candidates: None,
            untokened: None,
            hooks_lost: 0,
        };
        let (mut untokened, mut irrelevant) = (0, 0);
        for (cpu, state) in cpus.enumerate() {
            for pairs in &state.pairs {
                counters.pairs.iter_mut().zip(pairs).for_each(|(sum, pair)| *sum += pair);
            }
            for (lane, program, depth) in lanes() {
                let (seq, lost_ring) = (state.seq[lane], state.lost_ring[lane]);
                counters.lost_ring += lost_ring;
                if seq != 0 {
                    let stream = Stream { cpu: cpu as u16, program, depth };
                    counters.streams.push(StreamCount { stream, seq, lost_ring });
                }
            }
            untokened += state.untokened.iter().sum::<u64>();
            irrelevant += state.untokened_irrelevant.iter().sum::<u64>();
        }
        (counters, untokened, irrelevant)
    }
}

/// The program behind a record's number.
pub(super) fn program_of(raw: u8) -> Option<Program> {
    match raw {
        PROGRAM_PRIME => Some(Program::Prime),
        PROGRAM_SHADOW => Some(Program::Shadow),
        PROGRAM_SHADOW2 => Some(Program::Shadow2),
        PROGRAM_SHADOW3 => Some(Program::Shadow3),
        PROGRAM_CLASSIC => Some(Program::Classic),
        _ => None,
    }
}

/// Index, program and depth of all that is counted apart.
fn lanes() -> impl Iterator<Item = (usize, Program, u8)> {
    let numbers = (0..PROGRAMS as u8).flat_map(|raw| (0..depths(raw) as u8).map(move |depth| (raw, depth)));
    numbers.filter_map(|(raw, depth)| Some((lane(raw, depth)?, program_of(raw)?, depth)))
}

impl Probe {
    /// Reads the counters of all CPUs.
    ///
    /// # Errors
    /// The map or fdinfo cannot be read.
    pub fn counters(&self) -> Result<KernelCounters, CountersError> {
        let at = super::host::monotonic_now();
        let (misses, cpus) = self.misses_and_cpus()?;
        let (mut counters, untokened, irrelevant) = KernelCounters::sum(at, cpus.iter().map(|cpu| &cpu.0));
        counters.hooks_lost = self.hooks_lost()?;
        match self.tier() {
            observation::Tier::TpBtf => {
                counters.untokened = Some(untokened);
                counters.rescued_candidates = Some(untokened.saturating_sub(irrelevant));
                // The kernel counts every run it skipped; the shadows know which of them were not TCP or filtered out.
                counters.recursion_missed = misses.map(|misses| misses.saturating_sub(irrelevant));
            }
            observation::Tier::Classic => {
                counters.recursion_missed = misses;
                counters.rescued_candidates = misses.map(|_| 0);
            }
            // No probe is of this tier.
            observation::Tier::Capture => {}
        }
        Ok(counters)
    }

    /// Misses and what the shadows made of them, of one moment: a rescue whose miss is not in the count would hide another
    /// miss, and a miss whose rescue is not would look like a loss.
    fn misses_and_cpus(&self) -> Result<(Option<u64>, PerCpuValues<CpuBytes>), CountersError> {
        let mut before = self.skipped_runs()?;
        let mut cpus = self.cpus.get(&0, 0)?;
        for _ in 0..SNAPSHOT_TRIES {
            let after = self.skipped_runs()?;
            if after == before {
                break;
            }
            before = after;
            cpus = self.cpus.get(&0, 0)?;
        }
        Ok((before, cpus))
    }

    /// A single look-up: fails where the kernel wants a capability for it that is gone.
    pub(super) fn probe_look_up(&self) -> Result<(), MapError> {
        self.cpus.get(&0, 0).map(drop)
    }

    fn skipped_runs(&self) -> io::Result<Option<u64>> {
        let Some(file) = &self.first_info else { return Ok(None) };
        let mut text = [0; 1024];
        let length = file.read_at(&mut text, 0)?;
        Ok(recursion_misses(&String::from_utf8_lossy(&text[..length])))
    }
}

pub(super) fn recursion_misses(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_common::LANES;

    fn empty() -> CpuState {
        CpuState {
            depth: [0; PROGRAMS],
            rings: [tracer_common::TokenRing::default(); tracer_common::TOKEN_RINGS],
            seq: [0; LANES],
            lost_ring: [0; LANES],
            untokened: [0; LANES],
            untokened_irrelevant: [0; LANES],
            pairs: [[0; PAIR_STATES * PAIR_STATES]; LANES],
        }
    }

    #[test]
    fn cpus_programs_and_depths_are_summed() {
        let (mut one, mut two) = (empty(), empty());
        let of = |program, depth| lane(program, depth).unwrap();
        let (prime, shadow) = (of(PROGRAM_PRIME, 0), of(PROGRAM_SHADOW, 1));
        let (second, third) = (of(PROGRAM_SHADOW2, 0), of(PROGRAM_SHADOW3, 0));
        one.pairs[prime][pair_index(7, 2)] = 3;
        two.pairs[shadow][pair_index(7, 2)] = 4;
        two.pairs[prime][pair_index(1, 4)] = 1;
        one.seq[prime] = 3;
        two.seq[prime] = 1;
        two.seq[shadow] = 4;
        two.seq[second] = 7;
        two.seq[third] = 9;
        two.lost_ring[shadow] = 1;
        two.lost_ring[third] = 1;
        two.untokened[shadow] = 4;
        one.untokened[second] = 2;
        two.untokened_irrelevant[third] = 2;
        let (counters, untokened, irrelevant) = KernelCounters::sum(MonoNs(1), [&one, &two].into_iter());
        assert_eq!(counters.pair(TcpState::Close, TcpState::SynSent), 7);
        assert_eq!((counters.transitions(), counters.lost_ring), (8, 2));
        assert_eq!(counters.emitted(Program::Prime), 4);
        assert_eq!(counters.emitted(Program::Shadow), 4);
        assert_eq!((untokened, irrelevant), (6, 2));
        assert_eq!((counters.emitted(Program::Shadow2), counters.emitted(Program::Shadow3)), (7, 9));
        let stream = Stream { cpu: 1, program: Program::Shadow, depth: 1 };
        assert!(counters.streams.contains(&StreamCount { stream, seq: 4, lost_ring: 1 }));
    }

    #[test]
    fn misses_are_read_where_the_kernel_counts_them() {
        assert_eq!(recursion_misses("pos:\t0\nrun_cnt:\t5\nrecursion_misses:\t42\n"), Some(42));
        assert_eq!(recursion_misses("pos:\t0\nrun_cnt:\t5\n"), None);
    }
}
