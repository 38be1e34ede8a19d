//! A close in plain sentences: what happened, which party took the time, what the settings mean for it, what can be changed.
//! Every sentence carries what it rests on; where a claim is unknown the sentence says what is not known and why.

mod advice;
mod end;
mod rest;
mod setting;
mod time;

use finwait_core::record::{CloseKind, LocalCause};
use finwait_core::{Claim, Reason, TcpState};

use super::names::{self, endpoint};
use super::{Ground, Part, Sentence, Story};

/// The sentences, the most important first.
pub(super) fn sentences(story: &Story<'_>) -> Vec<Sentence> {
    let mut said = Vec::new();
    said.extend(end::how_it_ended(story));
    said.extend(time::who_took_the_time(story));
    said.extend(advice::what_can_be_changed(story));
    said.extend(setting::what_the_settings_mean(story));
    said.extend(rest::segments(story));
    said.extend(rest::resent(story));
    said.extend(rest::half_closed(story));
    said.extend(rest::idle(story));
    said.extend(rest::left_behind(story));
    said.extend(rest::other_end(story));
    said.extend(rest::not_seen(story));
    said.extend(rest::not_in_capture(story));
    said
}

fn sentence<const N: usize>(text: impl Into<String>, evidence: [Ground; N]) -> Sentence {
    Sentence { text: text.into(), evidence: evidence.into() }
}

impl Sentence {
    fn and(mut self, more: impl IntoIterator<Item = Ground>) -> Self {
        self.evidence.extend(more);
        self
    }
}

/// A claim of the close record.
fn own<T>(name: &'static str, claim: &Claim<T>) -> Ground {
    Ground::claim(Part::ThisEnd, name, claim)
}

/// The time in `state`, by whichever record.
fn dwell_ground(part: Part, close: &finwait_core::record::CloseRecord, state: TcpState) -> Option<Ground> {
    let dwell = super::ladder::dwell(close, state)?;
    Some(Ground::claim(part, format!("dwell_ns.{}", state.name()), &dwell.duration_ns))
}

/// `what is not known: why`; `None` where it did not happen. What no capture shows is said once, of all of it.
fn unknown(what: &str, name: &'static str, reason: Reason) -> Option<Sentence> {
    (reason != Reason::DidNotHappen && reason != Reason::NotInCapture).then(|| {
        let claim: Claim<()> = Claim::Unknown(reason);
        sentence(format!("{what} is not known: {}.", names::reason(reason)), [own(name, &claim)])
    })
}

/// Who is at the other end, as far as it is known.
fn peer_name(story: &Story<'_>) -> String {
    let there = endpoint(story.close.remote);
    story
        .peer
        .and_then(names::process)
        .map_or_else(|| there.clone(), |process| format!("{process} at {there}"))
}

fn is_orderly(kind: Option<&CloseKind>) -> bool {
    matches!(kind, Some(CloseKind::Active | CloseKind::Passive | CloseKind::Simultaneous))
}

/// Whether no program held the socket while it closed: the call that began the close let go of it. Unknown where the call is.
fn orphaned(story: &Story<'_>) -> Claim<bool> {
    story.close.cause.map(|cause| {
        !matches!(cause, LocalCause::Shutdown | LocalCause::Disconnect | LocalCause::KernelTimer)
    })
}
