//! A packet capture as a source: pcap or pcapng. It infers the states of both ends of each connection from their segments and
//! tells them as a kernel would; the tracker never sees a packet.
//!
//! What is inferred is what passed the capture point. Times are those at which it passed there, as CLOCK_MONOTONIC the
//! nanoseconds since 1970. Everything that only a kernel knows is absent, so that no claim rests on it.

use std::io::BufRead;
use std::time::Duration;

use finwait_core::observation::{Counters, Hooks, Host, SCHEMA, Sysctls, Tier, Watermark};
use finwait_core::{BootId, ClockPair, MonoNs, Observation, WallNs};

use super::{Polled, RecordingError, Source, SourceError, Take};

mod books;
mod bytes;
mod classic;
mod emit;
mod file;
mod flow;
mod flows;
mod input;
mod ip;
mod link;
mod ng;
mod segment;
mod side;
#[cfg(test)]
mod tests;

pub use books::CaptureBooks;
use file::{Format, Next, Packet};
use flows::Flows;
use input::Input;
use ip::Held;
use link::Below;

pub(super) use file::is_capture;

/// Packets read by one poll: few enough that what they show stays in the processor's caches until it is taken.
const BATCH: usize = 256;
/// Connections followed at once: both ends of all of them fill the tracker's table.
const CAPACITY: usize = 131_072;

/// See the module.
pub struct PcapSource {
    input: Input,
    format: Format,
    place: String,
    flows: Flows,
    books: CaptureBooks,
    /// The newest time so far; `None` until the stream was begun
    newest: Option<MonoNs>,
    /// Room for what is lent
    batch: Vec<Observation>,
    ended: bool,
}

impl PcapSource {
    /// Reads `input`, which messages call `place`.
    #[must_use]
    pub fn new(input: Box<dyn BufRead + Send>, place: String) -> Self {
        Self::with_capacity(input, place, CAPACITY)
    }

    fn with_capacity(input: Box<dyn BufRead + Send>, place: String, connections: usize) -> Self {
        Self {
            input: Input::new(input),
            format: Format::Unknown,
            place,
            flows: Flows::new(connections),
            books: CaptureBooks::default(),
            newest: None,
            batch: Vec::new(),
            ended: false,
        }
    }

    /// What became of the packets so far.
    #[must_use]
    pub fn books(&self) -> &CaptureBooks {
        &self.books
    }

    /// Reads packets, and says what stopped that before [`BATCH`] of them.
    fn read(&mut self, batch: &mut Vec<Observation>) -> Result<Option<Next>, RecordingError> {
        for _ in 0..BATCH {
            let next = self.format.next(&mut self.input).map_err(|source| RecordingError::Io {
                action: "read",
                place: self.place.clone(),
                source,
            })?;
            match next {
                Next::Packet(packet) => {
                    self.packet(&packet, batch);
                    self.input.consume(packet.whole);
                }
                Next::Dropped(packets) => self.books.dropped = self.books.dropped.saturating_add(packets),
                stopped => return Ok(Some(stopped)),
            }
        }
        Ok(None)
    }

    fn packet(&mut self, packet: &Packet, batch: &mut Vec<Observation>) {
        self.books.packets += 1;
        let Some(at) = packet.at else {
            self.books.untimed += 1;
            return;
        };
        self.pass(at, batch);
        let frame = self.input.front().get(packet.data.clone()).unwrap_or_default();
        let on_wire = usize::try_from(packet.wire_bytes).unwrap_or(usize::MAX);
        let below = link::strip(packet.link, frame);
        let held = match below {
            Below::Ip(ip) => ip::read(ip, on_wire.saturating_sub(frame.len())),
            Below::Cut => Held::Cut,
            Below::Other => Held::Other,
            Below::UnknownLink => {
                self.books.unknown_link += 1;
                return;
            }
        };
        let segment = match held {
            Held::Segment(segment) => segment,
            Held::FirstFragment(segment) => {
                self.books.first_fragments += 1;
                segment
            }
            nothing => return self.count(nothing),
        };
        self.books.segments += 1;
        self.flows.take(&segment, self.books.packets, at, &mut self.books);
        batch.append(&mut self.flows.out.ready);
    }

    fn count(&mut self, held: Held) {
        let count = match held {
            Held::LaterFragment => &mut self.books.later_fragments,
            Held::Cut => &mut self.books.cut,
            Held::Malformed => &mut self.books.malformed,
            Held::Other | Held::Segment(_) | Held::FirstFragment(_) => &mut self.books.other,
        };
        *count += 1;
    }

    /// The first time begins the stream.
    fn pass(&mut self, at: MonoNs, batch: &mut Vec<Observation>) {
        if self.newest.is_none() {
            batch.push(Observation::Host(Box::new(host(at))));
            batch.push(Observation::Clock(ClockPair { mono: at, wall: WallNs(at.0) }));
        }
        self.newest = self.newest.max(Some(at));
    }

    /// Nothing older will come, as far as the capture's clock runs forward. What the capture lacks is no loss of transitions: an end of
    /// which segments are missing shows it by its numbers, and the rest by its books.
    fn mark(&self, batch: &mut Vec<Observation>) {
        let Some(at) = self.newest else { return };
        batch.push(Observation::Counters(Box::new(Counters {
            at,
            transitions: self.flows.out.transitions(),
            recursion_missed: Some(0),
            rescued: Some(0),
            ..Counters::default()
        })));
        batch.push(Observation::Watermark(Watermark { at }));
    }

    fn end(&mut self, damage: Option<&str>, batch: &mut Vec<Observation>) {
        self.ended = true;
        self.books.damage = damage.map(|detail| {
            format!("{} could not be read beyond byte {}: {detail}", self.place, self.input.offset())
        });
        self.books.unfinished = self.flows.unfinished();
        self.books.undecided += self.flows.undecided();
        if self.newest.is_none() {
            self.pass(MonoNs(0), batch);
        }
    }
}

impl Source for PcapSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, _timeout: Duration) -> Result<Polled, SourceError> {
        if self.ended {
            return Ok(Polled::End);
        }
        let stopped = self.read(batch)?;
        let polled = match stopped {
            None => Polled::Events,
            Some(Next::Pending) => Polled::Idle,
            Some(Next::Damaged(detail)) => {
                self.end(Some(detail), batch);
                Polled::End
            }
            Some(_) => {
                self.end(None, batch);
                Polled::End
            }
        };
        self.mark(batch);
        Ok(polled)
    }

    /// The room of what was lent is for what comes next.
    fn lend(&mut self, timeout: Duration, take: &mut Take<'_>) -> Result<Polled, SourceError> {
        let mut batch = std::mem::take(&mut self.batch);
        let polled = self.poll(&mut batch, timeout);
        batch.iter().for_each(take);
        self.flows.out.room.take_back(&mut batch);
        self.batch = batch;
        polled
    }

    fn close(&mut self) {
        self.ended = true;
    }

    fn capture(&self) -> Option<&CaptureBooks> {
        Some(&self.books)
    }
}

/// There is no host; the capture has no boot and no kernel.
fn host(since: MonoNs) -> Host {
    Host {
        schema: SCHEMA,
        boot_id: BootId::default(),
        kernel: "packet capture".to_owned(),
        tier: Tier::Capture,
        since,
        rps: None,
        filtered: false,
        hooks: Hooks::default(),
        sysctls: Sysctls::default(),
    }
}
