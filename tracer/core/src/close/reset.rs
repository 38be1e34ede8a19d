//! What the hook on sent resets adds to how a connection ended: who reset it, and the kernel's own name for why.
//!
//! `tcp_reset` serves a received reset and, from `tcp_rcv_state_process`, data that comes after close(); only the second is
//! followed by a reset of ours. The kernel never answers a reset by a reset.

use super::View;
use super::kind::Ending;
use crate::claim::{Claim, Evidence, EvidenceSet, Reason};
use crate::observation::ReasonName;
use crate::record::{CloseKind, Reset, ResetCause, ResetDirection, TimeoutCause};
use crate::tracker::{Connection, End, SentReset};

/// A reset that belongs to a connection's end is sent by the function that ends it. Ample.
const SENT_WITHIN_NS: u64 = 5_000_000;

/// Whether the hook may change anything of how it ended.
pub(crate) fn may_be_hooked(ending: &Ending, connection: &Connection) -> bool {
    let sent = connection.hooked().is_some_and(|hooked| hooked.sent.is_some());
    sent || ending.reset.is_some() || ending.hidden_fin_wait2
}

/// `ending` with what is known of resets sent.
pub(crate) fn with_hook(ending: Ending, connection: &Connection, end: &End, view: &View) -> Ending {
    let sent = sent(connection, end);
    let mut ending = match (&ending.kind, sent) {
        _ if ending.hidden_fin_wait2 => hidden(ending, end, sent.is_some(), view),
        (Claim::Unknown(Reason::AbortWithoutError), Some(_)) if !may_be_dropped(end) => by_kernel(end),
        (Claim::Known { value: CloseKind::Killed, .. }, Some(_)) => {
            add(ending, end, ResetCause::Administrator)
        }
        (Claim::Known { value: CloseKind::TimedOut, .. }, Some(_)) => {
            let cause = match ending.timeout.as_ref().and_then(Claim::value) {
                Some(TimeoutCause::Keepalive) => ResetCause::Keepalive,
                _ => ResetCause::Kernel,
            };
            add(ending, end, cause)
        }
        _ => ending,
    };
    if let Some(reset) = &mut ending.reset {
        if reset.direction.reason() == Some(Reason::ResetOrLateData) {
            decide(reset, end, sent.is_some(), view);
        }
        if sent.is_some() {
            reset.direction = with(reset.direction, Evidence::ResetSent);
        }
        reset.reason = reason(reset, sent, end, view);
    }
    ending
}

/// An orphan that leaves FIN_WAIT2 without error went on in a mini-socket, or was aborted at once by data that came with the
/// acknowledgement of its FIN (`tcp_rcv_state_process`): only the reset that follows the abort tells.
fn hidden(mut ending: Ending, end: &End, sent: bool, view: &View) -> Ending {
    if sent {
        let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::SockDead, Evidence::ResetSent]);
        return Ending::reset_sent(end, ResetCause::DataAfterClose, proof);
    }
    if view.hooks.resets_sent && view.hooks_whole(end.at, end.at.plus(SENT_WITHIN_NS)) {
        ending.kind = with(ending.kind, Evidence::NoResetSent);
    } else {
        ending.kind = Claim::Unknown(Reason::HiddenFinWait2);
    }
    ending
}

/// The reset that the function which ended the connection sent: after its last transition or right before it.
fn sent(connection: &Connection, end: &End) -> Option<SentReset> {
    let sent = connection.hooked()?.sent?;
    let events = connection.trace().len();
    let after = sent.after_events >= events;
    let before =
        sent.after_events + 1 == events && end.at.since(sent.at).is_some_and(|ns| ns <= SENT_WITHIN_NS);
    (after || before).then_some(sent)
}

fn decide(reset: &mut Reset, end: &End, sent: bool, view: &View) {
    let told = |evidence| EvidenceSet::of([Evidence::StateLeft, Evidence::ErrReset, evidence]);
    if sent {
        let evidence = told(Evidence::ResetSent);
        reset.direction = Claim::Known { value: ResetDirection::Sent, evidence };
        reset.cause = Claim::Known { value: ResetCause::DataAfterClose, evidence };
    } else if view.hooks.resets_sent && view.hooks_whole(end.at, end.at.plus(SENT_WITHIN_NS)) {
        reset.direction =
            Claim::Known { value: ResetDirection::Received, evidence: told(Evidence::NoResetSent) };
        reset.cause = Claim::Unknown(Reason::NotVisible);
    }
}

fn reason(reset: &Reset, sent: Option<SentReset>, end: &End, view: &View) -> Claim<ReasonName> {
    match (sent, reset.direction.value()) {
        (Some(SentReset { reason: Some(name), .. }), _) => Claim::known(name, [Evidence::ResetSent]),
        (Some(_), _) => Claim::Unknown(Reason::FieldAbsent),
        (None, Some(ResetDirection::Received)) => Claim::Unknown(Reason::DidNotHappen),
        (None, _) if !view.hooks.resets_sent => Claim::Unknown(Reason::NotVisible),
        (None, _) if view.hooks_whole(end.at, end.at.plus(SENT_WITHIN_NS)) => {
            Claim::Unknown(Reason::DidNotHappen)
        }
        (None, _) => Claim::Unknown(Reason::HookLoss),
    }
}

/// A child goes with its listener in the same way (`inet_csk_listen_stop`), and only its first events tell that it was one.
fn may_be_dropped(end: &End) -> bool {
    let untouched = end.shutdown.is_none_or(|shutdown| !shutdown.send);
    untouched && end.lock_owned != Some(true)
}

/// Out of memory, too many orphans, the end of a namespace: no error is left behind, but the reset that was sent tells.
fn by_kernel(end: &End) -> Ending {
    let proof = EvidenceSet::of([Evidence::StateLeft, Evidence::ErrNone, Evidence::ResetSent]);
    Ending::reset_sent(end, ResetCause::Kernel, proof)
}

fn add(mut ending: Ending, end: &End, cause: ResetCause) -> Ending {
    let proof = ending.kind.evidence().with(Evidence::ResetSent);
    ending.reset = Some(Reset::sent(end, cause, proof));
    ending
}

fn with<T>(claim: Claim<T>, evidence: Evidence) -> Claim<T> {
    match claim {
        Claim::Known { value, evidence: set } => Claim::Known { value, evidence: set.with(evidence) },
        unknown @ Claim::Unknown(_) => unknown,
    }
}
