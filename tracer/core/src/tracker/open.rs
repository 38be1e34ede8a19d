//! What the table says of the connections that are open now.

use std::sync::Arc;

use tracer_common::TcpState;

use super::table::Queue;
use super::{Connection, Tracker, TrackerConfig};
use crate::id::{ConnId, NetNs};
use crate::observation::Workload;
use crate::record::{Endpoint, Owner};
use crate::time::MonoNs;

/// A connection that is closing and has not ended.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosingConnection {
    /// Which
    pub conn_id: ConnId,
    /// Its state
    pub state: TcpState,
    /// When it entered that; `None` where it was in it before it was seen
    pub since: Option<MonoNs>,
    /// It has been in it since then at least
    pub seen_since: MonoNs,
    /// Local end
    pub local: Endpoint,
    /// Remote end
    pub remote: Endpoint,
    /// Network namespace
    pub netns: Option<NetNs>,
    /// A process known to own it, or to have had a descriptor of it when it was listed
    pub owner: Option<Owner>,
    /// What its cgroup is called
    pub workload: Option<Arc<Workload>>,
}

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
        self.table.get(self.table.oldest(Queue::CloseWait)?).map(Connection::last_seen_at)
    }

    /// Those in a closing state that nothing happened to for longest: at most `limit` in CLOSE_WAIT and as many others. No
    /// established connection is looked at.
    #[must_use]
    pub fn closing(&self, limit: usize) -> Vec<ClosingConnection> {
        let queue =
            |queue| self.table.of(queue).filter(|connection| is_closing(connection.state)).take(limit);
        queue(Queue::CloseWait).chain(queue(Queue::Moving)).map(|connection| self.look(connection)).collect()
    }

    /// How much it may hold.
    #[must_use]
    pub fn config(&self) -> TrackerConfig {
        self.config
    }

    fn look(&self, connection: &Connection) -> ClosingConnection {
        let since = entered(connection);
        ClosingConnection {
            conn_id: connection.id,
            state: connection.state,
            since,
            seen_since: since.unwrap_or_else(|| connection.last_seen_at()),
            local: connection.tuple.local,
            remote: connection.tuple.remote,
            netns: connection.netns,
            owner: connection.owner.or(connection.holder),
            workload: self.workloads.of(connection.cgroup),
        }
    }
}

fn is_closing(state: TcpState) -> bool {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    matches!(state, FinWait1 | FinWait2 | Closing | CloseWait | LastAck)
}

/// When the present state was entered, where that was seen: a dump may have shown another state since.
fn entered(connection: &Connection) -> Option<MonoNs> {
    let steps = connection.trace.iter().rev().map(|trace| trace.step);
    steps.take_while(|step| step.new == connection.state).last().map(|step| step.at)
}
