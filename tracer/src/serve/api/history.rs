//! `GET /api/v1/history?since_ns=N`

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use finwait_core::record::{CloseKind, FirstCloser};
use serde::{Deserialize, Serialize};

use super::{Shared, UNKNOWN, context, json, too_early};
use crate::sink::{Context, utc_of};
use crate::stats::history::INTERVAL_NS;
use crate::stats::{CLOSING_STATES, Interval};

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    since_ns: Option<u64>,
}

#[derive(Serialize)]
struct HistoryJson {
    schema: &'static str,
    interval_ns: u64,
    intervals: Vec<IntervalJson>,
}

#[derive(Serialize)]
struct IntervalJson {
    start_ns: u64,
    time: Option<String>,
    closes: BTreeMap<&'static str, u64>,
    first_closer: BTreeMap<&'static str, u64>,
    resets: ResetsJson,
    durations: BTreeMap<&'static str, Vec<(i32, u64)>>,
}

#[derive(Serialize)]
struct ResetsJson {
    sent: u64,
    received: u64,
}

/// The intervals that began at `since_ns` or later.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    let Some(served) = shared.reader.sheet().await else { return too_early() };
    let snapshot = &served.snapshot.snapshot;
    let context = context(snapshot);
    let since = asked.since_ns.unwrap_or(0);
    let intervals = snapshot.history.intervals().filter(|interval| interval.start.0 >= since);
    let intervals = intervals.map(|interval| interval_json(interval, &context)).collect();
    json(&shared, &HistoryJson { schema: "finwait.history/1", interval_ns: INTERVAL_NS, intervals })
}

fn interval_json(interval: &Interval, context: &Context) -> IntervalJson {
    let durations =
        (0..CLOSING_STATES.len()).map(|state| (CLOSING_STATES[state].name(), interval.by_exponent(state)));
    IntervalJson {
        start_ns: interval.start.0,
        time: utc_of(context, interval.start),
        closes: interval
            .kinds()
            .map(|(kind, count)| (kind.map_or(UNKNOWN, CloseKind::name), count))
            .collect(),
        first_closer: interval
            .first_closers()
            .map(|(first, count)| (first.map_or(UNKNOWN, FirstCloser::name), count))
            .collect(),
        resets: ResetsJson { sent: interval.resets_sent, received: interval.resets_received },
        durations: durations.filter(|(_, buckets)| !buckets.is_empty()).collect(),
    }
}
