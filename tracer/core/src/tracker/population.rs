//! How many connections of each group are in each state, for how long they have been, and how many were opened: kept up at
//! each transition, so that asking costs nothing. What the groups are is not known here.

use std::fmt::Debug;
use std::sync::Arc;

use tracer_common::TcpState;

use super::Connection;
use crate::id::NetNs;
use crate::observation::Workload;
use crate::record::{Endpoint, Owner, Role};
use crate::time::MonoNs;

const STATES: usize = TcpState::ALL.len();

/// A group of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(pub u32);

/// What of a connection that has not ended may decide its group, as far as it is known by now.
#[derive(Clone, Copy, Debug)]
pub struct OpenConnection<'a> {
    pub(super) connection: &'a Connection,
    pub(super) role: Option<Role>,
    pub(super) workload: Option<&'a Arc<Workload>>,
}

impl OpenConnection<'_> {
    /// Its state.
    #[inline]
    #[must_use]
    pub fn state(&self) -> TcpState {
        self.connection.state
    }

    /// Which end opened.
    #[inline]
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Local end.
    #[inline]
    #[must_use]
    pub fn local(&self) -> Endpoint {
        self.connection.tuple.local
    }

    /// Remote end.
    #[inline]
    #[must_use]
    pub fn remote(&self) -> Endpoint {
        self.connection.tuple.remote
    }

    /// Network namespace.
    #[inline]
    #[must_use]
    pub fn netns(&self) -> Option<NetNs> {
        self.connection.netns()
    }

    /// Who opened it, or accepted, or closed, or had a descriptor of it, in this order.
    #[inline]
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.connection.known_owner()
    }

    /// What its cgroup is called.
    #[inline]
    #[must_use]
    pub fn workload(&self) -> Option<&Workload> {
        self.workload.map(Arc::as_ref)
    }
}

/// Decides groups. Asked when a connection begins, and when what is known of it changes; its state alone is no such change.
pub trait Grouping: Debug + Send {
    /// The group of `connection`. Group numbers are small: a table is as long as the highest.
    fn group(&mut self, connection: &OpenConnection<'_>) -> GroupId;

    /// Whether its owner may decide a connection's group. Where not, nobody asks again because of that. Always the same.
    fn is_by_owner(&self) -> bool {
        true
    }
}

/// Everything is one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ungrouped;

impl Grouping for Ungrouped {
    fn group(&mut self, _: &OpenConnection<'_>) -> GroupId {
        GroupId::default()
    }

    fn is_by_owner(&self) -> bool {
        false
    }
}

/// One group, in the order of [`TcpState::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPopulation {
    /// Connections that reached ESTABLISHED; accepted ones from accept() on, where that is seen
    pub opened: u64,
    /// Sockets now, listeners included; mini-sockets are none of them
    pub sockets: [u64; STATES],
    /// Time that sockets have spent so far, those still there included
    pub state_ns: [u128; STATES],
    /// Last event of the one that has been in CLOSE_WAIT for longest
    pub oldest_close_wait: Option<MonoNs>,
}

/// Sockets in one state: the sum over those still there is their number times now, less the sum of when they came.
#[derive(Clone, Copy, Debug, Default)]
struct Stay {
    sockets: u64,
    came_ns: u128,
    passed_ns: u128,
}

impl Stay {
    fn enter(&mut self, at: MonoNs) {
        self.sockets += 1;
        self.came_ns += u128::from(at.0);
    }

    fn leave(&mut self, came: MonoNs, at: MonoNs) {
        self.sockets = self.sockets.saturating_sub(1);
        self.came_ns = self.came_ns.saturating_sub(u128::from(came.0));
        self.passed_ns += u128::from(at.since(came).unwrap_or(0));
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Group {
    opened: u64,
    stays: [Stay; STATES],
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Population(Vec<Group>);

impl Population {
    #[inline]
    pub(super) fn enter(&mut self, group: GroupId, state: TcpState, at: MonoNs) {
        self.stay(group, state).enter(at);
    }

    #[inline]
    pub(super) fn leave(&mut self, group: GroupId, state: TcpState, came: MonoNs, at: MonoNs) {
        self.stay(group, state).leave(came, at);
    }

    /// One of `group` that came into the first state at `came` passes on to the second.
    #[inline]
    pub(super) fn pass(
        &mut self,
        group: GroupId,
        (from, to): (TcpState, TcpState),
        came: MonoNs,
        at: MonoNs,
    ) {
        let stays = &mut self.group(group).stays;
        stays[place(from)].leave(came, at);
        stays[place(to)].enter(at);
    }

    pub(super) fn opened(&mut self, group: GroupId) {
        self.group(group).opened += 1;
    }

    pub(super) fn sockets(&self, state: TcpState) -> u64 {
        self.0.iter().map(|group| group.stays[place(state)].sockets).sum()
    }

    /// Every group up to the highest number, with the time up to `now`.
    pub(super) fn all(&self, now: MonoNs) -> Vec<GroupPopulation> {
        let of = |group: &Group| GroupPopulation {
            opened: group.opened,
            sockets: group.stays.map(|stay| stay.sockets),
            state_ns: group.stays.map(|stay| {
                let still = (u128::from(stay.sockets) * u128::from(now.0)).saturating_sub(stay.came_ns);
                stay.passed_ns + still
            }),
            oldest_close_wait: None,
        };
        self.0.iter().map(of).collect()
    }

    #[inline]
    fn stay(&mut self, group: GroupId, state: TcpState) -> &mut Stay {
        &mut self.group(group).stays[place(state)]
    }

    #[inline]
    fn group(&mut self, group: GroupId) -> &mut Group {
        let place = group.0 as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, Group::default());
        }
        &mut self.0[place]
    }
}

/// In [`TcpState::ALL`].
fn place(state: TcpState) -> usize {
    usize::from(state.raw()) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use TcpState::{CloseWait, Established};

    #[test]
    fn states_stand_in_the_order_of_their_numbers() {
        for (index, state) in TcpState::ALL.into_iter().enumerate() {
            assert_eq!(place(state), index);
        }
    }

    #[test]
    fn time_in_a_state_is_that_of_those_who_left_and_of_those_still_there() {
        let mut population = Population::default();
        let (first, second) = (GroupId(0), GroupId(2));
        population.enter(first, Established, MonoNs(100));
        population.enter(first, Established, MonoNs(150));
        population.enter(second, Established, MonoNs(150));
        population.leave(first, Established, MonoNs(100), MonoNs(400));
        population.enter(first, CloseWait, MonoNs(400));
        let all = population.all(MonoNs(1000));
        assert_eq!(all.len(), 3);
        assert_eq!(all[0].state_ns[place(Established)], 300 + 850);
        assert_eq!(all[0].state_ns[place(CloseWait)], 600);
        assert_eq!(all[2].state_ns[place(Established)], 850);
        assert_eq!((all[0].sockets[place(Established)], population.sockets(Established)), (1, 2));
    }
}
