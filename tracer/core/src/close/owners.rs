//! Who opened, accepted and closed, and what made this end close.

use tracer_common::TcpState;

use super::View;
use super::continuity::Continuity;
use super::kind::Ending;
use crate::claim::{Claim, Evidence, EvidenceSet, Reason};
use crate::record::{CloseKind, LocalCause, Owner, ResetCause, Role};
use crate::tracker::{Connection, LocalBegin};

pub(super) fn opener(connection: &Connection, continuity: &Continuity, role: &Claim<Role>) -> Claim<Owner> {
    match (role.value(), continuity.whole, connection.opener.as_deref()) {
        (Some(Role::Accepted), ..) => Claim::Unknown(Reason::NotVisible),
        (_, false, _) => Claim::Unknown(continuity.missing),
        (_, true, Some(owner)) => Claim::known(*owner, [Evidence::SynSent, Evidence::LockOwned]),
        (_, true, None) => Claim::Unknown(nobody(connection)),
    }
}

/// Only a hook on accept() shows it: a descriptor may be handed on before anything else happens.
pub(super) fn acceptor(
    connection: &Connection,
    continuity: &Continuity,
    role: &Claim<Role>,
    view: &View,
) -> Claim<Owner> {
    if let Some(owner) = connection.acceptor.as_deref() {
        return Claim::known(*owner, [Evidence::Accepted]);
    }
    match role.value() {
        Some(Role::Opened | Role::OpenedBoth) => Claim::Unknown(Reason::DidNotHappen),
        None => Claim::Unknown(role.reason().unwrap_or(continuity.missing)),
        Some(Role::Accepted) if !view.hooks.accepts => Claim::Unknown(Reason::NotVisible),
        Some(Role::Accepted) => match (connection.trace().first(), connection.end()) {
            (Some(first), Some(end))
                if continuity.whole && view.hooks_whole(first.at, end.at) && !connection.had_inode =>
            {
                Claim::Unknown(Reason::DidNotHappen)
            }
            _ if continuity.whole => Claim::Unknown(Reason::HookLoss),
            _ => Claim::Unknown(continuity.missing),
        },
    }
}

pub(super) fn closer(connection: &Connection, continuity: &Continuity) -> Claim<Owner> {
    if let Some((index, owner)) = connection.closer()
        && index >= continuity.start
    {
        return Claim::known(*owner, [Evidence::LockOwned]);
    }
    let queued_fin = continuity.queued_fin().is_some();
    Claim::Unknown(match (queued_fin, local_fin_implied(connection)) {
        (true, _) => nobody(connection),
        (false, true) => continuity.missing,
        (false, false) if connection.end().is_none() => Reason::EndNotSeen,
        (false, false) => Reason::DidNotHappen,
    })
}

fn local_fin_implied(connection: &Connection) -> bool {
    connection.end().is_some_and(|end| {
        matches!(end.old, TcpState::FinWait1 | TcpState::FinWait2 | TcpState::Closing | TcpState::LastAck)
    })
}

/// Why no task is named: this tier shows none, or none held the socket.
fn nobody(connection: &Connection) -> Reason {
    match connection.end().map(|end| end.lock_owned) {
        Some(None) => Reason::FieldAbsent,
        _ => Reason::NoTask,
    }
}

/// What made this end begin its share of the close, and the signal where one did.
pub(super) fn cause(
    connection: &Connection,
    continuity: &Continuity,
    ending: &Ending,
    view: &View,
) -> (Claim<LocalCause>, Option<u8>) {
    let proof = ending.kind.evidence();
    let by_ending = match (ending.kind.value(), ending.reset.as_ref().and_then(|reset| reset.cause.value())) {
        (Some(CloseKind::Dropped), _) => Some(LocalCause::ListenerClosed),
        (_, Some(ResetCause::Disconnect)) => Some(LocalCause::Disconnect),
        _ => None,
    };
    if let Some(value) = by_ending {
        return (Claim::Known { value, evidence: proof }, None);
    }
    if let Some(began) = connection.closing().began.filter(|began| began.index >= continuity.start) {
        let claim = of_begin(connection, continuity, &began, view);
        let killed = claim.value() == Some(&LocalCause::ProcessKilled);
        return (claim, began.exit_signal.filter(|_| killed));
    }
    // No FIN or reset of the application's came before: the end itself is the only thing this side did.
    let claim = match ending.kind.value() {
        _ if local_fin_implied(connection) => Claim::Unknown(continuity.missing),
        Some(CloseKind::Killed) => Claim::Known { value: LocalCause::Administrator, evidence: proof },
        Some(CloseKind::TimedOut | CloseKind::ConnectTimedOut) => {
            Claim::Known { value: LocalCause::KernelTimer, evidence: proof }
        }
        Some(_) => Claim::Unknown(Reason::DidNotHappen),
        None => Claim::Unknown(ending.kind.reason().unwrap_or(Reason::NoKnownWay)),
    };
    (claim, None)
}

fn of_begin(
    connection: &Connection,
    continuity: &Continuity,
    began: &LocalBegin,
    view: &View,
) -> Claim<LocalCause> {
    match (began.lock_owned, began.kthread, began.exiting) {
        (None, ..) => return Claim::Unknown(Reason::FieldAbsent),
        (Some(false), ..) => return Claim::Unknown(Reason::NoTask),
        (_, Some(true), _) => return Claim::known(LocalCause::KernelThread, [Evidence::KernelThread]),
        (_, _, Some(true)) => {
            return match began.exit_signal {
                None => Claim::Unknown(Reason::FieldAbsent),
                Some(0) => Claim::known(LocalCause::ProcessExit, [Evidence::TaskExiting]),
                Some(_) => Claim::known(LocalCause::ProcessKilled, [Evidence::TaskExiting]),
            };
        }
        // Without the task's flags (before 5.11) an exit looks like close().
        (_, _, None) => return Claim::Unknown(Reason::FieldAbsent),
        (_, _, Some(false)) => {}
    }
    let Some(shutdown) = began.shutdown else { return Claim::Unknown(Reason::FieldAbsent) };
    if !(shutdown.receive && shutdown.send) {
        return Claim::known(LocalCause::Shutdown, [Evidence::ShutdownSend, Evidence::LockOwned]);
    }
    close_or_shutdown(connection, continuity, began, view)
}

/// Both close() and shutdown(SHUT_RDWR) shut both directions before the FIN is queued. close() orphans the socket before
/// it lets go of its lock (`__tcp_close`), unless it lingers; after shutdown() a later close() shows as a state entered again.
fn close_or_shutdown(
    connection: &Connection,
    continuity: &Continuity,
    began: &LocalBegin,
    view: &View,
) -> Claim<LocalCause> {
    let proof = EvidenceSet::of([Evidence::ShutdownBoth, Evidence::LockOwned]);
    let close = |with| Claim::Known { value: LocalCause::Close, evidence: proof.with(with) };
    let shutdown = |with| Claim::Known { value: LocalCause::Shutdown, evidence: proof.with(with) };
    let trace = &connection.trace();
    if trace.get(began.index).is_some_and(|t| t.new == TcpState::Close) {
        return close(Evidence::StateLeft); // aborted inside close(): shutdown() aborts nothing
    }
    let again = trace.iter().skip(began.index + 1).any(|t| t.old == t.new);
    if again {
        return shutdown(Evidence::SockAlive);
    }
    // close() would have orphaned it at once, whatever is missing.
    if began.dead_next == Some(false) && !began.lingers {
        return shutdown(Evidence::SockAlive);
    }
    if continuity.broken_between(began.index, trace.len() - 1).is_some() {
        return Claim::Unknown(continuity.missing_inside());
    }
    // A state entered again leaves no gap in the chain of states.
    let span = trace.get(began.index).zip(trace.last()).map(|(from, to)| (from.at, to.at));
    if !span.is_some_and(|(from, to)| view.whole(from, to)) {
        return Claim::Unknown(Reason::LossInInterval);
    }
    // A lingering close() waits with the socket alive, and lets go of it where it ends the wait: without having entered
    // the state again, as a close() after shutdown() would have.
    let ended_inside = connection.end().is_some_and(|end| {
        end.old == TcpState::FinWait2
            && end.lock_owned == Some(true)
            && end.flags.is_some_and(|flags| flags.dead && !flags.done)
    });
    match began.dead_next {
        Some(false) if began.lingers && ended_inside => close(Evidence::SockDead),
        Some(true) => close(Evidence::SockDead),
        Some(false) => Claim::Unknown(Reason::CloseOrShutdown),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}
