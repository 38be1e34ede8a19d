//! The ways in which any bytes get into finwait, each as one function. Fuzzers call them, and so does the test of the seeds
//! (`tracer/tests/seeds.rs`), which needs no fuzzer.
//!
//! What they take in goes the whole way: through the tracker into every form of output. Each returns how many observations
//! it found; what is wrong shows as a panic, as memory without end, or as time without end.

use std::io::{self, Cursor};
use std::time::Duration;

use finwait_core::{Observation, Tracker, TrackerConfig};
use jiff::tz::TimeZone;
use tracer::config::Subject;
use tracer::filter::Filter;
use tracer::recording::frame::{FILE_HEADER, FILE_MAGIC, FRAME_HEADER, FRAME_MAGIC, Layout, checksum};
use tracer::recording::{Decoder, Encoder, FrameSource};
use tracer::sink::{Context, CsvSink, ExplainSink, Explaining, Form, JsonSink, Look, Sink, Style, TableSink};
use tracer::source::{FileSource, PcapSource, Polled, Source};

/// Takes any bytes and says how many observations it found.
pub type Entry = fn(&[u8]) -> usize;

/// Every entry by its name, which is also that of its seeds' folder.
pub const ENTRIES: [(&str, Entry); 6] = [
    ("recording", recording),
    ("frames", frames),
    ("payload", payload),
    ("capture", capture),
    ("packet", packet),
    ("text", text),
];

/// Observations of one input that are read: a packed frame holds more than are of interest.
const MOST: usize = 20_000;

/// A file as `-r` takes it, whatever it is.
pub fn recording(bytes: &[u8]) -> usize {
    drain(&mut FileSource::new(Box::new(Cursor::new(bytes.to_vec())), PLACE.to_owned()))
}

/// A recording whose checksums are put right first: no fuzzer guesses them.
pub fn frames(bytes: &[u8]) -> usize {
    let input = Box::new(Cursor::new(sealed(bytes.to_vec())));
    FrameSource::new(input, PLACE.to_owned()).map_or(0, |mut source| drain(&mut source))
}

/// A frame's payload behind the number of its observations, in every layout. What is read of it is the same when it was written and
/// read again.
pub fn payload(bytes: &[u8]) -> usize {
    let Some((count, payload)) = bytes.split_first_chunk() else { return 0 };
    let count = u32::from_le_bytes(*count);
    [Layout::V1, Layout::V2].map(|layout| payload_of(layout, count, payload)).iter().sum()
}

fn payload_of(layout: Layout, count: u32, payload: &[u8]) -> usize {
    let mut batch = Vec::new();
    if Decoder::default().decode(layout, payload, count, &mut batch).is_err() {
        assert!(batch.is_empty(), "a payload that is refused yields nothing");
        return 0;
    }
    let mut encoder = Encoder::default();
    batch.iter().for_each(|observation| encoder.push(observation));
    let mut again = Vec::new();
    let decoded =
        Decoder::default().decode(Layout::V2, encoder.payload(), encoder.observations(), &mut again);
    assert_eq!((decoded, &again), (Ok(()), &batch));
    let mut through = Through::default();
    through.take(&batch);
    through.finish();
    batch.len()
}

/// A packet capture of either format.
pub fn capture(bytes: &[u8]) -> usize {
    drain(&mut PcapSource::new(Box::new(Cursor::new(bytes.to_vec())), PLACE.to_owned()))
}

/// Packets on a link whose type the first byte chooses. Each begins with three bytes: how long it is, how much of it the capture cut
/// off, milliseconds since the last.
pub fn packet(bytes: &[u8]) -> usize {
    capture(&pcap(bytes))
}

/// Lines behind one that names the host. What is read of them is the same when it was written and read again.
pub fn text(bytes: &[u8]) -> usize {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(observation) = serde_json::from_slice::<Observation>(line) {
            let written = serde_json::to_vec(&observation);
            let again = written.and_then(|written| serde_json::from_slice(&written));
            assert_eq!(again.ok(), Some(observation));
        }
    }
    recording(&[HOST, bytes].concat())
}

/// Records of one input that are written: those that follow take other ways in the tracker, not in the sinks.
const WRITTEN: usize = 64;

/// What messages call the input.
const PLACE: &str = "fuzz";

const HOST: &[u8] = br#"{"observation":"host","schema":1,"boot_id":"4f1c09ab-2f3a-4b5c-8d6e-7f8091a2b3c4","kernel":"6.18.44","tier":"tp_btf","time_ns":5}
"#;

/// LINKTYPE_… that [`packet`] chooses from; the last is none that finwait knows.
const LINKS: [u32; 11] = [1, 0, 12, 14, 101, 108, 113, 228, 229, 276, 147];

fn pcap(bytes: &[u8]) -> Vec<u8> {
    let Some((link, mut rest)) = bytes.split_first() else { return Vec::new() };
    let link = LINKS[usize::from(*link) % LINKS.len()];
    let mut file: Vec<u8> =
        [0xa1b2_3c4d, 0x0004_0002, 0, 0, 65_535, link].into_iter().flat_map(u32::to_le_bytes).collect();
    let mut at_ms = 1_700_000_000_000u64;
    while let Some(([length, cut, gap_ms], packet)) = rest.split_first_chunk() {
        let (packet, behind) = packet.split_at(packet.len().min((*length).into()));
        at_ms += u64::from(*gap_ms);
        let (seconds, ns) = ((at_ms / 1000) as u32, (at_ms % 1000) as u32 * 1_000_000);
        let kept = packet.len() as u32;
        file.extend([seconds, ns, kept, kept + u32::from(*cut)].into_iter().flat_map(u32::to_le_bytes));
        file.extend(packet);
        rest = behind;
    }
    file
}

/// Puts the checksums right of every header that is there whole, and of every payload.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &mut bytes[at..];
        at += if rest.starts_with(&FRAME_MAGIC) && rest.len() >= FRAME_HEADER {
            let (header, payload) = rest.split_at_mut(FRAME_HEADER);
            let stored = header[28..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
            let stored = stored.min(payload.len());
            header[28..32].copy_from_slice(&(stored as u32).to_le_bytes());
            header[36..40].copy_from_slice(&checksum(&payload[..stored]).to_le_bytes());
            seal(header);
            FRAME_HEADER + stored
        } else if rest.starts_with(&FILE_MAGIC) && rest.len() >= FILE_HEADER {
            seal(&mut rest[..FILE_HEADER]);
            FILE_HEADER
        } else {
            1
        };
    }
    bytes
}

fn seal(header: &mut [u8]) {
    let sum = checksum(&header[..40]);
    header[40..44].copy_from_slice(&sum.to_le_bytes());
}

/// Reads `source` to its end, or to [`MOST`].
fn drain(source: &mut dyn Source) -> usize {
    let (mut through, mut batch, mut seen) = (Through::default(), Vec::new(), 0);
    while seen < MOST {
        let polled = source.poll(&mut batch, Duration::ZERO);
        seen += batch.len();
        through.take(&batch);
        batch.clear();
        if !matches!(polled, Ok(Polled::Events | Polled::Idle)) {
            break;
        }
    }
    drop(source.unread().map(|unread| unread.to_string()));
    through.finish();
    seen
}

/// The tracker, and what is written of its records.
struct Through {
    tracker: Tracker,
    context: Context,
    sinks: Vec<Box<dyn Sink>>,
    written: usize,
}

impl Default for Through {
    fn default() -> Self {
        let out = || Box::new(io::sink());
        let look = |subject, wide| Look {
            subject,
            width: 100,
            wide,
            colour: wide,
            time: wide,
            timestamp: wide,
            zone: TimeZone::UTC,
        };
        let explaining = Explaining {
            conn_id: None,
            filter: Filter::default(),
            count: None,
            time_waits: true,
            form: Form::Text(Style { width: 100, ascii: true, evidence: true, colour: false }),
            zone: TimeZone::UTC,
        };
        // Small tables, so that they are full now and then.
        let config = TrackerConfig { capacity: 8, time_waits: 8, ..TrackerConfig::default() };
        Self {
            tracker: Tracker::new(config),
            context: Context::default(),
            sinks: vec![
                Box::new(JsonSink::new(out())),
                Box::new(CsvSink::new(out(), Subject::Closes)),
                Box::new(TableSink::new(out(), look(Subject::States, false))),
                Box::new(TableSink::new(out(), look(Subject::Closes, true))),
                Box::new(ExplainSink::new(out(), explaining)),
            ],
            written: 0,
        }
    }
}

impl Through {
    fn take(&mut self, batch: &[Observation]) {
        for observation in batch {
            if self.context.learn(observation) {
                self.sinks.iter_mut().for_each(|sink| sink.context(&self.context));
            }
            self.tracker.observe(observation);
            self.records();
        }
    }

    fn records(&mut self) {
        while let Some(record) = self.tracker.next_record() {
            self.written += 1;
            if self.written > WRITTEN {
                continue;
            }
            for sink in &mut self.sinks {
                assert!(sink.record(&record).is_ok(), "nothing keeps a record from being written");
            }
        }
    }

    fn finish(mut self) {
        self.tracker.finish();
        self.records();
        for sink in &mut self.sinks {
            sink.ended(&self.tracker);
        }
        let fates = self.tracker.fates();
        let sum = fates.closed + fates.listeners + fates.evicted + fates.unfollowed + fates.open;
        assert_eq!(sum, fates.begun, "{fates:?}");
    }
}
