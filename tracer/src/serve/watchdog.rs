//! systemd's watchdog. The HTTP thread asks for a sign of life twice in each of its intervals, and wakes up the loop for it; the loop
//! gives it. So there is none where either thread stands still, and systemd starts finwait anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::service;
use crate::probe::Stop as Waker;

/// An interval so short that nobody means it must not keep both threads busy.
const SHORTEST: Duration = Duration::from_millis(1);

/// The side of the HTTP thread.
#[derive(Debug)]
pub(super) struct Heart {
    asked: Arc<AtomicBool>,
    waker: Waker,
    every: Duration,
}

/// The loop's side. Where systemd expects nothing, it is never asked.
#[derive(Clone, Debug)]
pub struct Watchdog {
    asked: Arc<AtomicBool>,
}

/// Both sides, for a watchdog that bites after `interval`; no heart beats where there is none. `waker` wakes up the loop.
pub(super) fn open(interval: Option<Duration>, waker: &Waker) -> (Option<Heart>, Watchdog) {
    let asked = Arc::<AtomicBool>::default();
    let heart = interval.filter(|interval| !interval.is_zero()).map(|interval| Heart {
        asked: asked.clone(),
        waker: waker.clone(),
        every: (interval / 2).max(SHORTEST),
    });
    (heart, Watchdog { asked })
}

impl Heart {
    /// Beats for as long as the runtime that it was spawned on gets on.
    pub(super) async fn beat(self) {
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.asked.store(true, Ordering::Release);
            self.waker.nudge();
        }
    }
}

impl Watchdog {
    /// Gives systemd a sign of life, if one was asked for: for the loop, each time it goes round.
    pub fn answer(&self) {
        if self.is_due() {
            service::notify_alive();
        }
    }

    /// Whether one was asked for since the last time.
    fn is_due(&self) -> bool {
        self.asked.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Instant;

    const INTERVAL: Duration = Duration::from_millis(40);
    /// Time for many beats.
    const LONG: Duration = Duration::from_millis(400);

    /// A thread such as that of HTTP, on which the heart beats; it stands still for [`LONG`] after each message.
    fn http(heart: Heart) -> std::sync::mpsc::Sender<()> {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                tokio::spawn(heart.beat());
                loop {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    if receiver.try_recv().is_ok() {
                        thread::sleep(LONG);
                    }
                }
            });
        });
        sender
    }

    /// Signs of life that a loop gives in `time` while it goes round.
    fn signs(watchdog: &Watchdog, waker: &Waker, time: Duration) -> u32 {
        let (signs, end) = (AtomicU32::new(0), Instant::now() + time);
        while Instant::now() < end {
            waker.wait();
            signs.fetch_add(u32::from(watchdog.is_due()), Ordering::Relaxed);
        }
        signs.into_inner()
    }

    #[test]
    fn signs_come_twice_in_an_interval_while_both_threads_get_on() {
        let waker = Waker::new().unwrap();
        let (heart, watchdog) = open(Some(INTERVAL), &waker);
        let _http = http(heart.unwrap());
        let signs = signs(&watchdog, &waker, LONG);
        // The clock of a busy machine may be late, never early.
        assert!((5..=21).contains(&signs), "{signs}");
    }

    #[test]
    fn a_loop_that_stood_still_gave_no_sign_and_gives_one_when_it_gets_on() {
        let waker = Waker::new().unwrap();
        let (heart, watchdog) = open(Some(INTERVAL), &waker);
        let _http = http(heart.unwrap());
        thread::sleep(LONG);
        assert!(watchdog.is_due() && !watchdog.is_due(), "one, not one for each that is overdue");
    }

    #[test]
    fn no_sign_is_asked_for_while_http_stands_still() {
        let waker = Waker::new().unwrap();
        let (heart, watchdog) = open(Some(INTERVAL), &waker);
        let http = http(heart.unwrap());
        assert!(signs(&watchdog, &waker, INTERVAL) > 0);
        http.send(()).unwrap();
        thread::sleep(INTERVAL);
        watchdog.is_due();
        thread::sleep(LONG / 2);
        assert!(!watchdog.is_due());
    }

    #[test]
    fn without_a_watchdog_nothing_beats() {
        let waker = Waker::new().unwrap();
        for interval in [None, Some(Duration::ZERO)] {
            let (heart, watchdog) = open(interval, &waker);
            assert!(heart.is_none() && !watchdog.is_due());
        }
    }
}
