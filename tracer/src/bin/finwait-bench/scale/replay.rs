//! Connections that come and go, second by second of their own time, as fast as they are taken in: the processor time of
//! each second, with and without a scrape in it.

use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use finwait_core::TrackerConfig;
use rustix::time::{ClockId, clock_gettime};

use super::scrape::{FORMATS, scrape};
use super::served::Served;
use super::traffic::{Load, SECOND_NS, Script, TICKS_A_SECOND, Traffic};
use crate::numbers::{Shuffle, median};

/// The connections of one second are live, and the time-wait sockets of one; with both there, measuring begins.
const LEAD_SECONDS: u64 = 3;

/// Flags of `scale-replay`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ReplayArgs {
    /// Connections that come, and go, each second
    #[arg(long)]
    rate: u64,
    /// Pairs of seconds that are measured, one of each with a scrape
    #[arg(long)]
    pairs: usize,
    /// Groups, at least
    #[arg(long)]
    groups: u64,
}

/// Prints how much of a core a second takes without a scrape, and how much more one with a scrape takes, in percent:
/// medians, the second of the differences within the pairs. The scraper's own share is not counted.
pub(crate) fn run(args: ReplayArgs) -> Result<()> {
    let served = Served::start(TrackerConfig::default().capacity)?;
    let script = Script::new(Traffic::of_groups(args.groups), SECOND_NS / args.rate);
    let mut replay = Replay { served, load: Load::new(script, args.rate) };
    replay.served.take(&replay.load.script.begin())?;
    for _ in 0..LEAD_SECONDS {
        replay.second(true)?;
    }
    let (mut turns, mut shuffle) = ([false, true], Shuffle::new());
    let (mut bare, mut extra) = (Vec::new(), Vec::new());
    for _ in 0..args.pairs {
        shuffle.apply(&mut turns);
        let mut percent = [0.0; 2];
        for scrapes in turns {
            percent[usize::from(scrapes)] = replay.second(scrapes)?.as_secs_f64() * 100.0;
        }
        bare.push(percent[0]);
        extra.push(percent[1] - percent[0]);
    }
    println!("{} {}", median(&bare), median(&extra));
    Ok(())
}

#[derive(Debug)]
struct Replay {
    served: Served,
    load: Load,
}

impl Replay {
    /// The processor time of one second's connections.
    fn second(&mut self, scrapes: bool) -> Result<Duration> {
        let address = self.served.address();
        let before = spent(ClockId::ProcessCPUTime);
        let askers = thread::scope(|scope| {
            let ask = || scrape(address, FORMATS[0].1).map(|_| spent(ClockId::ThreadCPUTime));
            let asker = scrapes.then(|| scope.spawn(ask));
            for _ in 0..TICKS_A_SECOND {
                let batch = self.load.tick();
                self.served.take(&batch)?;
            }
            let Some(asker) = asker else { return Ok(Duration::ZERO) };
            while !asker.is_finished() {
                self.served.between();
                thread::sleep(Duration::from_millis(1));
            }
            asker.join().map_err(|_| anyhow!("the scraper panicked"))?
        })?;
        Ok((spent(ClockId::ProcessCPUTime) - before).saturating_sub(askers))
    }
}

fn spent(clock: ClockId) -> Duration {
    let spent = clock_gettime(clock);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec as u32)
}
