//! Dumps of the sockets that there are: connections that were there before, and those that ended unseen.

use super::Tracker;
use crate::observation::{DumpBegin, DumpEnd, DumpScope, SocketRow};

impl Tracker {
    pub(super) fn dump_begin(&mut self, begin: &DumpBegin) {
        if begin.scope == DumpScope::TimeWait {
            self.time_waits.dump_begin(begin);
        }
    }

    pub(super) fn row(&mut self, row: &SocketRow) {
        if row.mini {
            self.time_waits.row(row);
        }
    }

    pub(super) fn dump_end(&mut self, end: &DumpEnd) {
        if end.scope == DumpScope::TimeWait {
            self.time_waits.dump_end(end);
        }
    }
}
