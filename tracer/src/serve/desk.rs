//! Where the loop hands out snapshots. Asks are few and bounded; whoever comes soon after another gets the same one; and when
//! the loop does not answer in time, the last one is served, with its age.

use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::probe::Stop as Waker;

/// A snapshot younger than this serves whoever asks.
const FRESH: Duration = Duration::from_millis(250);
/// How long the loop is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Asks that wait for the loop: only one is under way, unless its asker gave up.
const ASKS: usize = 8;

type Reply<S> = oneshot::Sender<Arc<S>>;
type Last<S> = Arc<Mutex<Option<(Instant, Arc<S>)>>>;

/// The side of those who ask.
#[derive(Debug)]
pub struct Desk<S> {
    asks: SyncSender<Reply<S>>,
    waker: Waker,
    last: Last<S>,
    /// When the loop was last asked; held while it is
    asked: tokio::sync::Mutex<Option<Instant>>,
}

/// The loop's side.
#[derive(Debug)]
pub struct Clerk<S> {
    asks: Receiver<Reply<S>>,
    last: Last<S>,
}

/// A snapshot and how old it is.
#[derive(Debug)]
pub struct Served<S> {
    /// The snapshot
    pub snapshot: Arc<S>,
    /// Since it was taken
    pub age: Duration,
}

/// Both sides. `waker` wakes up the loop.
pub(super) fn open<S>(waker: Waker) -> (Desk<S>, Clerk<S>) {
    let (sender, receiver) = sync_channel(ASKS);
    let last = Last::default();
    let clerk = Clerk { asks: receiver, last: last.clone() };
    (Desk { asks: sender, waker, last, asked: tokio::sync::Mutex::new(None) }, clerk)
}

impl<S> Desk<S> {
    /// The newest snapshot to be had; `None` before the loop has begun.
    pub async fn snapshot(&self) -> Option<Served<S>> {
        let mut asked = self.asked.lock().await;
        if asked.is_none_or(|at| at.elapsed() >= FRESH) {
            self.ask().await;
            *asked = Some(Instant::now());
        }
        drop(asked);
        self.last()
    }

    /// The last snapshot, without asking for a new one.
    pub fn last(&self) -> Option<Served<S>> {
        let last = lock(&self.last);
        let (taken, snapshot) = last.as_ref()?;
        Some(Served { snapshot: snapshot.clone(), age: taken.elapsed() })
    }

    /// The loop puts its answer where all find it; here only its coming is waited for.
    async fn ask(&self) {
        let (reply, answer) = oneshot::channel();
        // Full: the loop is stuck. Gone: it has ended, and its last snapshot stays.
        if self.asks.try_send(reply).is_ok() {
            self.waker.nudge();
            // Too late or never, both mean that the last one has to do.
            let _ = tokio::time::timeout(PATIENCE, answer).await;
        }
    }
}

impl<S> Clerk<S> {
    /// Answers all who wait, with what `take` makes; it is not called when nobody does.
    pub fn answer(&self, take: impl FnOnce() -> S) {
        let first = match self.asks.try_recv() {
            Ok(reply) => reply,
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
        };
        let snapshot = self.publish(take());
        for reply in std::iter::once(first).chain(self.asks.try_iter()) {
            // Whoever gave up meanwhile finds it as the last one.
            let _ = reply.send(snapshot.clone());
        }
    }

    /// Makes `snapshot` the last one, asked for or not.
    pub fn publish(&self, snapshot: S) -> Arc<S> {
        let snapshot = Arc::new(snapshot);
        *lock(&self.last) = Some((Instant::now(), snapshot.clone()));
        snapshot
    }
}

/// Nothing is left half done under this lock: a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    fn served(desk: &Desk<u32>) -> Option<u32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(desk.snapshot()).map(|served| *served.snapshot)
    }

    fn desk() -> (Desk<u32>, Clerk<u32>) {
        open(Waker::new().unwrap())
    }

    #[test]
    fn a_loop_that_answers_is_asked_once_for_all_who_come_together() {
        let (desk, clerk) = desk();
        let (taken, done) = (AtomicU32::new(0), AtomicU32::new(0));
        let (desk, taken, done) = (&desk, &taken, &done);
        thread::scope(|scope| {
            scope.spawn(move || {
                while done.load(Ordering::Acquire) < 4 {
                    clerk.answer(|| taken.fetch_add(1, Ordering::AcqRel) + 1);
                    thread::sleep(Duration::from_millis(1));
                }
            });
            for _ in 0..4 {
                scope.spawn(move || {
                    assert!(served(desk).is_some());
                    done.fetch_add(1, Ordering::AcqRel);
                });
            }
        });
        assert_eq!(taken.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_loop_that_does_not_answer_leaves_the_last_snapshot() {
        let (desk, clerk) = desk();
        assert_eq!(served(&desk), None);
        clerk.publish(7);
        let before = Instant::now();
        thread::sleep(FRESH);
        assert_eq!(served(&desk), Some(7));
        assert!(before.elapsed() < 2 * PATIENCE);
        drop(clerk);
        thread::sleep(FRESH);
        let before = Instant::now();
        assert_eq!(served(&desk), Some(7), "the loop has ended");
        assert!(before.elapsed() < PATIENCE);
    }
}
