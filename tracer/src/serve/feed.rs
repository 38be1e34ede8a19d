//! Records on their way from the loop to whoever looks at single closes. Bounded: what finds no room, or comes faster than
//! anybody could look at, is counted and passed over; the summaries have it all the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use finwait_core::Record;
use finwait_core::record::{CloseRecord, TimeWaitRecord};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Records that wait to be taken in.
const WAITING: usize = 4096;
/// Closes taken in of one second: copying each of 50,000 would cost the loop more than all the rest.
const A_SECOND: u32 = 2000;
const SECOND_NS: u64 = 1_000_000_000;

/// What is handed over.
#[derive(Clone, Debug)]
pub(super) enum Told {
    Close(Arc<CloseRecord>),
    TimeWait(Arc<TimeWaitRecord>),
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Feed {
    sender: Sender<Told>,
    skipped: Arc<AtomicU64>,
    /// Nothing is passed over: a recording can wait
    patient: bool,
    second: u64,
    in_second: u32,
}

/// Both ends, and the count of closes that were passed over.
pub(super) fn open(patient: bool) -> (Feed, Receiver<Told>, Arc<AtomicU64>) {
    let (sender, receiver) = channel(WAITING);
    let skipped = Arc::new(AtomicU64::new(0));
    let feed = Feed { sender, skipped: skipped.clone(), patient, second: 0, in_second: 0 };
    (feed, receiver, skipped)
}

impl Feed {
    /// Hands `record` on, if there is room.
    pub(super) fn offer(&mut self, record: &Record) {
        match record {
            Record::Close(close) => self.close(close),
            Record::BothEnds(both) => {
                self.close(&both.opener_side);
                self.close(&both.acceptor_side);
            }
            Record::TimeWait(record) => {
                // Its close is told all the same.
                let _ = self.send(Told::TimeWait(Arc::new(TimeWaitRecord::clone(record))));
            }
            Record::Transition(_) => {}
        }
    }

    fn close(&mut self, close: &CloseRecord) {
        let second = close.last_seen_at.0 / SECOND_NS;
        if second != self.second {
            (self.second, self.in_second) = (second, 0);
        }
        self.in_second = self.in_second.saturating_add(1);
        let wanted = self.patient || self.in_second <= A_SECOND;
        if !wanted || !self.send(Told::Close(Arc::new(close.clone()))) {
            self.skipped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether it was taken. Nobody takes anything any more when finwait ends.
    fn send(&self, told: Told) -> bool {
        if self.patient {
            self.sender.blocking_send(told).is_ok()
        } else {
            self.sender.try_send(told).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests as samples;
    use finwait_core::MonoNs;

    fn close(at: u64) -> Record {
        Record::Close(Box::new(CloseRecord { last_seen_at: MonoNs(at), ..samples::close() }))
    }

    #[test]
    fn what_nobody_could_look_at_is_counted_and_passed_over() {
        let (mut feed, mut receiver, skipped) = open(false);
        (0..3000).for_each(|n| feed.offer(&close(SECOND_NS + n)));
        assert_eq!(skipped.load(Ordering::Relaxed), 1000, "more than in a second are wanted");
        (0..3).for_each(|second| (0..2000).for_each(|_| feed.offer(&close((second + 2) * SECOND_NS))));
        let taken = std::iter::from_fn(|| receiver.try_recv().ok()).count();
        assert_eq!(taken, WAITING);
        assert_eq!(skipped.load(Ordering::Relaxed), 9000 - WAITING as u64, "no room is left");
    }
}
