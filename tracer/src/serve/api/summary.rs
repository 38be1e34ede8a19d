//! `GET /api/v1/summary`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use finwait_core::observation::{Hooks, Tier, TimeWaitSource};
use finwait_core::record::{CloseKind, FirstCloser, ResetCause};
use finwait_core::{MonoNs, TcpState};
use serde::Serialize;

use super::{Shared, UNKNOWN, context, json, too_early};
use crate::serve::Sheet;
use crate::sink::utc_of;
use crate::stats::history::INTERVAL_NS;
use crate::stats::{HANDSHAKE_FAILURES, Snapshot, Summary};

const MINUTE_NS: u64 = 60_000_000_000;
/// Closing states in which connections stay when something is wrong.
const STUCK: [TcpState; 3] = [TcpState::CloseWait, TcpState::FinWait2, TcpState::LastAck];

type Counts = BTreeMap<&'static str, u64>;

#[derive(Serialize)]
struct SummaryJson {
    schema: &'static str,
    time: Option<String>,
    time_ns: u64,
    since_ns: Option<u64>,
    snapshot_age_seconds: f64,
    host: HostJson,
    rates: RatesJson,
    closes: ClosesJson,
    resets: ResetsJson,
    handshake_failures: Counts,
    sockets: Counts,
    stuck: BTreeMap<&'static str, StuckJson>,
    losses: LossesJson,
    tracked: LimitJson,
    groups: GroupsJson,
    redacted: bool,
    replay: bool,
}

#[derive(Serialize)]
struct HostJson {
    kernel: Option<String>,
    tier: Option<&'static str>,
    time_wait: Option<TimeWaitSource>,
    hooks: Vec<&'static str>,
}

#[derive(Serialize)]
struct RatesJson {
    closes_per_minute: u64,
}

#[derive(Serialize)]
struct ClosesJson {
    total: u64,
    by_kind: Counts,
    by_first_closer: Counts,
    segments: Counts,
}

#[derive(Serialize)]
struct ResetsJson {
    sent: Counts,
    received: u64,
    unknown: u64,
}

#[derive(Serialize)]
struct StuckJson {
    count: usize,
    oldest_ns: Option<u64>,
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
}

#[derive(Serialize)]
struct LimitJson {
    connections: usize,
    limit: usize,
}

#[derive(Serialize)]
struct GroupsJson {
    count: usize,
    limit: usize,
    overflows: u64,
}

/// Everything in one.
pub(super) async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    let Some(served) = shared.reader.sheet().await else { return too_early() };
    let sheet = &served.snapshot;
    let (snapshot, now) = (&sheet.snapshot, sheet.now());
    let mut total = Summary::default();
    snapshot.groups.iter().for_each(|group| total.merge(&group.summary));
    json(
        &shared,
        &SummaryJson {
            schema: "finwait.summary/1",
            time: utc_of(&context(snapshot), now),
            time_ns: now.0,
            since_ns: snapshot.host.as_ref().map(|host| host.since.0),
            snapshot_age_seconds: served.age.as_secs_f64(),
            host: host(snapshot),
            rates: RatesJson { closes_per_minute: last_minute(snapshot, now) },
            closes: closes(&total),
            resets: resets(&total),
            handshake_failures: handshake_failures(&total),
            sockets: sockets(snapshot),
            stuck: STUCK.into_iter().map(|state| (state.name(), stuck(sheet, state, now))).collect(),
            losses: losses(snapshot),
            tracked: LimitJson { connections: snapshot.connections, limit: snapshot.connection_limit },
            groups: GroupsJson {
                count: snapshot.group_count,
                limit: snapshot.group_limit,
                overflows: snapshot.group_overflows,
            },
            redacted: shared.redacted,
            replay: shared.replay,
        },
    )
}

fn host(snapshot: &Snapshot) -> HostJson {
    let Some(host) = &snapshot.host else {
        return HostJson { kernel: None, tier: None, time_wait: None, hooks: Vec::new() };
    };
    let tier = match host.tier {
        Tier::TpBtf => "tp_btf",
        Tier::Classic => "classic",
        Tier::Capture => "capture",
    };
    HostJson {
        kernel: Some(host.kernel.clone()),
        tier: Some(tier),
        time_wait: Some(host.hooks.time_wait),
        hooks: hooks(&host.hooks),
    }
}

fn hooks(hooks: &Hooks) -> Vec<&'static str> {
    let named = [
        ("resets_sent", hooks.resets_sent),
        ("reset_reasons", hooks.reset_reasons),
        ("resets_received", hooks.resets_received),
        ("retransmits", hooks.retransmits),
        ("accepts", hooks.accepts),
        ("sockets", hooks.sockets),
    ];
    named.into_iter().filter(|(_, in_force)| *in_force).map(|(name, _)| name).collect()
}

/// Closes in the intervals of the last minute.
fn last_minute(snapshot: &Snapshot, now: MonoNs) -> u64 {
    let from = now.0.saturating_sub(MINUTE_NS);
    let late =
        snapshot.history.intervals().rev().take_while(|interval| interval.start.0 + INTERVAL_NS > from);
    late.map(crate::stats::Interval::closes).sum()
}

fn closes(total: &Summary) -> ClosesJson {
    let kinds = CloseKind::ALL.iter().copied().map(Some).chain([None]);
    let firsts = FirstCloser::ALL.iter().copied().map(Some).chain([None]);
    ClosesJson {
        total: total.closes(),
        by_kind: kinds.map(|kind| (kind.map_or(UNKNOWN, CloseKind::name), total.closed(kind))).collect(),
        by_first_closer: firsts
            .map(|first| (first.map_or(UNKNOWN, FirstCloser::name), total.first_closed(first)))
            .collect(),
        segments: ["3", "4", UNKNOWN].into_iter().zip(total.segments).collect(),
    }
}

fn resets(total: &Summary) -> ResetsJson {
    let causes = ResetCause::ALL.iter().copied().map(Some).chain([None]);
    ResetsJson {
        sent: causes
            .map(|cause| (cause.map_or(UNKNOWN, ResetCause::name), total.resets_sent(cause)))
            .filter(|(_, count)| *count > 0)
            .collect(),
        received: total.resets_received,
        unknown: total.resets_unknown,
    }
}

fn handshake_failures(total: &Summary) -> Counts {
    HANDSHAKE_FAILURES.iter().map(|(kind, cause)| (*cause, total.closed(Some(*kind)))).collect()
}

/// Mini-sockets are none of them, so TIME_WAIT is left out.
fn sockets(snapshot: &Snapshot) -> Counts {
    let followed = TcpState::ALL
        .iter()
        .zip(snapshot.sockets)
        .filter(|(state, _)| !matches!(state, TcpState::TimeWait | TcpState::NewSynRecv | TcpState::Close));
    followed.map(|(state, count)| (state.name(), count as u64)).collect()
}

fn stuck(sheet: &Sheet, state: TcpState, now: MonoNs) -> StuckJson {
    let place = TcpState::ALL.iter().position(|one| *one == state);
    let count = place.map_or(0, |place| sheet.snapshot.sockets[place]);
    let those = sheet.closing.iter().filter(|connection| connection.state == state);
    StuckJson { count, oldest_ns: those.filter_map(|connection| now.since(connection.seen_since)).max() }
}

fn losses(snapshot: &Snapshot) -> LossesJson {
    let books = &snapshot.books;
    LossesJson {
        received: books.received,
        lost: books.lost(),
        lost_ring: books.lost_ring,
        recursion_missed: books.recursion_missed,
        rescued: books.rescued,
        gaps: books.gaps,
        chain_breaks: books.chain_breaks,
        evicted: books.evicted,
        decode_errors: books.decode_errors,
        hooks_lost: books.hooks_lost,
    }
}
