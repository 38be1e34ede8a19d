//! Everything that summaries say at one moment. Never changes; the aggregator goes on with copies of what it changes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use finwait_core::observation::{Host, Tier, TimeWaitSource};
use finwait_core::record::{CloseKind, FirstCloser, ResetCause};
use finwait_core::{Accounting, ClockPair, Fates, GroupPopulation, MonoNs, Reason, TcpState};

use super::catalogue as metric;
use super::family::{Definition, Family, Label, Sample, Value};
use super::history::History;
use super::ports::{PortDebts, PortRange, Told, other_labels};
use super::summary::{CLOSING_STATES, HANDSHAKE_FAILURES, Measure, SharedDistribution, Summary, Unproven};
use crate::probe::ProgramCost;
use crate::redact::Redaction;

const UNKNOWN: &str = "unknown";

/// Values of the labels beyond the group's, and the value.
type Measured = (Vec<Cow<'static, str>>, Value);

/// A group and what it comes to.
#[derive(Clone, Debug)]
pub struct GroupSnapshot {
    /// Its labels
    pub labels: Arc<[Label]>,
    /// Its summary
    pub summary: Arc<Summary>,
    /// Its open connections
    pub population: GroupPopulation,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `other` is the first
    pub groups: Vec<GroupSnapshot>,
    /// `other` not counted
    pub group_count: usize,
    /// At most
    pub group_limit: usize,
    /// Closes that fell into `other`
    pub group_overflows: u64,
    /// Durations that are in no distribution
    pub unproven: Arc<Unproven>,
    /// The host, once it is known
    pub host: Option<Host>,
    /// The newest pair of clocks
    pub clock: Option<ClockPair>,
    /// The last hour
    pub history: History,
    /// What was received and what is missing
    pub books: Accounting,
    /// What became of the connections
    pub fates: Fates,
    /// Followed now, listeners included
    pub connections: usize,
    /// At most
    pub connection_limit: usize,
    /// Followed now, in the order of [`TcpState::ALL`]
    pub sockets: [usize; TcpState::ALL.len()],
    /// Last event of the oldest CLOSE_WAIT
    pub oldest_close_wait: Option<MonoNs>,
    /// Ephemeral ports taken
    pub ports: PortDebts,
    /// What is withheld of them
    pub redaction: Redaction,
}

/// What the process itself uses; `None` where the system does not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessFacts {
    /// User and system time
    pub cpu_seconds: Option<f64>,
    /// VmRSS
    pub resident_bytes: Option<u64>,
    /// Descriptors
    pub open_fds: Option<u64>,
    /// Since 1970
    pub start_seconds: Option<f64>,
    /// Of finwait's own namespace
    pub port_range: Option<PortRange>,
    /// Closes that found no room on the way to the page
    pub closes_skipped: Option<u64>,
    /// Of the kernel programs, where the kernel measures them
    pub programs: Vec<ProgramCost>,
    /// Where there is a push to a collector
    pub pushes: Option<PushFacts>,
}

/// What became of the requests to an OpenTelemetry collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PushFacts {
    /// Taken
    pub ok: u64,
    /// Tries that failed and were or will be made again
    pub retried: u64,
    /// Refused, and given up
    pub failed: u64,
    /// Waited until there was no room for them
    pub dropped: u64,
    /// Data points rejected within requests that were taken
    pub rejected_points: u64,
}

impl Snapshot {
    /// Every metric. `now` is the monotonic clock, `process` what finwait itself uses, `age` how long ago this was taken.
    #[must_use]
    pub fn families(&self, now: MonoNs, process: &ProcessFacts, age: Duration) -> Vec<Family> {
        let mut families = self.grouped();
        families.extend(self.populations(now));
        families.push(self.unproven_family());
        families.extend(self.port_families(process.port_range));
        families.extend(self.own(age));
        families.extend(
            process.closes_skipped.map(|skipped| single(&metric::CLOSES_SKIPPED, Value::Count(skipped))),
        );
        families.extend(of_programs(&process.programs));
        families.extend(of_process(process));
        families.extend(process.pushes.as_ref().map(of_pushes).into_iter().flatten());
        families
    }

    fn grouped(&self) -> Vec<Family> {
        let family = |definition, samples: fn(&Arc<Summary>) -> Vec<Measured>| {
            self.by_group(definition, |group| samples(&group.summary))
        };
        vec![
            family(&metric::CLOSED, |summary| closed(summary)),
            family(&metric::FIRST_CLOSERS, |summary| first_closers(summary)),
            family(&metric::RESETS, |summary| resets(summary)),
            family(&metric::HANDSHAKE_FAILURES, |summary| handshake_failures(summary)),
            family(&metric::SEGMENTS, |summary| counts(["3", "4", UNKNOWN], summary.segments)),
            family(&metric::FIN_RETRANSMITS, |summary| {
                counts(["timeout", "loss_probe", "recovery"], summary.fin_retransmits)
            }),
            family(&metric::LIFE, |summary| vec![(vec![], distribution(summary, Measure::Life))]),
            family(&metric::HANDSHAKE, |summary| vec![(vec![], distribution(summary, Measure::Handshake))]),
            family(&metric::STATE_DURATION, |summary| {
                let states = (0..CLOSING_STATES.len()).map(Measure::State);
                states.map(|state| (vec![state.name().into()], distribution(summary, state))).collect()
            }),
        ]
    }

    /// What `samples` makes of each group, with its labels.
    fn by_group(
        &self,
        definition: &'static Definition,
        samples: impl Fn(&GroupSnapshot) -> Vec<Measured>,
    ) -> Family {
        let of_group = |group: &GroupSnapshot| {
            let labels = group.labels.clone();
            samples(group).into_iter().map(move |(values, value)| Sample {
                group: labels.clone(),
                labels: values,
                value,
            })
        };
        Family { definition, samples: self.groups.iter().flat_map(of_group).collect() }
    }

    fn unproven_family(&self) -> Family {
        let pairs =
            Measure::all().flat_map(|measure| Reason::ALL.iter().map(move |reason| (measure, *reason)));
        let samples = pairs.map(|(measure, reason)| {
            let labels = vec![measure.name().into(), reason.name().into()];
            ungrouped(labels, Value::Count(self.unproven.count(measure, reason)))
        });
        Family { definition: &metric::UNPROVEN, samples: samples.collect() }
    }

    fn populations(&self, now: MonoNs) -> [Family; 4] {
        let family = |definition, samples: &dyn Fn(&GroupPopulation) -> Vec<Measured>| {
            self.by_group(definition, |group| samples(&group.population))
        };
        // TIME_WAIT and NEW_SYN_RECV are no states of the sockets that are followed.
        let states = || {
            TcpState::ALL.into_iter().enumerate().filter(|(_, state)| {
                !matches!(state, TcpState::TimeWait | TcpState::NewSynRecv | TcpState::Close)
            })
        };
        [
            family(&metric::OPENED, &|group| vec![(Vec::new(), Value::Count(group.opened))]),
            family(&metric::STATE_SECONDS, &|group| {
                let seconds = |place: usize| Value::Total(group.state_ns[place] as f64 / 1e9);
                states().map(|(place, state)| (vec![state.name().into()], seconds(place))).collect()
            }),
            family(&metric::SOCKETS, &|group| {
                let sockets = |place: usize| Value::Level(group.sockets[place] as f64);
                states().map(|(place, state)| (vec![state.name().into()], sockets(place))).collect()
            }),
            family(&metric::OLDEST_CLOSE_WAIT, &|group| {
                let oldest = group.oldest_close_wait.and_then(|since| now.since(since)).unwrap_or(0);
                vec![(Vec::new(), Value::Level(oldest as f64 / 1e9))]
            }),
        ]
    }

    /// Time-wait sockets are there where they are watched, and what is left of the ports where both they and the range are known.
    fn port_families(&self, range: Option<PortRange>) -> [Family; 3] {
        let watched = self.host.as_ref().is_some_and(|host| host.hooks.time_wait != TimeWaitSource::Off);
        let told = self.ports.by_labels(range.filter(|_| watched), |address| self.redaction.address(address));
        let family = |definition, value: fn(&Told) -> Option<f64>| {
            let samples = told.iter().filter_map(|(labels, told)| {
                let labels = labels.iter().map(|label| Cow::Owned(label.clone())).collect();
                Some(ungrouped(labels, Value::Level(value(told)?)))
            });
            Family { definition, samples: samples.collect() }
        };
        let mut time_wait = family(&metric::TIME_WAITS, |told| Some(f64::from(told.time_wait)));
        let others = Value::Level(f64::from(self.ports.others.time_wait));
        time_wait.samples.push(ungrouped(other_labels().map(Cow::from).to_vec(), others));
        time_wait.samples.retain(|_| watched);
        [
            time_wait,
            family(&metric::PORTS_FREE, |told| told.free.map(f64::from)),
            family(&metric::PORTS_EXHAUSTION, |told| told.exhaustion_seconds),
        ]
    }

    fn own(&self, age: Duration) -> Vec<Family> {
        let books = &self.books;
        let unrescued =
            books.recursion_missed.map(|missed| missed.saturating_sub(books.rescued.unwrap_or(0)));
        // What the kernel cannot count is absent, and not 0.
        let stages = [
            ("ring", Some(books.lost_ring)),
            ("recursion", unrescued),
            ("decode", Some(books.decode_errors)),
            ("hooks", Some(books.hooks_lost)),
        ];
        let lost = stages
            .into_iter()
            .filter_map(|(stage, count)| Some(ungrouped(vec![stage.into()], Value::Count(count?))));
        let level = |definition, value: usize| single(definition, Value::Level(value as f64));
        let count = |definition, value| single(definition, Value::Count(value));
        let mut families = vec![
            count(&metric::EVENTS, books.received),
            Family { definition: &metric::LOST, samples: lost.collect() },
            count(&metric::DUPLICATES, books.duplicates),
            count(&metric::GAPS, books.gaps),
            count(&metric::CHAIN_BREAKS, books.chain_breaks),
            level(&metric::TRACKED, self.connections),
            level(&metric::TRACKED_LIMIT, self.connection_limit),
            count(&metric::EVICTED, books.evicted),
            level(&metric::GROUPS, self.group_count),
            level(&metric::GROUPS_LIMIT, self.group_limit),
            count(&metric::GROUP_OVERFLOWS, self.group_overflows),
            single(&metric::SNAPSHOT_AGE, Value::Level(age.as_secs_f64())),
            info(&metric::BUILD, vec![env!("CARGO_PKG_VERSION").into()]),
        ];
        families.extend(self.host.as_ref().map(|host| info(&metric::KERNEL, kernel_labels(host))));
        families
    }
}

fn closed(summary: &Summary) -> Vec<Measured> {
    let kinds = CloseKind::ALL.iter().copied().map(Some).chain([None]);
    kinds.map(|kind| counted([kind.map_or(UNKNOWN, CloseKind::name)], summary.closed(kind))).collect()
}

fn first_closers(summary: &Summary) -> Vec<Measured> {
    let firsts = FirstCloser::ALL.iter().copied().map(Some).chain([None]);
    firsts
        .map(|first| counted([first.map_or(UNKNOWN, FirstCloser::name)], summary.first_closed(first)))
        .collect()
}

fn resets(summary: &Summary) -> Vec<Measured> {
    let causes = ResetCause::ALL.iter().copied().map(Some).chain([None]);
    let sent = causes
        .map(|cause| counted(["sent", cause.map_or(UNKNOWN, ResetCause::name)], summary.resets_sent(cause)));
    let others = [
        counted(["received", "peer"], summary.resets_received),
        counted([UNKNOWN, UNKNOWN], summary.resets_unknown),
    ];
    sent.chain(others).collect()
}

fn handshake_failures(summary: &Summary) -> Vec<Measured> {
    HANDSHAKE_FAILURES.iter().map(|(kind, cause)| counted([*cause], summary.closed(Some(*kind)))).collect()
}

fn counts<const N: usize>(words: [&'static str; N], counts: [u64; N]) -> Vec<Measured> {
    words.into_iter().zip(counts).map(|(word, count)| counted([word], count)).collect()
}

fn counted<const N: usize>(words: [&'static str; N], count: u64) -> Measured {
    (words.into_iter().map(Cow::from).collect(), Value::Count(count))
}

fn distribution(summary: &Arc<Summary>, measure: Measure) -> Value {
    Value::Distribution(SharedDistribution::of(summary, measure))
}

fn ungrouped(labels: Vec<Cow<'static, str>>, value: Value) -> Sample {
    Sample { group: Arc::default(), labels, value }
}

fn single(definition: &'static Definition, value: Value) -> Family {
    Family { definition, samples: vec![ungrouped(Vec::new(), value)] }
}

fn info(definition: &'static Definition, labels: Vec<Cow<'static, str>>) -> Family {
    Family { definition, samples: vec![ungrouped(labels, Value::Level(1.0))] }
}

fn kernel_labels(host: &Host) -> Vec<Cow<'static, str>> {
    let tier = match host.tier {
        Tier::TpBtf => "tp_btf",
        Tier::Classic => "classic",
        Tier::Capture => "capture",
    };
    let time_wait = match host.hooks.time_wait {
        TimeWaitSource::Off => "off",
        TimeWaitSource::Fentry => "fentry",
        TimeWaitSource::Timer => "timer",
        TimeWaitSource::Sweep => "sweep",
    };
    vec![host.kernel.clone().into(), tier.into(), time_wait.into()]
}

/// What is not known has no sample.
fn of_process(process: &ProcessFacts) -> Vec<Family> {
    let known = [
        (&metric::CPU, process.cpu_seconds.map(Value::Total)),
        (&metric::MEMORY, process.resident_bytes.map(|bytes| Value::Level(bytes as f64))),
        (&metric::DESCRIPTORS, process.open_fds.map(|fds| Value::Level(fds as f64))),
        (&metric::START, process.start_seconds.map(Value::Level)),
    ];
    known.into_iter().filter_map(|(definition, value)| Some(single(definition, value?))).collect()
}

fn of_programs(programs: &[ProgramCost]) -> [Family; 2] {
    let family = |definition, value: fn(&ProgramCost) -> Value| {
        let sample = |cost: &ProgramCost| ungrouped(vec![cost.program.clone().into()], value(cost));
        Family { definition, samples: programs.iter().map(sample).collect() }
    };
    [
        family(&metric::PROGRAM_TIME, |cost| Value::Total(cost.run_time_ns as f64 / 1e9)),
        family(&metric::PROGRAM_RUNS, |cost| Value::Count(cost.runs)),
    ]
}

fn of_pushes(pushes: &PushFacts) -> [Family; 3] {
    let outcomes = [("ok", pushes.ok), ("retried", pushes.retried), ("failed", pushes.failed)];
    let outcomes = outcomes.map(|(outcome, count)| ungrouped(vec![outcome.into()], Value::Count(count)));
    [
        Family { definition: &metric::OTLP_EXPORTS, samples: outcomes.into() },
        single(&metric::OTLP_DROPPED, Value::Count(pushes.dropped)),
        single(&metric::OTLP_REJECTED, Value::Count(pushes.rejected_points)),
    ]
}
