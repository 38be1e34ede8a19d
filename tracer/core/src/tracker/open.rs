//! What the table says of the connections that are open now.

use tracer_common::TcpState;

use super::table::Queue;
use super::{Tracker, TrackerConfig};
use crate::time::MonoNs;

impl Tracker {
    /// Sockets in `state` now, listeners included; mini-sockets (TIME_WAIT and orphans' FIN_WAIT2) are none of them.
    #[must_use]
    pub fn sockets(&self, state: TcpState) -> usize {
        self.table.in_state(state)
    }

    /// The last event of the connection that has been in CLOSE_WAIT for longest; one that was listed there has been so for
    /// longer than this says.
    #[must_use]
    pub fn oldest_close_wait(&self) -> Option<MonoNs> {
        self.table.get(self.table.oldest(Queue::CloseWait)?).map(super::Connection::last_seen_at)
    }

    /// How much it may hold.
    #[must_use]
    pub fn config(&self) -> TrackerConfig {
        self.config
    }
}
