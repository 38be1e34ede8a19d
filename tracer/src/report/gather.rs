//! Takes records until the span is over, and gives the report.

use std::collections::HashMap;

use finwait_core::record::{CloseRecord, Role, Successor};
use finwait_core::{
    ClosingConnection, ConnId, Grouping as CoreGrouping, MonoNs, PortSpace, Record, TcpState, Tracker,
    TrackerConfig,
};

use super::idle::Idle;
use super::{PortPeak, Report, Service, StuckGroup, TimeWaitDebt};
use crate::explain::Settings;
use crate::sink::{Context, Sink, SinkError, Verdict, safe};
use crate::stats::{Aggregator, Grouping, Snapshot, Summary};
use crate::stuck::end_of;

/// Connections in a closing state that are looked at, of each kind of queue.
const CLOSING: usize = 100_000;
/// Ports are looked at so often.
const LOOK_NS: u64 = 1_000_000_000;
/// Places of which the peak is kept, and told.
const PLACES: usize = 10_000;
const TOLD: usize = 10;
/// Groups of stuck connections that are told.
const STUCK: usize = 20;

/// See the module.
pub struct ReportSink {
    aggregator: Aggregator,
    idle: Idle,
    context: Context,
    left: HashMap<Option<Role>, u64>,
    peaks: HashMap<PortSpace, PortPeak>,
    looked: Option<MonoNs>,
    ended: Option<(Snapshot, Vec<ClosingConnection>, MonoNs)>,
}

impl ReportSink {
    /// Nothing taken yet. `time_waits`: how many time-wait sockets the tracker follows.
    #[must_use]
    pub fn new(grouping: Grouping, time_waits: usize) -> Self {
        Self {
            aggregator: Aggregator::new(grouping, time_waits),
            idle: Idle::default(),
            context: Context::default(),
            left: HashMap::new(),
            peaks: HashMap::new(),
            looked: None,
            ended: None,
        }
    }

    /// What it came to by the end of the run that `verdict` is of.
    #[must_use]
    pub fn into_report(self, verdict: Verdict) -> Report {
        let nothing = || {
            let tracker = Tracker::new(TrackerConfig::default());
            (self.aggregator.snapshot(&tracker, tracker.now()), Vec::new(), tracker.now())
        };
        let (snapshot, closing, last) = self.ended.unwrap_or_else(nothing);
        let end = end_of(&self.context, &verdict).max(last);
        let mut all = Summary::default();
        snapshot.groups.iter().for_each(|group| all.merge(&group.summary));
        let watched = self
            .context
            .host
            .as_ref()
            .is_some_and(|host| host.hooks.time_wait != finwait_core::observation::TimeWaitSource::Off);
        Report {
            from: self
                .context
                .since()
                .zip(self.context.clock)
                .and_then(|(since, clock)| clock.wall_of(since)),
            settings: self.context.host.as_ref().and_then(|host| Settings::of(&host.sysctls)),
            host: self.context.host,
            duration_ns: verdict.duration.and_then(|duration| u64::try_from(duration.as_nanos()).ok()),
            all,
            services: services(&snapshot),
            unproven: snapshot.unproven.clone(),
            stuck: stuck(closing, end),
            idle: self.idle.clusters(),
            debt: TimeWaitDebt { watched, left: sorted(self.left), most: most(self.peaks) },
            verdict,
        }
    }

    fn close(&mut self, close: &CloseRecord) {
        self.idle.close(close);
        if close.successor.value() == Some(&Successor::TimeWait) {
            *self.left.entry(close.role.value().copied()).or_default() += 1;
        }
    }

    fn look(&mut self, tracker: &Tracker) {
        for (space, taken) in tracker.ports() {
            let known = self.peaks.contains_key(&space);
            if taken.time_wait == 0 || (!known && self.peaks.len() >= PLACES) {
                continue;
            }
            let peak = self.peaks.entry(space).or_insert(PortPeak { space, time_wait: 0, taken: 0 });
            peak.time_wait = peak.time_wait.max(taken.time_wait);
            peak.taken = peak.taken.max(taken.all());
        }
    }
}

impl Sink for ReportSink {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
        self.aggregator.context(context);
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Close(close) => self.close(close),
            Record::BothEnds(both) => {
                self.close(&both.opener_side);
                self.close(&both.acceptor_side);
            }
            Record::Transition(_) | Record::TimeWait(_) => {}
        }
        self.aggregator.record(record)
    }

    fn grouping(&self) -> Option<Box<dyn CoreGrouping>> {
        Some(self.aggregator.grouping())
    }

    fn between(&mut self, tracker: &Tracker) {
        let now = tracker.now();
        self.aggregator.watch(tracker, now);
        if self.looked.is_none_or(|looked| looked.plus(LOOK_NS) <= now) {
            self.looked = Some(now);
            self.look(tracker);
        }
    }

    fn ended(&mut self, tracker: &Tracker) {
        let now = tracker.now();
        self.ended = Some((self.aggregator.snapshot(tracker, now), tracker.closing(CLOSING), now));
    }

    fn follows(&self, id: ConnId) -> bool {
        self.aggregator.awaits(id)
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, _verdict: &Verdict) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Those in which something ended.
fn services(snapshot: &Snapshot) -> Vec<Service> {
    let label = |labels: &[crate::stats::family::Label], place: usize| {
        labels.get(place).map_or_else(String::new, |(_, value)| value.to_string())
    };
    let mut services: Vec<Service> = snapshot
        .groups
        .iter()
        .filter(|group| group.summary.closes() > 0)
        .map(|group| Service {
            role: label(&group.labels, 0),
            port: label(&group.labels, 1),
            summary: group.summary.clone(),
        })
        .collect();
    services.sort_by(|one, other| {
        other.summary.closes().cmp(&one.summary.closes()).then_with(|| one.name().cmp(&other.name()))
    });
    services
}

fn stuck(connections: Vec<ClosingConnection>, now: MonoNs) -> Vec<StuckGroup> {
    let mut groups: HashMap<(TcpState, Option<String>), StuckGroup> = HashMap::new();
    for connection in connections {
        let process = connection.owner.map(|owner| safe(&owner.comm.to_string()).into_owned());
        let age = now.since(connection.seen_since).unwrap_or(0);
        let state = connection.state;
        let group = groups.entry((state, process.clone())).or_insert(StuckGroup {
            state,
            process,
            count: 0,
            oldest_ns: 0,
            oldest_is_minimum: false,
        });
        group.count += 1;
        if age >= group.oldest_ns {
            (group.oldest_ns, group.oldest_is_minimum) = (age, connection.since.is_none());
        }
    }
    let mut groups: Vec<StuckGroup> = groups.into_values().collect();
    groups.sort_by(|one, other| {
        let rank = |group: &StuckGroup| (std::cmp::Reverse(group.count), group.state.raw());
        rank(one).cmp(&rank(other)).then_with(|| one.process.cmp(&other.process))
    });
    groups.truncate(STUCK);
    groups
}

fn sorted(left: HashMap<Option<Role>, u64>) -> Vec<(Option<Role>, u64)> {
    let mut left: Vec<_> = left.into_iter().collect();
    left.sort_unstable_by_key(|(role, _)| *role);
    left
}

fn most(peaks: HashMap<PortSpace, PortPeak>) -> Vec<PortPeak> {
    let mut all: Vec<PortPeak> = peaks.into_values().collect();
    all.sort_unstable_by_key(|peak| (std::cmp::Reverse(peak.time_wait), peak.space));
    all.truncate(TOLD);
    all
}
