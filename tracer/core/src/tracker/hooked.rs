//! What the hooks on resets and retransmissions told of one connection. Most connections have none of it.

use crate::observation::{ReasonName, ResetEvent, RetransmitCause, RetransmitEvent};
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
