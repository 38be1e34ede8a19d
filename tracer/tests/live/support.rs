//! What the tests share.

use finwait_core::record::CloseRecord;
use finwait_core::{TcpState, TrackerConfig};
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer::scenario::check::{Depth, closes_of, compare};
use tracer::scenario::watch::{Reading, Seen, only, track};
use tracer::scenario::{Made, Namespace, Scenario, SideName};
use tracer_common::KernelFilter;

/// One run of a scenario.
pub(crate) struct Run {
    pub(crate) namespace: Namespace,
    pub(crate) made: Made,
    pub(crate) seen: Seen,
}

/// Attaches with `filter`, an 8 MiB ring.
pub(crate) fn attach(filter: KernelFilter, tier: TierChoice) -> Probe {
    Probe::attach(&ProbeConfig { filter, tier, ..ProbeConfig::default() }).expect("attach")
}

/// Runs `scenario` under the best tier.
pub(crate) fn run(scenario: Scenario) -> Run {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(only(namespace.inode()), TierChoice::TpBtf);
    let (made, seen) =
        track(probe, Reading::Always, TrackerConfig::default(), || scenario.run(&namespace)).expect("run");
    Run { namespace, made, seen }
}

impl Run {
    /// Fails unless every side was reported whole, nothing false was said and the books balance.
    pub(crate) fn assert_whole(&self) -> &Self {
        let verdict = compare(&self.made, &self.seen.closes, Depth::Claims);
        assert!(
            verdict.all_whole(),
            "{:#?}\nmade {:#?}\nseen {:#?}",
            verdict.complaints,
            self.made,
            self.seen
        );
        let made = self.made.transition_count() as u64;
        let books = &self.seen.accounting;
        assert_eq!((books.received, books.counted, books.lost()), (made, made, 0), "{books:?}");
        assert_eq!((books.gaps, books.chain_breaks, books.decode_errors), (0, 0, 0), "{books:?}");
        assert_eq!(self.seen.closes.len(), self.made.side_count(), "more closes than connections");
        self
    }

    /// The record of the client's socket in the `index`th connection.
    pub(crate) fn client(&self, index: usize) -> &CloseRecord {
        self.close(index, SideName::Client)
    }

    /// The record of the accepted socket.
    pub(crate) fn server(&self, index: usize) -> &CloseRecord {
        self.close(index, SideName::Server)
    }

    fn close(&self, index: usize, side: SideName) -> &CloseRecord {
        let closes = closes_of(&self.made.connections[index], side, &self.seen.closes);
        assert_eq!(closes.len(), 1, "{side:?} of {:?}", self.made.connections[index]);
        closes[0]
    }
}

/// The states that a connection passed through.
pub(crate) fn steps(record: &CloseRecord) -> Vec<(TcpState, TcpState)> {
    record.steps.iter().map(|step| (step.old, step.new)).collect()
}
