//! Answers under way. What a client asked for and does not take stays in memory, so there is room for so many bytes of them
//! all together; who asks when it is full is refused, and before anything is made for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const PAGE_BYTES: usize = 4096;
/// 64 MiB.
const ROOM_PAGES: u32 = 16_384;

/// See the module.
#[derive(Debug)]
pub(super) struct Answers {
    room: Arc<Semaphore>,
    /// Pages of the last answer: the next one will hardly be smaller
    expected: AtomicU32,
}

/// Room for an answer that is being made.
#[derive(Debug)]
pub(super) struct Place<'a> {
    answers: &'a Answers,
    permit: OwnedSemaphorePermit,
}

/// Bytes that give their room back when the last part of them was sent, or the client is gone.
struct Held {
    bytes: Vec<u8>,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Default for Answers {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(ROOM_PAGES as usize)), expected: AtomicU32::new(1) }
    }
}

impl Answers {
    /// Room for an answer like the last one; `None` while others fill it.
    pub(super) fn reserve(&self) -> Option<Place<'_>> {
        let pages = self.expected.load(Ordering::Relaxed);
        let permit = self.room.clone().try_acquire_many_owned(pages).ok()?;
        Some(Place { answers: self, permit })
    }
}

impl Place<'_> {
    /// The answer; `None` where it is larger than was expected, and there is no room for that.
    pub(super) fn hold(mut self, answer: impl Into<Vec<u8>>) -> Option<Bytes> {
        let mut bytes = answer.into();
        // It grew by doubling: what it did not fill would be kept too.
        bytes.shrink_to_fit();
        let pages = pages_of(&bytes);
        self.answers.expected.store(pages, Ordering::Relaxed);
        let reserved = u32::try_from(self.permit.num_permits()).unwrap_or(ROOM_PAGES);
        if let Some(more) = pages.checked_sub(reserved).filter(|more| *more > 0) {
            self.permit.merge(self.answers.room.clone().try_acquire_many_owned(more).ok()?);
        } else {
            // What is not needed goes back at once.
            drop(self.permit.split((reserved - pages) as usize));
        }
        Some(Bytes::from_owner(Held { bytes, _permit: self.permit }))
    }
}

/// One that is larger than all the room takes all of it.
fn pages_of(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len().div_ceil(PAGE_BYTES)).map_or(ROOM_PAGES, |pages| pages.clamp(1, ROOM_PAGES))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of `share` of all the room.
    fn answer(answers: &Answers, share: f64) -> Option<Bytes> {
        let bytes = (f64::from(ROOM_PAGES) * share) as usize * PAGE_BYTES;
        answers.reserve()?.hold("a".repeat(bytes))
    }

    #[test]
    fn answers_that_nobody_takes_are_bounded_and_their_room_comes_back() {
        let answers = Answers::default();
        let kept: Vec<_> = (0..4).map(|_| answer(&answers, 0.25).unwrap()).collect();
        assert!(answers.reserve().is_none(), "it is full");
        let part = kept[0].slice(..10);
        drop(kept);
        let rest: Vec<_> = (0..3).map(|_| answer(&answers, 0.25).unwrap()).collect();
        assert!(answer(&answers, 0.25).is_none(), "a part that is still to be sent holds the whole");
        drop((part, rest));
        assert_eq!(answers.room.available_permits(), ROOM_PAGES as usize);
    }

    #[test]
    fn one_that_grows_beyond_the_room_is_refused_and_one_beyond_all_room_is_sent_alone() {
        let answers = Answers::default();
        let half = answer(&answers, 0.5).unwrap();
        assert!(answer(&answers, 0.75).is_none());
        drop(half);
        let all = answer(&answers, 1.5).unwrap();
        assert!(answers.reserve().is_none());
        drop(all);
        assert_eq!(answer(&answers, 0.0).unwrap().len(), 0);
        assert_eq!(answers.room.available_permits(), ROOM_PAGES as usize);
    }
}
