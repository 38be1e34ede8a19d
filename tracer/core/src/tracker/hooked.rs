//! What the hooks on resets and retransmissions told of one connection. Most connections have none of it.

use super::table::Slot;
use super::{Connection, Tracker};
use crate::id::SocketKey;
use crate::observation::{
    AcceptEvent, Program, ReasonName, ResetEvent, RetransmitCause, RetransmitEvent, SocketKind, Subject,
};
use crate::record::FinRetransmits;
use crate::time::MonoNs;

/// A reset that the kernel sent on behalf of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentReset {
    pub(crate) at: MonoNs,
    /// The connection's events seen before it
    pub(crate) after_events: usize,
    pub(crate) reason: Option<ReasonName>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooked {
    /// The last one sent
    pub(crate) sent: Option<SentReset>,
    pub(crate) retransmits: FinRetransmits,
    /// Segments that could not be sent again
    pub(crate) failed_retransmits: u32,
}

impl Hooked {
    /// `after_events` of the connection's events came before.
    pub(crate) fn reset_sent(&mut self, event: &ResetEvent, after_events: usize) {
        self.sent = Some(SentReset { at: event.at, after_events, reason: event.reason });
    }

    /// What was sent again and why; a segment that could not be sent went nowhere.
    pub(crate) fn sent_again(&mut self, event: &RetransmitEvent) {
        if event.failed == Some(true) {
            self.failed_retransmits = self.failed_retransmits.saturating_add(1);
            return;
        }
        let again = &mut self.retransmits;
        let count = match (event.fin, event.cause) {
            (Some(true), Some(RetransmitCause::Timeout)) => &mut again.by_timeout,
            (Some(true), Some(RetransmitCause::LossProbe)) => &mut again.by_probe,
            (Some(true), _) => &mut again.by_recovery,
            _ => &mut again.data,
        };
        *count = count.saturating_add(1);
    }
}

impl Tracker {
    pub(super) fn reset(&mut self, event: &ResetEvent) {
        self.audit.number(event.stream, event.seq, event.at);
        self.time_waits.reset(event);
        if event.stream.program == Program::SendReset
            && let Some(connection) = self.subject(&event.subject)
        {
            let events = connection.trace().len();
            connection.hooked_mut().reset_sent(event, events);
        }
    }

    pub(super) fn retransmit(&mut self, event: &RetransmitEvent) {
        self.audit.number(event.stream, event.seq, event.at);
        if let Some(connection) = self.subject(&event.subject) {
            connection.hooked_mut().sent_again(event);
        }
    }

    pub(super) fn accept(&mut self, event: &AcceptEvent) {
        self.audit.number(event.stream, event.seq, event.at);
        let Some(slot) = self.subject_slot(&event.subject) else { return };
        if let Some(connection) = self.table.get_mut(slot) {
            connection.accepted(event, &mut self.interned);
        }
        if self.by_owner {
            self.regroup(slot);
        }
        self.table.accepted(slot);
    }

    /// The connection that a hook was called for.
    fn subject(&mut self, subject: &Subject) -> Option<&mut Connection> {
        let slot = self.subject_slot(subject)?;
        self.table.get_mut(slot)
    }

    fn subject_slot(&self, subject: &Subject) -> Option<Slot> {
        if subject.kind != SocketKind::Full {
            return None;
        }
        let by_cookie = subject.cookie.and_then(|cookie| self.table.find(SocketKey::Cookie(cookie)));
        let by_address = || self.table.find(SocketKey::Address(subject.sock_addr?));
        by_cookie.or_else(by_address)
    }
}
