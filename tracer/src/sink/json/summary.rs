//! `finwait.summary/1`

use std::collections::BTreeMap;

use serde::Serialize;

use crate::sink::Verdict;
use crate::source::CaptureBooks;

/// What the run came to. What this kernel or tier cannot count is null.
#[derive(Serialize)]
pub(in crate::sink) struct SummaryJson<'a> {
    schema: &'static str,
    ended_by: &'static str,
    duration_ns: Option<u64>,
    transitions: u64,
    closes: u64,
    closes_by_kind: BTreeMap<&'static str, u64>,
    closes_by_first_closer: BTreeMap<&'static str, u64>,
    resets_sent: u64,
    resets_received: u64,
    resets_unknown: u64,
    resets_by_reason: BTreeMap<&'a str, u64>,
    fin_retransmits: u64,
    closes_with_fin_retransmits: u64,
    time_waits_by_end: BTreeMap<&'static str, u64>,
    both_ends: u64,
    both_ends_hurried: u64,
    seen_from_middle: u64,
    received: u64,
    duplicates: u64,
    counted: u64,
    lost: u64,
    lost_ring: u64,
    recursion_missed: Option<u64>,
    rescued: Option<u64>,
    gaps: u64,
    chain_breaks: u64,
    evicted: u64,
    decode_errors: u64,
    hooks_lost: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<&'a CaptureBooks>,
}

impl<'a> SummaryJson<'a> {
    pub(in crate::sink) fn new(verdict: &'a Verdict) -> Self {
        let (tally, books) = (&verdict.tally, &verdict.accounting);
        Self {
            schema: "finwait.summary/1",
            ended_by: verdict.ended.name(),
            duration_ns: verdict.duration.and_then(|duration| u64::try_from(duration.as_nanos()).ok()),
            transitions: tally.transitions,
            closes: tally.closes,
            closes_by_kind: tally.kinds.clone(),
            closes_by_first_closer: tally.first.clone(),
            resets_sent: tally.resets.sent,
            resets_received: tally.resets.received,
            resets_unknown: tally.resets.unknown,
            resets_by_reason: tally.resets.reasons.iter().map(|(name, n)| (name.as_str(), *n)).collect(),
            fin_retransmits: tally.fins.fins,
            closes_with_fin_retransmits: tally.fins.closes,
            time_waits_by_end: tally.time_waits.clone(),
            both_ends: tally.both_ends,
            both_ends_hurried: tally.hurried,
            seen_from_middle: tally.seen_from_middle,
            received: books.received,
            duplicates: books.duplicates,
            counted: books.counted,
            lost: books.lost(),
            lost_ring: books.lost_ring,
            recursion_missed: books.recursion_missed,
            rescued: books.rescued,
            gaps: books.gaps,
            chain_breaks: books.chain_breaks,
            evicted: books.evicted,
            decode_errors: verdict.decode_errors(),
            hooks_lost: books.hooks_lost,
            capture: verdict.capture.as_ref(),
        }
    }
}
