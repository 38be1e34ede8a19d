//! `finwait.explanation/1`: the sentences with what they rest on. docs/events.md names every key.

use std::io::{self, Write};

use finwait_core::observation::Sysctls;
use finwait_core::{ConnId, Evidence};
use serde::Serialize;

use crate::explain::{Basis, Explanation, Ground, Party, Sentence, Story};
use crate::sink::{Context, when};

/// Writes one explanation as a line.
pub(super) fn write(
    out: &mut dyn Write,
    story: &Story<'_>,
    explanation: &Explanation,
    context: &Context,
) -> io::Result<()> {
    line(out, &ExplanationJson::new(story, explanation, context))
}

/// Writes `value` as a line.
pub(super) fn line(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct ExplanationJson<'a> {
    schema: &'static str,
    conn_id: String,
    peer_conn_id: Option<String>,
    time: Option<String>,
    time_ns: Option<u64>,
    this_end: PartyJson<'a>,
    other_end: PartyJson<'a>,
    sentences: Vec<SentenceJson<'a>>,
    settings: Option<Sysctls>,
}

impl<'a> ExplanationJson<'a> {
    fn new(story: &Story<'_>, explanation: &'a Explanation, context: &Context) -> Self {
        let close = story.close;
        let settings = context.host.as_ref().map(|host| host.sysctls);
        Self {
            schema: "finwait.explanation/1",
            conn_id: close.conn_id.to_string(),
            peer_conn_id: story.peer.map(|peer| ConnId::to_string(&peer.conn_id)),
            time: close.closed_at.and_then(|at| when::utc_of(context, at)),
            time_ns: close.closed_at.map(|at| at.0),
            this_end: PartyJson::from(&explanation.near),
            other_end: PartyJson::from(&explanation.far),
            sentences: explanation.sentences.iter().map(SentenceJson::from).collect(),
            settings: settings.filter(|settings| !settings.is_empty()),
        }
    }
}

#[derive(Serialize)]
struct PartyJson<'a> {
    process: Option<&'a str>,
    endpoint: &'a str,
    observed: bool,
}

impl<'a> From<&'a Party> for PartyJson<'a> {
    fn from(party: &'a Party) -> Self {
        Self { process: party.process.as_deref(), endpoint: &party.endpoint, observed: party.seen }
    }
}

#[derive(Serialize)]
struct SentenceJson<'a> {
    text: &'a str,
    grounds: Vec<GroundJson<'a>>,
}

impl<'a> From<&'a Sentence> for SentenceJson<'a> {
    fn from(sentence: &'a Sentence) -> Self {
        Self { text: &sentence.text, grounds: sentence.evidence.iter().map(GroundJson::from).collect() }
    }
}

/// `record` and `name` say where it stands, the rest how it is known.
#[derive(Serialize)]
struct GroundJson<'a> {
    record: &'static str,
    name: &'a str,
    basis: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl<'a> From<&'a Ground> for GroundJson<'a> {
    fn from(ground: &'a Ground) -> Self {
        let plain = |basis| Self {
            record: ground.part.name(),
            name: &ground.name,
            basis,
            evidence: None,
            value: None,
            reason: None,
        };
        match &ground.basis {
            Basis::Proven(evidence) => {
                Self { evidence: Some(evidence.iter().map(Evidence::name).collect()), ..plain("proven") }
            }
            Basis::Unknown(why) => Self { reason: Some(why.name()), ..plain("unknown") },
            Basis::Field(value) => Self { value: Some(value), ..plain("field") },
            Basis::Setting(value) => Self { value: Some(value), ..plain("setting") },
            Basis::Constant(value) => Self { value: Some(value), ..plain("constant") },
            Basis::Absent(why) => Self { reason: Some(why), ..plain("not_recorded") },
        }
    }
}
