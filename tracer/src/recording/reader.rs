//! A recording as a source: what its whole frames hold, in their order.
//!
//! The input is untrusted, and may be several files in a row: those of one run go on where the last ended.

use std::io::{self, BufRead};
use std::time::Duration;

use finwait_core::Observation;
use finwait_core::observation::SCHEMA;

use super::decode::Place;
use super::frame::{FileHeader, FrameHeader, FrameKind, VERSION};
use super::missing::Missing;
use super::pack::Unpacker;
use super::scan::{Damage, Found, Scan};
use super::{Decoder, Fault};
use crate::source::{Polled, RecordingError, Source, SourceError, Take, Unread};

/// Observations lent by one poll: many enough to be cheap, few enough to notice a stop.
const BATCH: u32 = 256;

/// See the module.
pub struct FrameSource {
    scan: Scan<Box<dyn BufRead + Send>>,
    unpacker: Unpacker,
    decoder: Decoder,
    /// Of the frame that is handed out, unpacked
    payload: Vec<u8>,
    current: Option<(FrameHeader, Place)>,
    missing: Missing,
    place: String,
    run: Option<Run>,
    /// Some whole frame was found
    found: bool,
    ended: bool,
}

/// How far a run has been read.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Its number; `None` where the header of its file is damaged
    id: Option<u64>,
    /// Number of the next frame, and observations ahead of it; `None` before the first, where no header told
    next: Option<(u64, u64)>,
    /// Its end, or that of its file, was read
    ended: bool,
    /// Something of it is missing
    broken: bool,
    /// Observations of it have been handed out
    begun: bool,
}

impl FrameSource {
    /// Reads `input`, which messages call `place`.
    ///
    /// # Errors
    /// Where there is no memory.
    pub fn new(input: Box<dyn BufRead + Send>, place: String) -> Result<Self, RecordingError> {
        let unpacker = Unpacker::new().map_err(|source| failed(place.clone(), source))?;
        Ok(Self {
            scan: Scan::new(input),
            unpacker,
            decoder: Decoder::default(),
            payload: Vec::new(),
            current: None,
            missing: Missing::of(place.clone()),
            place,
            run: None,
            found: false,
            ended: false,
        })
    }

    /// A file begins: it goes on with the run that was read, or with another.
    fn file(&mut self, header: FileHeader) -> Result<(), RecordingError> {
        if !(1..=VERSION).contains(&header.version) {
            return Err(RecordingError::Version { place: self.place.clone(), found: header.version });
        }
        if let Some(run) = &mut self.run
            && run.id == Some(header.run)
        {
            run.ended = false;
            return Ok(());
        }
        self.leave();
        // The first file of a run begins at its beginning, whatever did not get into it.
        let next = if header.part == 0 { (0, 0) } else { (header.number, header.before) };
        self.run =
            Some(Run { id: Some(header.run), next: Some(next), ended: false, broken: false, begun: false });
        Ok(())
    }

    /// No more of the run that was read will come.
    fn leave(&mut self) {
        let unfinished = self.run.take().is_some_and(|run| !run.ended);
        self.missing.unfinished += u64::from(unfinished);
    }

    fn damage(&mut self, damage: &Damage) {
        self.missing.damage(damage);
        if let Some(run) = &mut self.run {
            run.broken = true;
        }
    }

    /// Takes in a whole frame, whose observations are handed out afterwards.
    fn frame(&mut self, header: FrameHeader, payload: &[u8]) {
        self.found = true;
        self.follow(&header);
        if let Some(run) = &mut self.run {
            run.ended = matches!(header.kind, FrameKind::End | FrameKind::Continued);
        }
        let place = self.decoder.begin(header.layout, header.observations);
        if self.unpacker.unpack(header.packing, payload, header.unpacked, &mut self.payload) {
            self.current = Some((header, place));
        } else {
            self.senseless(&header, place, Fault::Bad("what is packed in it"));
        }
    }

    /// Lends more of the frame that was taken in, and says how many. A preamble is judged as a whole.
    fn lend_some(
        &mut self,
        header: FrameHeader,
        mut place: Place,
        take: &mut Take<'_>,
    ) -> Result<u32, RecordingError> {
        let (mut lent, mut schema) = (0, None);
        let mut checked = |observation: &Observation| {
            schema = schema.or(other_schema(observation));
            if schema.is_none() {
                lent += 1;
                take(observation);
            }
        };
        let decoded = if header.kind == FrameKind::Preamble {
            let (known, broken) = self.run.map_or((false, false), |run| (run.begun, run.broken));
            let mut preamble = Vec::new();
            let all = &mut |observation: &Observation| preamble.push(observation.clone());
            let decoded = self.decoder.some(&self.payload, &mut place, u32::MAX, all);
            let wanted = |observation: &&Observation| !known || broken && is_name(observation);
            preamble.iter().filter(wanted).for_each(checked);
            decoded
        } else {
            self.decoder.some(&self.payload, &mut place, BATCH, &mut checked)
        };
        if let Some(found) = schema {
            return Err(RecordingError::Schema { place: self.place.clone(), found });
        }
        if let Some(run) = &mut self.run {
            run.begun |= lent > 0;
        }
        match decoded {
            Ok(()) => self.current = (place.left > 0).then_some((header, place)),
            Err(fault) => self.senseless(&header, place, fault),
        }
        Ok(lent)
    }

    /// Counts what is left of a whole frame that makes no sense.
    fn senseless(&mut self, header: &FrameHeader, place: Place, fault: Fault) {
        self.current = None;
        if let Some(run) = &mut self.run {
            run.broken = true;
        }
        let counts = header.kind == FrameKind::Observations;
        self.missing.gap(1, if counts { place.left.into() } else { 0 });
        self.missing.damages += 1;
        let detail = format!("frame {}: {fault}", header.number);
        self.missing.first.get_or_insert((self.scan.offset(), detail));
    }

    /// Takes note of what is missing ahead of this frame.
    fn follow(&mut self, header: &FrameHeader) {
        let after = (header.number.saturating_add(1), header.after());
        let new = Run { id: None, next: None, ended: false, broken: false, begun: false };
        let mut run = self.run.unwrap_or(new);
        match run.next {
            Some((number, _)) if header.number < number => {
                // The header of another run's file is damaged.
                self.leave();
                run = new;
            }
            Some((number, before)) if header.number > number => {
                run.broken = true;
                self.missing.gap(header.number - number, header.before.saturating_sub(before));
            }
            _ => {}
        }
        run.next = Some(after);
        self.run = Some(run);
    }

    /// Finds the next frame; or there is none, now or at all.
    fn look_on(&mut self) -> Result<Option<Polled>, RecordingError> {
        match self.scan.find().map_err(|source| failed(self.place.clone(), source))? {
            Found::File(header) => self.file(header)?,
            Found::Frame(header, payload) => self.frame(header, &payload),
            Found::Damage(damage) => self.damage(&damage),
            Found::Pending => return Ok(Some(Polled::Idle)),
            Found::End => return self.end().map(Some),
        }
        Ok(None)
    }

    fn end(&mut self) -> Result<Polled, RecordingError> {
        self.leave();
        self.ended = true;
        if self.found {
            return Ok(Polled::End);
        }
        let detail = "it has no whole frame".to_owned();
        Err(RecordingError::NoRecording { place: self.place.clone(), detail })
    }
}

/// What a preamble tells that may be new after damage; the rest was read before.
fn is_name(observation: &Observation) -> bool {
    matches!(observation, Observation::Clock(_) | Observation::Cgroup(_))
}

fn failed(place: String, source: io::Error) -> RecordingError {
    RecordingError::Io { action: "read", place, source }
}

fn other_schema(observation: &Observation) -> Option<u32> {
    match observation {
        Observation::Host(host) if host.schema != SCHEMA => Some(host.schema),
        _ => None,
    }
}

impl Source for FrameSource {
    fn poll(&mut self, batch: &mut Vec<Observation>, timeout: Duration) -> Result<Polled, SourceError> {
        self.lend(timeout, &mut |observation| batch.push(observation.clone()))
    }

    /// A frame, or a part of it, at a time.
    fn lend(&mut self, _timeout: Duration, take: &mut Take<'_>) -> Result<Polled, SourceError> {
        while !self.ended {
            if let Some((header, place)) = self.current.take() {
                if self.lend_some(header, place, take)? > 0 {
                    return Ok(Polled::Events);
                }
            } else if let Some(polled) = self.look_on()? {
                return Ok(polled);
            }
        }
        Ok(Polled::End)
    }

    fn close(&mut self) {
        self.ended = true;
    }

    fn unread(&self) -> Option<Unread> {
        self.missing.is_any().then(|| Unread::Frames(self.missing.clone()))
    }
}
