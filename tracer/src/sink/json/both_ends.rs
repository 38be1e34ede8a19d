//! `finwait.both_ends/1`

use finwait_core::record::{BothEnds, Contradiction, Side, Waves};
use serde::Serialize;

use super::claims::{EvidenceMap, UnknownMap, word};
use super::close::CloseJson;
use super::moments::SpanJson;
use crate::sink::Context;

/// Two close records, and what they prove together.
#[derive(Serialize)]
pub(super) struct BothEndsJson<'a> {
    schema: &'static str,
    first_closer: &'static str,
    first_wave_ns: Option<SpanJson>,
    waves: &'static str,
    contradictions: Vec<&'static str>,
    opened: CloseJson<'a>,
    accepted: CloseJson<'a>,
    evidence: EvidenceMap<'a, BothEnds>,
    unknown: UnknownMap<'a, BothEnds>,
}

impl<'a> BothEndsJson<'a> {
    pub(super) fn new(both: &'a BothEnds, context: &Context) -> Self {
        Self {
            schema: "finwait.both_ends/1",
            first_closer: word(&both.first_closer(), Side::name),
            first_wave_ns: both.first_wave_ns().value().map(SpanJson::from),
            waves: word(&both.waves(), Waves::name),
            contradictions: both.contradictions().into_iter().map(Contradiction::name).collect(),
            opened: CloseJson::new(&both.opener_side, context),
            accepted: CloseJson::new(&both.acceptor_side, context),
            evidence: EvidenceMap(both),
            unknown: UnknownMap(both),
        }
    }
}
