//! `finwait.report/1`: a report as one JSON object. `docs/report.md` names every key.

use std::collections::BTreeMap;

use finwait_core::Reason;
use finwait_core::record::{CloseKind, FirstCloser, ResetCause, Role};
use serde::Serialize;

use super::compare::{Difference, Figure, differences};
use super::{IdleCluster, PortPeak, Report, StuckGroup};
use crate::explain::Ports;
use crate::sink::when;
use crate::source::CaptureBooks;
use crate::stats::histogram::Histogram;
use crate::stats::{Measure, Summary, Unproven};

const UNKNOWN: &str = "unknown";

/// Counts by word; words with none are left out.
type Counts = BTreeMap<&'static str, u64>;

/// See the module.
#[derive(Serialize)]
pub struct ReportJson {
    schema: &'static str,
    time: Option<String>,
    duration_ns: Option<u64>,
    kernel: Option<String>,
    tier: Option<finwait_core::observation::Tier>,
    time_wait: Option<finwait_core::observation::TimeWaitSource>,
    #[serde(flatten)]
    all: SummaryJson,
    resets_by_reason: BTreeMap<String, u64>,
    time_waits_by_end: Counts,
    unproven: Vec<UnprovenJson>,
    services: Vec<ServiceJson>,
    stuck: Vec<StuckJson>,
    idle_clusters: Vec<IdleJson>,
    time_waits_left: Counts,
    time_wait_ports: Vec<PortsJson>,
    ephemeral_ports: Option<u32>,
    capture: Option<CaptureBooks>,
    losses: LossesJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Box<ReportJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<DifferenceJson>>,
}

#[derive(Serialize)]
struct SummaryJson {
    closes: u64,
    closes_by_kind: Counts,
    closes_by_first_closer: Counts,
    segments: Counts,
    resets_sent: Counts,
    resets_received: u64,
    resets_unknown: u64,
    fin_retransmits: Counts,
    durations: BTreeMap<&'static str, DurationsJson>,
}

/// Quantiles, each right to 4.5 % of itself.
#[derive(Serialize)]
struct DurationsJson {
    count: u64,
    p50_ns: Option<u64>,
    p90_ns: Option<u64>,
    p99_ns: Option<u64>,
    mean_ns: Option<u64>,
}

#[derive(Serialize)]
struct ServiceJson {
    role: String,
    service_port: String,
    #[serde(flatten)]
    summary: SummaryJson,
}

#[derive(Serialize)]
struct UnprovenJson {
    measure: &'static str,
    reason: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct StuckJson {
    state: &'static str,
    process: Option<String>,
    count: u64,
    oldest_ns: u64,
    oldest_is_minimum: bool,
}

#[derive(Serialize)]
struct IdleJson {
    role: &'static str,
    service_port: Option<u16>,
    first_closer: &'static str,
    mean_ns: u64,
    min_ns: u64,
    max_ns: u64,
    closes: u64,
    of: u64,
}

#[derive(Serialize)]
struct PortsJson {
    netns: u32,
    local_addr: std::net::IpAddr,
    remote_addr: std::net::IpAddr,
    remote_port: u16,
    time_wait_at_once: u32,
    taken_at_once: u32,
}

#[derive(Serialize)]
struct LossesJson {
    received: u64,
    lost: u64,
    lost_ring: u64,
    recursion_missed: Option<u64>,
    rescued: Option<u64>,
    gaps: u64,
    chain_breaks: u64,
    evicted: u64,
    decode_errors: u64,
    hooks_lost: u64,
    seen_from_middle: u64,
}

#[derive(Serialize)]
struct DifferenceJson {
    of: String,
    figure: String,
    unit: &'static str,
    this: Option<f64>,
    against: Option<f64>,
    judgement: &'static str,
    p: Option<f64>,
}

impl ReportJson {
    /// Of one span.
    #[must_use]
    pub fn new(report: &Report) -> Self {
        let host = report.host.as_ref();
        let reasons = report.verdict.tally.resets.reasons.iter();
        Self {
            schema: "finwait.report/1",
            time: report.from.map(when::utc),
            duration_ns: report.duration_ns,
            kernel: host.map(|host| host.kernel.clone()),
            tier: host.map(|host| host.tier),
            time_wait: host.map(|host| host.hooks.time_wait),
            all: SummaryJson::new(&report.all),
            resets_by_reason: reasons.map(|(name, count)| (name.as_str().to_owned(), *count)).collect(),
            time_waits_by_end: report.verdict.tally.time_waits.clone(),
            unproven: unproven(&report.unproven),
            services: report.services.iter().map(ServiceJson::new).collect(),
            stuck: report.stuck.iter().map(StuckJson::new).collect(),
            idle_clusters: report.idle.iter().map(IdleJson::new).collect(),
            time_waits_left: report
                .debt
                .left
                .iter()
                .map(|(role, count)| (role.map_or(UNKNOWN, Role::name), *count))
                .collect(),
            time_wait_ports: report.debt.most.iter().map(PortsJson::new).collect(),
            ephemeral_ports: report.settings.and_then(|settings| settings.ports).map(Ports::count),
            capture: report.verdict.capture.clone(),
            losses: LossesJson::new(report),
            against: None,
            differences: None,
        }
    }

    /// Of two, with what differs.
    #[must_use]
    pub fn against(report: &Report, other: &Report) -> Self {
        Self {
            against: Some(Box::new(Self::new(other))),
            differences: Some(differences(report, other).iter().map(DifferenceJson::new).collect()),
            ..Self::new(report)
        }
    }
}

fn counts(all: impl IntoIterator<Item = (&'static str, u64)>) -> Counts {
    all.into_iter().filter(|(_, count)| *count > 0).collect()
}

fn unproven(unproven: &Unproven) -> Vec<UnprovenJson> {
    let pairs = Measure::all().flat_map(|measure| Reason::ALL.iter().map(move |reason| (measure, *reason)));
    pairs
        .map(|(measure, reason)| UnprovenJson {
            measure: measure.name(),
            reason: reason.name(),
            count: unproven.count(measure, reason),
        })
        .filter(|entry| entry.count > 0)
        .collect()
}

impl SummaryJson {
    fn new(summary: &Summary) -> Self {
        let kinds = CloseKind::ALL.iter().copied().map(Some).chain([None]);
        let firsts = FirstCloser::ALL.iter().copied().map(Some).chain([None]);
        let causes = ResetCause::ALL.iter().copied().map(Some).chain([None]);
        let named = |words: [&'static str; 3], numbers: [u64; 3]| counts(words.into_iter().zip(numbers));
        Self {
            closes: summary.closes(),
            closes_by_kind: counts(
                kinds.map(|kind| (kind.map_or(UNKNOWN, CloseKind::name), summary.closed(kind))),
            ),
            closes_by_first_closer: counts(
                firsts.map(|first| (first.map_or(UNKNOWN, FirstCloser::name), summary.first_closed(first))),
            ),
            segments: named(["three", "four", UNKNOWN], summary.segments),
            resets_sent: counts(
                causes.map(|cause| (cause.map_or(UNKNOWN, ResetCause::name), summary.resets_sent(cause))),
            ),
            resets_received: summary.resets_received,
            resets_unknown: summary.resets_unknown,
            fin_retransmits: named(["timeout", "loss_probe", "recovery"], summary.fin_retransmits),
            durations: Measure::all()
                .map(|measure| (measure.name(), &summary.distribution(measure).histogram))
                .filter(|(_, histogram)| histogram.count() > 0)
                .map(|(name, histogram)| (name, DurationsJson::new(histogram)))
                .collect(),
        }
    }
}

impl DurationsJson {
    fn new(histogram: &Histogram) -> Self {
        let at = |q| histogram.quantile_seconds(q).map(|seconds| (seconds * 1e9).round() as u64);
        let mean = histogram.sum_ns().checked_div(u128::from(histogram.count()));
        Self {
            count: histogram.count(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            mean_ns: mean.and_then(|mean| u64::try_from(mean).ok()),
        }
    }
}

impl ServiceJson {
    fn new(service: &super::Service) -> Self {
        Self {
            role: service.role.clone(),
            service_port: service.port.clone(),
            summary: SummaryJson::new(&service.summary),
        }
    }
}

impl StuckJson {
    fn new(group: &StuckGroup) -> Self {
        Self {
            state: group.state.name(),
            process: group.process.clone(),
            count: group.count,
            oldest_ns: group.oldest_ns,
            oldest_is_minimum: group.oldest_is_minimum,
        }
    }
}

impl IdleJson {
    fn new(cluster: &IdleCluster) -> Self {
        Self {
            role: cluster.role.map_or(UNKNOWN, Role::name),
            service_port: cluster.service.map(|port| port.0),
            first_closer: cluster.first.name(),
            mean_ns: cluster.mean_ns,
            min_ns: cluster.min_ns,
            max_ns: cluster.max_ns,
            closes: cluster.closes,
            of: cluster.of,
        }
    }
}

impl PortsJson {
    fn new(peak: &PortPeak) -> Self {
        Self {
            netns: peak.space.netns.0,
            local_addr: peak.space.local,
            remote_addr: peak.space.remote.0,
            remote_port: peak.space.remote.1.0,
            time_wait_at_once: peak.time_wait,
            taken_at_once: peak.taken,
        }
    }
}

impl LossesJson {
    fn new(report: &Report) -> Self {
        let books = &report.verdict.accounting;
        Self {
            received: books.received,
            lost: books.lost(),
            lost_ring: books.lost_ring,
            recursion_missed: books.recursion_missed,
            rescued: books.rescued,
            gaps: books.gaps,
            chain_breaks: books.chain_breaks,
            evicted: books.evicted,
            decode_errors: report.verdict.decode_errors(),
            hooks_lost: books.hooks_lost,
            seen_from_middle: report.verdict.tally.seen_from_middle,
        }
    }
}

impl DifferenceJson {
    fn new(difference: &Difference) -> Self {
        let unit = match difference.this {
            Figure::Share { .. } => "share",
            Figure::Rate { .. } => "per_second",
            Figure::Durations(_) => "median_seconds",
        };
        Self {
            of: difference.of.clone(),
            figure: difference.figure.clone(),
            unit,
            this: difference.this.size(),
            against: difference.against.size(),
            judgement: difference.judgement.name(),
            p: difference.p,
        }
    }
}
