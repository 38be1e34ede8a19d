//! The record of a connection that is over, and what becomes of the room that it took.

use super::Tracker;
use super::table::Slot;
use crate::claim::Reason;
use crate::close::{self, View};
use crate::record::{CloseRecord, Record};

/// Records taken back that are kept for later ones.
pub(super) const TOLD: usize = 64;

impl Tracker {
    /// Takes back a record that has been told: its room is for the next.
    pub fn take_back(&mut self, record: Record) {
        match record {
            Record::Close(record) if self.told.len() < TOLD => self.told.push(record),
            Record::TimeWait(record) => self.time_waits.take_back(record),
            _ => {}
        }
    }

    /// The connection is over, as far as it can be followed.
    pub(super) fn end(&mut self, slot: Slot) {
        self.release(slot);
        let Some(connection) = self.table.get(slot) else { return };
        if connection.is_listener() {
            self.fates.listeners += 1;
        } else {
            self.fates.closed += 1;
            let view =
                View { boot: self.boot, audit: &self.audit, hooks: self.hooks, seen_until: self.newest };
            let workload = self.workloads.of(connection.cgroup());
            let room = || Box::new(CloseRecord::unknown(connection.id(self.boot), Reason::EndNotSeen));
            let mut record = self.told.pop().unwrap_or_else(room);
            close::record(connection, &view, workload, &mut record);
            self.records.push_back(Record::Close(record));
        }
        if let Some(connection) = self.table.get_mut(slot) {
            connection.give_room(&mut self.interned);
        }
        self.table.remove(slot);
    }
}
