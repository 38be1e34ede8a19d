//! Room of events that nobody needs any more, for the next ones: a file has millions of them, and a few hundred at a time.

use finwait_core::Observation;
use finwait_core::observation::{AcceptEvent, StateChange, TimeWaitEvent};

/// See the module.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
pub(crate) struct Room {
    changes: Vec<Box<StateChange>>,
    accepts: Vec<Box<AcceptEvent>>,
    time_waits: Vec<Box<TimeWaitEvent>>,
}

impl Room {
    /// `change` in room that was used before, if there is some.
    pub(crate) fn put(&mut self, change: StateChange) -> Box<StateChange> {
        put(&mut self.changes, change)
    }

    /// Likewise.
    #[inline]
    pub(crate) fn put_accept(&mut self, event: AcceptEvent) -> Box<AcceptEvent> {
        put(&mut self.accepts, event)
    }

    /// Likewise.
    #[inline]
    pub(crate) fn put_time_wait(&mut self, event: TimeWaitEvent) -> Box<TimeWaitEvent> {
        put(&mut self.time_waits, event)
    }

    /// Room of a transition, with what was there before.
    #[inline]
    pub(crate) fn used(&mut self) -> Option<Box<StateChange>> {
        self.changes.pop()
    }

    /// Empties `batch` and keeps the room of its events.
    pub(crate) fn take_back(&mut self, batch: &mut Vec<Observation>) {
        for observation in batch.drain(..) {
            match observation {
                Observation::StateChange(change) => self.changes.push(change),
                Observation::Accept(event) => self.accepts.push(event),
                Observation::TimeWait(event) => self.time_waits.push(event),
                _ => {}
            }
        }
    }
}

#[inline]
#[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
fn put<T>(spare: &mut Vec<Box<T>>, event: T) -> Box<T> {
    match spare.pop() {
        Some(mut room) => {
            *room = event;
            room
        }
        None => Box::new(event),
    }
}
