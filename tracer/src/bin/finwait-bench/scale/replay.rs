//! Connections that come and go at an even pace, with and without scrapes: the processor time of it all.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use rustix::time::{ClockId, clock_gettime};

use super::scrape::{FORMATS, scrape};
use super::served::Served;
use super::traffic::{Script, Traffic};

/// The loop is woken up this often at most, as it is by the ring.
const TICK: Duration = Duration::from_millis(5);
const TICKS_A_SECOND: u64 = 200;
/// The connections of one second are live, and the time-wait sockets of one; with both there, measuring begins.
const LEAD_SECONDS: u64 = 2;

/// Flags of `scale-replay`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ReplayArgs {
    /// Connections that come, and go, each second
    #[arg(long)]
    rate: u64,
    /// Seconds that are measured
    #[arg(long)]
    seconds: u64,
    /// Groups, at least
    #[arg(long)]
    groups: u64,
    /// Scrape every second
    #[arg(long)]
    scrape: bool,
}

/// Prints how much of a core it took, in percent; the scraper's own share is not counted.
pub(crate) fn run(args: ReplayArgs) -> Result<()> {
    let mut served = Served::start(finwait_core::TrackerConfig::default().capacity)?;
    let mut pace = Pace::new(Script::new(Traffic::of_groups(args.groups)), args.rate);
    served.take(&pace.script.begin())?;
    pace.go(&mut served, LEAD_SECONDS)?;
    let (address, done) = (served.address(), &AtomicBool::new(false));
    thread::scope(|scope| {
        let asker = args.scrape.then(|| scope.spawn(move || scrape_every_second(address, done)));
        let before = spent(ClockId::ProcessCPUTime);
        let paced = pace.go(&mut served, args.seconds);
        let after = spent(ClockId::ProcessCPUTime);
        done.store(true, Ordering::Release);
        let (scrapes, askers) = match asker {
            Some(asker) => {
                // The last one may still wait for the loop.
                while !asker.is_finished() {
                    served.between();
                    thread::sleep(TICK);
                }
                asker.join().map_err(|_| anyhow!("the scraper panicked"))??
            }
            None => (0, Duration::ZERO),
        };
        paced?;
        ensure!(!args.scrape || scrapes >= args.seconds, "{scrapes} scrapes in {} s", args.seconds);
        let own = (after - before).saturating_sub(askers);
        println!("{}", own.as_secs_f64() / args.seconds as f64 * 100.0);
        Ok(())
    })
}

/// How many there were until `done`, and the processor time that this thread spent on them.
fn scrape_every_second(address: SocketAddr, done: &AtomicBool) -> Result<(u64, Duration)> {
    let (start, mut scrapes) = (Instant::now(), 0);
    while !done.load(Ordering::Acquire) {
        // In the middle of each second.
        let due = Duration::from_millis(500) + Duration::from_secs(scrapes);
        if start.elapsed() < due {
            thread::sleep(TICK);
            continue;
        }
        scrape(address, FORMATS[0].1)?;
        scrapes += 1;
    }
    Ok((scrapes, spent(ClockId::ThreadCPUTime)))
}

fn spent(clock: ClockId) -> Duration {
    let spent = clock_gettime(clock);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec as u32)
}

/// Each tick opens its share of connections, closes those of a second ago and ends the time-waits of two seconds ago.
struct Pace {
    script: Script,
    rate: u64,
    opened: u64,
}

impl Pace {
    fn new(script: Script, rate: u64) -> Self {
        Self { script, rate, opened: 0 }
    }

    fn go(&mut self, served: &mut Served, seconds: u64) -> Result<()> {
        let (start, mut late) = (Instant::now(), Duration::ZERO);
        for tick in 0..seconds * TICKS_A_SECOND {
            let due = TICK * u32::try_from(tick)?;
            match due.checked_sub(start.elapsed()) {
                Some(early) => thread::sleep(early),
                None => late = start.elapsed() - due,
            }
            let batch = self.tick();
            served.take(&batch)?;
        }
        ensure!(late < Duration::from_secs(1), "the pace could not be kept: {late:?} late");
        Ok(())
    }

    fn tick(&mut self) -> Vec<finwait_core::Observation> {
        let first = self.opened;
        self.opened += self.rate / TICKS_A_SECOND;
        for number in first..self.opened {
            self.script.open(number);
            if let Some(number) = number.checked_sub(self.rate) {
                self.script.close(number);
            }
            if let Some(number) = number.checked_sub(2 * self.rate) {
                self.script.end_time_wait(number);
            }
        }
        self.script.watermark()
    }
}
