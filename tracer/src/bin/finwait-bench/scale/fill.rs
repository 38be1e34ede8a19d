//! Many live connections: what they add to the process.

use anyhow::{Result, ensure};
use clap::Args;

use super::served::Served;
use super::traffic::{SECOND_NS, Script, Traffic};
use super::{memory, scrape};

/// Services of the connections, and processes that have them.
const SERVICES: u64 = 100;
/// Connections a second.
const RATE: u64 = 50_000;
/// Connections taken in between two watermarks.
const BATCH: u64 = 500;

/// Flags of `scale-fill`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct FillArgs {
    /// Connections that are live at once
    #[arg(long)]
    live: u64,
}

/// Prints resident bytes before and after: a third of the connections was opened, a third accepted, and a third was there
/// before finwait.
pub(crate) fn run(args: FillArgs) -> Result<()> {
    let mut served = Served::start(usize::try_from(args.live)?)?;
    let mut script = Script::new(Traffic { services: SERVICES }, SECOND_NS / RATE);
    served.take(&script.begin())?;
    served.scraped(scrape::FORMATS[0].1)?;
    let before = memory::resident("self")?;
    let listed = args.live / 3;
    served.take(&script.dump_begin())?;
    for first in (0..listed).step_by(BATCH as usize) {
        served.take(&script.rows(first..listed.min(first + BATCH)))?;
    }
    served.take(&script.dump_end())?;
    for first in (listed..args.live).step_by(BATCH as usize) {
        for number in first..args.live.min(first + BATCH) {
            script.open(number);
        }
        served.take(&script.watermark())?;
    }
    served.scraped(scrape::FORMATS[0].1)?;
    ensure!(served.live() as u64 == args.live, "{} connections are followed", served.live());
    println!("{before} {}", memory::resident("self")?);
    Ok(())
}
