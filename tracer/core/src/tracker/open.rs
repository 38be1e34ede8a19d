//! What the table says of the connections that are open now.

use std::collections::HashMap;
use std::sync::Arc;

use tracer_common::TcpState;

use super::population::{GroupPopulation, OpenConnection};
use super::ports::{PortSpace, PortsTaken};
use super::table::{Queue, Slot};
use super::{Connection, Tracker, TrackerConfig};
use crate::id::{ConnId, NetNs};
use crate::observation::Workload;
use crate::record::{Endpoint, Owner};
use crate::time::MonoNs;

/// Connections in CLOSE_WAIT that are looked at for the oldest of each group; where there are more, a group of which all came
/// later has none that is known.
const CLOSE_WAITS: usize = 100_000;

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

    /// Where this end opens connections to, and how many ephemeral ports are taken there.
    #[must_use]
    pub fn ports(&self) -> HashMap<PortSpace, PortsTaken> {
        let opened = self.table.ports().all().filter(|(.., opened)| *opened);
        opened.map(|(space, taken, _)| (space, taken)).collect()
    }

    /// The newest event time that was observed.
    #[must_use]
    pub fn now(&self) -> MonoNs {
        self.table.now()
    }

    /// How much it may hold.
    #[must_use]
    pub fn config(&self) -> TrackerConfig {
        self.config
    }

    /// Every group's open connections, up to the highest group number that there was; `now` is until when those that are still
    /// there have been.
    #[must_use]
    pub fn population(&self, now: MonoNs) -> Vec<GroupPopulation> {
        let mut groups = self.table.population().all(now);
        let close_wait =
            |group: &GroupPopulation| group.sockets[usize::from(TcpState::CloseWait.raw()) - 1] > 0;
        let mut wanted = groups.iter().filter(|group| close_wait(group)).count();
        for (group, connection) in self.table.grouped(Queue::CloseWait).take(CLOSE_WAITS) {
            if wanted == 0 {
                break;
            }
            if let Some(group) = groups.get_mut(group.0 as usize)
                && group.oldest_close_wait.is_none()
            {
                group.oldest_close_wait = Some(connection.last_seen_at());
                wanted -= 1;
            }
        }
        groups
    }

    /// Puts the connection into the group that it belongs to by what is known now.
    pub(super) fn regroup(&mut self, slot: Slot) {
        let Some(connection) = self.table.get(slot) else { return };
        let workload = self.workloads.get(connection.cgroup());
        let named = workload.is_some();
        let open = OpenConnection { connection, role: self.table.role(slot), workload };
        let group = self.grouping.group(&open);
        self.table.regroup(slot, group, named);
    }

    /// Its cgroup is named by now.
    pub(super) fn is_named(&self, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(|connection| self.workloads.get(connection.cgroup()).is_some())
    }

    fn look(&self, connection: &Connection) -> ClosingConnection {
        let since = entered(connection);
        ClosingConnection {
            conn_id: connection.id(self.boot),
            state: connection.state,
            since,
            seen_since: since.unwrap_or_else(|| connection.last_seen_at()),
            local: connection.tuple.local,
            remote: connection.tuple.remote,
            netns: connection.netns(),
            owner: connection.owner.as_deref().or(connection.holder.as_deref()).copied(),
            workload: self.workloads.of(connection.cgroup()),
        }
    }
}

fn is_closing(state: TcpState) -> bool {
    use TcpState::{CloseWait, Closing, FinWait1, FinWait2, LastAck};
    matches!(state, FinWait1 | FinWait2 | Closing | CloseWait | LastAck)
}

/// When the present state was entered, where that was seen: a dump may have shown another state since.
fn entered(connection: &Connection) -> Option<MonoNs> {
    let steps = connection.trace().iter().rev();
    steps.take_while(|step| step.new == connection.state).last().map(|step| step.at)
}
