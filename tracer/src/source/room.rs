//! Room of transitions that nobody needs any more, for the next ones: a capture has millions of them, and a few hundred at a
//! time.

use finwait_core::Observation;
use finwait_core::observation::StateChange;

/// See the module.
#[derive(Debug, Default)]
#[allow(clippy::vec_box, reason = "the boxes themselves are used again")]
pub(crate) struct Room(Vec<Box<StateChange>>);

impl Room {
    /// `change` in room that was used before, if there is some.
    pub(crate) fn put(&mut self, change: StateChange) -> Box<StateChange> {
        match self.0.pop() {
            Some(mut room) => {
                *room = change;
                room
            }
            None => Box::new(change),
        }
    }

    /// Empties `batch` and keeps the room of its transitions.
    pub(crate) fn take_back(&mut self, batch: &mut Vec<Observation>) {
        self.0.extend(batch.drain(..).filter_map(|observation| match observation {
            Observation::StateChange(change) => Some(change),
            _ => None,
        }));
    }
}
