//! `finwait serve` without a source: tracker, aggregator, desk and HTTP as they are there.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use finwait_core::{Observation, Tracker, TrackerConfig};
use tracer::probe::Stop;
use tracer::serve::{self, Listening, ServeSink, Web};
use tracer::sink::{Context, Sink};
use tracer::stats::Grouping;

use super::scrape::{Scraped, scrape};

/// The loop's share; HTTP is on a thread of its own.
#[derive(Debug)]
pub(super) struct Served {
    tracker: Tracker,
    sink: ServeSink,
    context: Context,
    address: SocketAddr,
}

impl Served {
    /// As the flags' defaults have it, but for `capacity` connections.
    pub(super) fn start(capacity: usize) -> Result<Self> {
        let config = TrackerConfig { capacity, transitions: false, ..TrackerConfig::default() };
        let listening = Listening::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listening.address();
        let web = Web {
            listen: address,
            max_requests: 40,
            allowed_hosts: Vec::new(),
            recent_closes: 4096,
            redaction: tracer::redact::Redaction::Off,
            replay: false,
        };
        let (sink, _) = serve::start(listening, &web, Grouping::default(), config.time_waits, &Stop::new()?)?;
        let grouping = sink.grouping().context("serving groups connections")?;
        let tracker = Tracker::with_grouping(config, grouping);
        Ok(Self { tracker, sink, context: Context::default(), address })
    }

    /// What the loop does with a batch.
    pub(super) fn take(&mut self, batch: &[Observation]) -> Result<()> {
        for observation in batch {
            self.tracker.observe(observation);
            if self.context.learn(observation) {
                self.sink.context(&self.context);
            }
            while let Some(record) = self.tracker.next_record() {
                self.sink.record(&record)?;
            }
        }
        self.between();
        Ok(())
    }

    /// What the loop does between two batches.
    pub(super) fn between(&mut self) {
        self.sink.between(&self.tracker);
    }

    /// Connections followed now.
    pub(super) fn live(&self) -> usize {
        self.tracker.open_connections()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// A scrape while the loop has nothing else to do.
    pub(super) fn scraped(&mut self, accept: &str) -> Result<Scraped> {
        let (address, done) = (self.address, &AtomicBool::new(false));
        thread::scope(|scope| {
            let asker = scope.spawn(move || {
                let scraped = scrape(address, accept);
                done.store(true, Ordering::Release);
                scraped
            });
            while !done.load(Ordering::Acquire) {
                self.between();
                thread::sleep(Duration::from_micros(50));
            }
            asker.join().map_err(|_| anyhow!("the scraper panicked"))?.context("scraping")
        })
    }
}
