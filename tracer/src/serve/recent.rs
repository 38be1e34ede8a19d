//! The closes of late, newest last, each with what became of its time-wait socket. Bounded by number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use finwait_core::ConnId;
use finwait_core::record::{CloseRecord, TimeWaitRecord};

use super::feed::Told;

/// A close that is kept.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Counts up; what pages begin before
    pub(super) number: u64,
    pub(super) close: Arc<CloseRecord>,
    pub(super) time_wait: Option<Arc<TimeWaitRecord>>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Recent {
    closes: VecDeque<Kept>,
    numbers: HashMap<ConnId, u64>,
    next: u64,
    limit: usize,
}

/// Some of them.
#[derive(Debug)]
pub(super) struct Page {
    /// Newest first
    pub(super) closes: Vec<Kept>,
    /// Before which number the next page begins; `None` where there is none
    pub(super) next: Option<u64>,
}

impl Recent {
    pub(super) fn new(limit: usize) -> Self {
        Self { closes: VecDeque::new(), numbers: HashMap::new(), next: 0, limit: limit.max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.closes.len()
    }

    pub(super) fn take(&mut self, told: Told) {
        match told {
            Told::Close(close) => self.close(close),
            Told::TimeWait(record) => {
                if let Some(kept) = self.numbers.get(&record.conn_id).copied().and_then(|n| self.at_mut(n)) {
                    kept.time_wait = Some(record);
                }
            }
        }
    }

    fn close(&mut self, close: Arc<CloseRecord>) {
        if self.closes.len() >= self.limit
            && let Some(oldest) = self.closes.pop_front()
            && self.numbers.get(&oldest.close.conn_id) == Some(&oldest.number)
        {
            self.numbers.remove(&oldest.close.conn_id);
        }
        self.numbers.insert(close.conn_id, self.next);
        self.closes.push_back(Kept { number: self.next, close, time_wait: None });
        self.next += 1;
    }

    fn at_mut(&mut self, number: u64) -> Option<&mut Kept> {
        let place = number.checked_sub(self.closes.front()?.number)?;
        self.closes.get_mut(usize::try_from(place).ok()?)
    }

    /// The close of the connection whose id is written `text`, and that of its other end where that is kept too.
    pub(super) fn find(&self, text: &str) -> Option<(&Kept, Option<&Kept>)> {
        let found = self.closes.iter().rev().find(|kept| kept.close.conn_id.to_string() == text)?;
        Some((found, self.closes.iter().rev().find(|other| are_two_ends(&found.close, &other.close))))
    }

    /// At most `limit` of those older than `before` that `fits`, of the whole if that is `None`.
    pub(super) fn page(&self, before: Option<u64>, limit: usize, fits: impl Fn(&Kept) -> bool) -> Page {
        let older = self.closes.iter().rev().filter(|kept| before.is_none_or(|before| kept.number < before));
        let mut closes: Vec<Kept> = older.filter(|kept| fits(kept)).take(limit + 1).cloned().collect();
        let more = closes.len() > limit;
        closes.truncate(limit);
        Page { next: closes.last().filter(|_| more).map(|kept| kept.number), closes }
    }
}

/// Each names the other's ends, in one network namespace or across two, and their lives overlap.
fn are_two_ends(one: &CloseRecord, other: &CloseRecord) -> bool {
    let began = |close: &CloseRecord| close.steps.first().map(|step| step.at);
    let overlap =
        |one: &CloseRecord, other: &CloseRecord| began(one).is_some_and(|at| at <= other.last_seen_at);
    one.conn_id != other.conn_id
        && one.local.port.is_some()
        && one.remote.port.is_some()
        && (one.local, one.remote) == (other.remote, other.local)
        && overlap(one, other)
        && overlap(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests as samples;

    fn close(number: u64) -> Arc<CloseRecord> {
        let mut close = samples::close();
        close.conn_id.generation = number;
        Arc::new(close)
    }

    fn recent(limit: usize, closes: u64) -> Recent {
        let mut recent = Recent::new(limit);
        (0..closes).for_each(|number| recent.take(Told::Close(close(number))));
        recent
    }

    fn generations(page: &Page) -> Vec<u64> {
        page.closes.iter().map(|kept| kept.close.conn_id.generation).collect()
    }

    #[test]
    fn the_newest_are_kept_and_read_page_by_page() {
        let recent = recent(5, 8);
        assert_eq!(recent.len(), 5);
        let first = recent.page(None, 2, |_| true);
        assert_eq!(generations(&first), [7, 6]);
        let second = recent.page(first.next, 2, |_| true);
        let third = recent.page(second.next, 2, |_| true);
        assert_eq!((generations(&second), generations(&third), third.next), (vec![5, 4], vec![3], None));
        let even = recent.page(None, 10, |kept| kept.close.conn_id.generation % 2 == 0);
        assert_eq!((generations(&even), even.next), (vec![6, 4], None));
    }

    #[test]
    fn what_became_of_the_time_wait_socket_is_added_while_the_close_is_kept() {
        let mut recent = recent(3, 5);
        let told = |generation| {
            let mut record = samples::time_wait();
            record.conn_id = ConnId { generation, ..samples::conn_id() };
            Told::TimeWait(Arc::new(record))
        };
        recent.take(told(4));
        recent.take(told(0));
        let text = close(4).conn_id.to_string();
        assert!(recent.find(&text).unwrap().0.time_wait.is_some());
        assert!(recent.find(&close(3).conn_id.to_string()).unwrap().0.time_wait.is_none());
        assert!(recent.find(&close(0).conn_id.to_string()).is_none(), "it is kept no more");
    }

    #[test]
    fn the_other_end_is_the_one_that_names_this_one() {
        let mut recent = recent(10, 2);
        let mut mirrored = CloseRecord::clone(&close(77));
        (mirrored.local, mirrored.remote) = (mirrored.remote, mirrored.local);
        recent.take(Told::Close(Arc::new(mirrored)));
        let (_, other) = recent.find(&close(1).conn_id.to_string()).unwrap();
        assert_eq!(other.unwrap().close.conn_id.generation, 77);
    }
}
