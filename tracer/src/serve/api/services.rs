//! `GET /api/v1/services`: each group, the one with most trouble first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use finwait_core::TcpState;
use finwait_core::record::{CloseKind, FirstCloser, ResetCause};
use serde::Serialize;

use super::{Shared, UNKNOWN, json, too_early};
use crate::stats::{GroupSnapshot, HANDSHAKE_FAILURES, Measure, Summary};

/// A closing state that takes longer than this at its 99th percentile stands out.
const SLOW_SECONDS: f64 = 0.2;

#[derive(Serialize)]
struct ServicesJson<'a> {
    schema: &'static str,
    dimensions: Vec<&'a str>,
    services: Vec<ServiceJson<'a>>,
}

#[derive(Serialize)]
struct ServiceJson<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    closed: u64,
    by_kind: BTreeMap<&'static str, u64>,
    by_first_closer: BTreeMap<&'static str, u64>,
    resets_sent: u64,
    resets_received: u64,
    handshake_failures: u64,
    fin_retransmits: u64,
    quantiles: BTreeMap<&'static str, QuantilesJson>,
    trouble: f64,
}

#[derive(Serialize)]
struct QuantilesJson {
    count: u64,
    p50_ns: Option<u64>,
    p99_ns: Option<u64>,
}

/// All groups in which something ended.
pub(super) async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    let Some(served) = shared.reader.sheet().await else { return too_early() };
    let groups = &served.snapshot.snapshot.groups;
    let mut services: Vec<_> =
        groups.iter().filter(|group| group.summary.closes() > 0).map(service).collect();
    services.sort_by(|one, other| other.trouble.total_cmp(&one.trouble).then(other.closed.cmp(&one.closed)));
    let labels = groups.first().map_or(&[][..], |other| &other.labels);
    let dimensions = labels.iter().map(|(name, _)| name.as_ref()).collect();
    json(&shared, &ServicesJson { schema: "finwait.services/1", dimensions, services })
}

fn service(group: &GroupSnapshot) -> ServiceJson<'_> {
    let summary = &*group.summary;
    let kinds = CloseKind::ALL.iter().copied().map(Some).chain([None]);
    let firsts = FirstCloser::ALL.iter().copied().map(Some).chain([None]);
    ServiceJson {
        labels: group.labels.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect(),
        closed: summary.closes(),
        by_kind: kinds
            .map(|kind| (kind.map_or(UNKNOWN, CloseKind::name), summary.closed(kind)))
            .filter(|(_, count)| *count > 0)
            .collect(),
        by_first_closer: firsts
            .map(|first| (first.map_or(UNKNOWN, FirstCloser::name), summary.first_closed(first)))
            .collect(),
        resets_sent: resets_sent(summary),
        resets_received: summary.resets_received,
        handshake_failures: handshake_failures(summary),
        fin_retransmits: summary.fin_retransmits.iter().sum(),
        quantiles: Measure::all().map(|measure| (measure.name(), quantiles(summary, measure))).collect(),
        trouble: trouble(summary),
    }
}

fn resets_sent(summary: &Summary) -> u64 {
    ResetCause::ALL.iter().copied().map(Some).chain([None]).map(|cause| summary.resets_sent(cause)).sum()
}

fn handshake_failures(summary: &Summary) -> u64 {
    HANDSHAKE_FAILURES.iter().map(|(kind, _)| summary.closed(Some(*kind))).sum()
}

fn quantiles(summary: &Summary, measure: Measure) -> QuantilesJson {
    let histogram = &summary.distribution(measure).histogram;
    let ns = |q| histogram.quantile_seconds(q).map(|seconds| (seconds * 1e9) as u64);
    QuantilesJson { count: histogram.count(), p50_ns: ns(0.5), p99_ns: ns(0.99) }
}

/// How much of it is out of the ordinary: the shares of closes that were resets, failed handshakes, kills or timeouts, in
/// tenths, and how often the slowest closing state is slower than a round trip explains, as a logarithm.
fn trouble(summary: &Summary) -> f64 {
    let closes = summary.closes() as f64;
    let bad = [CloseKind::TimedOut, CloseKind::Killed, CloseKind::Dropped];
    let bad: u64 = bad.into_iter().map(|kind| summary.closed(Some(kind))).sum();
    let share = (bad + resets_sent(summary) + handshake_failures(summary)) as f64 / closes * 10.0;
    let waits = [TcpState::FinWait1, TcpState::CloseWait, TcpState::LastAck];
    let slowest = Measure::all().filter(|measure| waits.iter().any(|state| state.name() == measure.name()));
    let slowest =
        slowest.filter_map(|measure| summary.distribution(measure).histogram.quantile_seconds(0.99));
    let slow = slowest.fold(0.0, f64::max) / SLOW_SECONDS;
    share + slow.max(1.0).log2()
}
