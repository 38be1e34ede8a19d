//! Scrapes over HTTP, as Prometheus makes them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::served::Served;
use super::traffic::{SECOND_NS, Script, Traffic};
use crate::numbers::median;

/// Formats, by what a scraper asks for.
pub(super) const FORMATS: [(&str, &str); 3] = [
    ("OpenMetrics", "application/openmetrics-text;version=1.0.0"),
    ("text", "text/plain;version=0.0.4"),
    ("protobuf", PROTOBUF),
];
const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
/// A snapshot that is no older serves again: a scrape after this has a new one made.
const FRESH: Duration = Duration::from_millis(300);
/// Timed ones.
const SCRAPES: usize = 21;
/// Connections a second.
const RATE: u64 = 10_000;
/// Closes in each group.
const CLOSES: u64 = 100;

/// Flags of `scale-scrape`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ScrapeArgs {
    /// Groups, at least
    #[arg(long)]
    groups: u64,
    /// The Accept header
    #[arg(long)]
    accept: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Scraped {
    /// From connect() to the last byte
    pub(super) took: Duration,
    /// Of the body and the headers
    pub(super) bytes: usize,
}

/// Asks for the metrics and reads them to the end.
pub(super) fn scrape(address: SocketAddr, accept: &str) -> Result<Scraped> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(address).context("connecting")?;
    let request =
        format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).context("asking")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("reading")?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 "),
        "{}",
        String::from_utf8_lossy(&answer[..answer.len().min(200)])
    );
    Ok(Scraped { took: start.elapsed(), bytes: answer.len() })
}

/// Prints the median of the milliseconds that a scrape takes, and its bytes.
pub(crate) fn run(args: &ScrapeArgs) -> Result<()> {
    let mut served = Served::start(finwait_core::TrackerConfig::default().capacity)?;
    let mut script = Script::new(Traffic::of_groups(args.groups), SECOND_NS / RATE);
    served.take(&script.begin())?;
    for first in (0..args.groups * CLOSES).step_by(100) {
        (first..first + 100).for_each(|number| script.open(number));
        (first..first + 100).for_each(|number| script.close(number));
        (first..first + 100).for_each(|number| script.end_time_wait(number));
        served.take(&script.watermark())?;
    }
    served.scraped(&args.accept)?;
    let (mut times, mut bytes) = (Vec::new(), 0);
    for _ in 0..SCRAPES {
        sleep(FRESH);
        let scraped = served.scraped(&args.accept)?;
        times.push(scraped.took.as_secs_f64() * 1e3);
        bytes = scraped.bytes;
    }
    println!("{} {bytes}", median(&times));
    Ok(())
}
