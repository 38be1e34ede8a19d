//! What a transition of a known connection changes, and the record of the transition itself.

use tracer_common::TcpState;

use super::connection::{Connection, Ends};
use super::table::Slot;
use super::time_wait::Lent;
use super::{Audit, Tracker, own_cookie, queue_of};
use crate::claim::{Claim, Evidence, Reason};
use crate::close;
use crate::observation::StateChange;
use crate::record::{Owner, Record, TransitionRecord};

impl Tracker {
    pub(super) fn step(&mut self, slot: Slot, change: &StateChange, ends: Ends) {
        let actor = actor(change);
        let Some(connection) = self.table.get_mut(slot) else { return };
        let broken = connection.last().is_some_and(|last| last.new != change.old);
        let in_old_state_ns = self.config.transitions.then(|| in_old_state(connection, change, &self.audit));
        let learned = connection.apply(change, ends, actor.value(), &mut self.interned);
        // As long as it shows no port it is in no group of its own.
        let learned = learned.what
            || learned.who && self.by_owner
            || change.old == TcpState::SynRecv && connection.tuple.local.port.is_none();
        let record = in_old_state_ns.map(|in_old_state_ns| {
            Box::new(TransitionRecord {
                conn_id: connection.id(self.boot),
                change: change.clone(),
                local: connection.tuple.local,
                remote: connection.tuple.remote,
                actor,
                owner: connection.owner.as_deref().copied(),
                in_old_state_ns,
                chain_broken: broken,
            })
        });
        self.chain_breaks += u64::from(broken);
        if let Some(record) = record {
            self.tell(slot, record);
        }
        if change.new == TcpState::Close {
            self.leave_time_wait(slot);
        }
        let states = (change.old, change.new);
        let moved = self.table.step(slot, queue_of(change.new), states);
        if change.new != TcpState::Close {
            if learned || moved.role_learned || !moved.named && self.is_named(slot) {
                self.regroup(slot);
            }
            if self.time_waits.may_be_taken(change)
                && let Some(connection) = self.table.get(slot)
            {
                self.time_waits.opening(connection, change);
            }
        }
        self.table.arrive(slot, states, self.hooks.accepts);
    }

    /// A connection that ends may leave a time-wait socket behind, which keeps its port.
    fn leave_time_wait(&mut self, slot: Slot) {
        if !self.time_waits.watches() {
            return;
        }
        let Some((connection, role, held, ports)) = self.table.ending(slot) else { return };
        let from_fin_wait2 = close::time_wait_from_fin_wait2(connection);
        let mut lent = Lent { audit: &self.audit, ports };
        self.time_waits.closed(connection, from_fin_wait2, (role, held), &mut lent);
    }

    /// A child that still carries its listener's cookie has no name yet: its first record waits for the second.
    fn tell(&mut self, slot: Slot, record: Box<TransitionRecord>) {
        let nameless = !own_cookie(&record.change) && record.change.cookie.is_some();
        let Some(connection) = self.table.get(slot) else { return };
        if nameless {
            self.held.insert(slot, record);
            return;
        }
        let (id, tuple) = (connection.id(self.boot), connection.tuple);
        if let Some(mut held) = self.held.remove(&slot) {
            (held.conn_id, held.local, held.remote) = (id, tuple.local, tuple.remote);
            self.records.push_back(Record::Transition(held));
        }
        self.records.push_back(Record::Transition(record));
    }

    pub(super) fn release(&mut self, slot: Slot) {
        if let Some(held) = self.held.remove(&slot) {
            self.records.push_back(Record::Transition(held));
        }
    }
}

/// The task that made the transition: only where it held the socket's lock and is no kernel thread.
fn actor(change: &StateChange) -> Claim<Owner> {
    match (change.lock_owned, &change.task) {
        (None, _) | (Some(true), None) => Claim::Unknown(Reason::FieldAbsent),
        (Some(false), _) => Claim::Unknown(Reason::NoTask),
        (Some(true), Some(task)) if task.kthread == Some(true) => Claim::Unknown(Reason::NoTask),
        (Some(true), Some(task)) => Claim::known(Owner::from(task), [Evidence::LockOwned]),
    }
}

fn in_old_state(connection: &Connection, change: &StateChange, audit: &Audit) -> Claim<u64> {
    let Some(last) = connection.last() else { return Claim::Unknown(Reason::SeenFromMiddle) };
    if last.new != change.old {
        return Claim::Unknown(Reason::TransitionMissing);
    }
    if audit.lost_between(last.at, change.at) && !connection.proves_same(change) {
        return Claim::Unknown(Reason::LossInInterval);
    }
    let entered = connection
        .trace()
        .iter()
        .rev()
        .take_while(|trace| trace.new == change.old)
        .last()
        .map_or(last.at, |trace| trace.at);
    match change.at.since(entered) {
        Some(ns) => Claim::known(ns, [Evidence::UnbrokenChain]),
        None => Claim::Unknown(Reason::TimeBackwards),
    }
}
