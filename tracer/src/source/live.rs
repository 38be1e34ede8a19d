//! The running kernel as a source: the probe's records, counters and clocks as observations.
//!
//! Counters are read before the ring is found empty and handed on after what it held, so that a loss that they know of
//! has shown up as a missing number first, where it shows up at all.

use std::sync::Arc;
use std::time::{Duration, Instant};

use finwait_core::observation::{Counters, Host, SCHEMA, TimeWaitSource, Watermark};
use finwait_core::{MonoNs, Observation};

use super::{Polled, Source, SourceError, Take};
use crate::config::Live;
use crate::probe::host::{boot_id, clock_pair, kernel_release, rps};
use crate::probe::sysctls::sysctls;
use crate::probe::{Batch, Decoder, KernelCounters, Probe, ProbeConfig, ProgramCosts, RingReader, Stop};

mod listing;
mod workloads;

use listing::Listing;
use workloads::Workloads;

/// While records keep coming, how often the counters are read.
const COUNTERS_EVERY: Duration = Duration::from_millis(100);
/// How often both clocks are read: the wall clock may be set.
const CLOCKS_EVERY: Duration = Duration::from_secs(10);

/// A program that was running when it was detached has long ended after this.
const RUNS_UNDER_WAY: Duration = Duration::from_millis(2);

/// See the module.
pub struct LiveSource {
    probe: Probe,
    ring: RingReader,
    decoder: Decoder,
    stop: Stop,
    /// What the stream begins with, until it was handed out
    preamble: Vec<Observation>,
    /// Counters that wait until the ring is found empty
    counters: Option<KernelCounters>,
    counted: Option<Instant>,
    clocked: Instant,
    closed: bool,
    /// Room for what is lent
    batch: Vec<Observation>,
    listing: Option<Listing>,
    workloads: Option<Workloads>,
    /// Lost so far, as far as known: more of it wants the table repaired
    lost: u64,
}

impl LiveSource {
    /// Reads what `probe` sends; `stop` ends its waiting.
    ///
    /// # Errors
    /// When the host cannot be named, or the ring has a reader already.
    pub fn new(mut probe: Probe, stop: &Stop) -> Result<Self, SourceError> {
        let ring = probe.take_ring().map_err(SourceError::kernel)?;
        let host = host(&probe)?;
        let decoder = probe.decoder();
        Ok(Self {
            probe,
            ring,
            decoder,
            stop: stop.clone(),
            preamble: vec![Observation::Host(Box::new(host)), Observation::Clock(clock_pair())],
            counters: None,
            counted: None,
            clocked: Instant::now(),
            closed: false,
            batch: Vec::new(),
            listing: None,
            workloads: None,
            lost: 0,
        })
    }

    /// Also lists the sockets of the namespaces that the probe sees: now, after a loss, and for time-wait sockets where no
    /// hook shows them. Call it while privileges last. Where sock_diag is not to be had the stream does without, and the
    /// reason comes back.
    #[must_use]
    pub fn with_listing(self) -> (Self, Option<SourceError>) {
        match Listing::start(self.probe.netns(), self.sweeps()) {
            Ok(listing) => (self.listing_by(listing), None),
            Err(error) => (self.without_listing(), Some(SourceError::kernel(error))),
        }
    }

    fn listing_by(mut self, listing: Listing) -> Self {
        self.listing = Some(listing);
        if let Some(host) = self.host_mut() {
            host.hooks.sockets = true;
        }
        self.preamble.push(Listing::preamble());
        self
    }

    /// The host's line, until it was handed out.
    fn host_mut(&mut self) -> Option<&mut Host> {
        self.preamble.iter_mut().find_map(|observation| match observation {
            Observation::Host(host) => Some(&mut **host),
            _ => None,
        })
    }

    fn sweeps(&self) -> bool {
        self.preamble.iter().any(|observation| {
            matches!(observation, Observation::Host(host) if host.hooks.time_wait == TimeWaitSource::Sweep)
        })
    }

    /// Also names the cgroups that events show.
    #[must_use]
    pub fn with_workloads(mut self) -> Self {
        self.workloads = Workloads::start();
        self
    }

    /// Without a list there are no sweeps either: time-wait sockets are seen nowhere.
    fn without_listing(mut self) -> Self {
        if let Some(host) = self.host_mut().filter(|host| host.hooks.time_wait == TimeWaitSource::Sweep) {
            host.hooks.time_wait = TimeWaitSource::Off;
        }
        self
    }

    /// Attaches the programs and gives up every privilege that is not needed any more. The notes are sentences for
    /// people: why it is not the best tier, what did not go as it should.
    ///
    /// # Errors
    /// When this host does not let it; the message says what to do.
    pub fn open(live: &Live, stop: &Stop) -> Result<(Self, Vec<String>), SourceError> {
        let config = ProbeConfig {
            ring_bytes: live.ring_bytes,
            filter: live.kernel_filter,
            tier: live.tier.into(),
            time_wait: live.time_wait.into(),
        };
        #[cfg(feature = "kernel-log")]
        if live.kernel_log {
            crate::probe::kernel_log::to_stderr();
        }
        let probe = Probe::attach(&config).map_err(SourceError::kernel)?;
        let mut notes = Vec::new();
        if let Some(reason) = probe.fallback_reason() {
            notes.push(format!(
                "without processes and socket details, as the classic trace point alone can be used: {reason}"
            ));
        }
        let (source, unlisted) = Self::new(probe, stop)?.with_listing();
        if let Some(error) = unlisted {
            notes.push(format!("connections from before are known only once they change: {error}"));
        }
        if let Err(error) = source.probe.drop_privileges(&[]) {
            notes.push(format!("privileges are kept that are not needed any more: {error}"));
        }
        // Threads started from here on have nothing left to give up.
        let mut source = source.with_workloads();
        source.ring = source.ring.with_pause(live.wake_pause);
        Ok((source, notes))
    }

    /// The kernel programs' counters as they stand now.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn counters(&self) -> Result<KernelCounters, SourceError> {
        self.probe.counters().map_err(SourceError::kernel)
    }

    /// Reads the ring once. What waits for it to be empty follows if it was found so.
    fn read(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Batch, SourceError> {
        let decoder = &mut self.decoder;
        let begun = batch.len();
        let read = self
            .ring
            .read(&self.stop, timeout, |bytes| {
                // A record that cannot be read is counted by the decoder.
                batch.extend(decoder.decode(bytes));
            })
            .map_err(SourceError::kernel)?;
        #[cfg(feature = "kernel-log")]
        self.probe.flush_kernel_log();
        if let Some(workloads) = &mut self.workloads {
            workloads.ask(&batch[begun..]);
            workloads.answers(batch);
        }
        if let Some(at) = read.watermark {
            self.found_empty(at, batch);
        }
        Ok(read)
    }

    fn found_empty(&mut self, at: MonoNs, batch: &mut Vec<Observation>) {
        if let Some(counters) = self.counters.take() {
            let counters = counters.observation(self.decoder.errors());
            self.note_loss(&counters);
            batch.push(Observation::Counters(Box::new(counters)));
        }
        batch.push(Observation::Watermark(Watermark { at }));
        if let Some(listing) = self.listing.as_mut().filter(|_| !self.closed) {
            let begun = batch.len();
            listing.poll(at, batch);
            if let Some(workloads) = &mut self.workloads {
                workloads.ask(&batch[begun..]);
            }
        }
    }

    /// A repetition by a shadow may hide a miss here for a while; the books do not rest on this.
    fn note_loss(&mut self, counters: &Counters) {
        let missed = counters.recursion_missed.unwrap_or(0).saturating_sub(counters.rescued.unwrap_or(0));
        let lost = counters.lost_ring.saturating_add(counters.decode_errors).saturating_add(missed);
        if lost > self.lost
            && let Some(listing) = &mut self.listing
        {
            listing.repair();
        }
        self.lost = self.lost.max(lost);
    }

    fn count(&mut self) -> Result<(), SourceError> {
        if self.counters.is_none() {
            self.counters = Some(LiveSource::counters(self)?);
            self.counted = Some(Instant::now());
        }
        Ok(())
    }

    fn read_clocks(&mut self, batch: &mut Vec<Observation>) {
        if self.clocked.elapsed() >= CLOCKS_EVERY {
            self.clocked = Instant::now();
            batch.push(Observation::Clock(clock_pair()));
        }
    }

    fn poll_open(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        self.read_clocks(batch);
        if self.counted.is_none_or(|counted| counted.elapsed() >= COUNTERS_EVERY) {
            self.count()?;
        }
        let read = self.read(batch, timeout)?;
        if read.records > 0 || read.watermark.is_none() {
            return Ok(Polled::Events);
        }
        // Nothing came. The counters from before the wait do not cover it, and what closed meanwhile waits for that.
        self.count()?;
        let again = self.read(batch, Duration::ZERO)?;
        Ok(if again.records > 0 { Polled::Events } else { Polled::Idle })
    }

    fn poll_closed(&mut self, batch: &mut Vec<Observation>) -> Result<Polled, SourceError> {
        self.count()?;
        let read = self.read(batch, Duration::ZERO)?;
        Ok(if read.watermark.is_some() { Polled::End } else { Polled::Events })
    }
}

impl Source for LiveSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        if !self.preamble.is_empty() {
            batch.append(&mut self.preamble);
            return Ok(Polled::Events);
        }
        if self.closed { self.poll_closed(batch) } else { self.poll_open(batch, timeout) }
    }

    fn lend(&mut self, timeout: Duration, take: &mut Take<'_>) -> Result<Polled, SourceError> {
        let mut batch = std::mem::take(&mut self.batch);
        let polled = self.poll(&mut batch, timeout);
        batch.drain(..).for_each(|observation| take(&observation));
        self.batch = batch;
        polled
    }

    fn program_costs(&self) -> Option<Arc<ProgramCosts>> {
        Some(self.probe.costs())
    }

    /// Detached first: what the ring still holds is then all there will ever be, and the counters stand still.
    fn close(&mut self) {
        self.probe.detach();
        std::thread::sleep(RUNS_UNDER_WAY);
        self.closed = true;
        // Counters read earlier do not cover what happened since.
        self.counters = None;
    }
}

fn host(probe: &Probe) -> Result<Host, SourceError> {
    Ok(Host {
        schema: SCHEMA,
        boot_id: boot_id().map_err(SourceError::kernel)?,
        kernel: kernel_release(),
        tier: probe.tier(),
        since: probe.since(),
        rps: rps(),
        filtered: probe.is_filtered(),
        hooks: probe.hooks(),
        sysctls: sysctls(),
    })
}
