//! What a recording says it has and does not have any more.

use std::fmt;

use super::scan::Damage;

/// See the module. All is told for the whole input, which may be several files in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Path, or stdin
    pub place: String,
    /// Places that are damaged
    pub damages: u64,
    /// Bytes at all of them
    pub bytes: u64,
    /// Where the first of them is, and what is wrong there
    pub first: Option<(u64, String)>,
    /// Frames that are missing by their numbers, or make no sense
    pub frames: u64,
    /// Observations that were in them
    pub observations: u64,
    /// Recordings that do not end: finwait was stopped by force, still writes, or the end was cut off
    pub unfinished: u64,
}

impl Missing {
    pub(super) fn of(place: String) -> Self {
        Self { place, ..Self::default() }
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.count() > 0 || self.unfinished > 0
    }

    /// How much could not be read: observations, as far as their number is known.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.observations.max(self.frames).max(self.damages)
    }

    pub(super) fn damage(&mut self, damage: &Damage) {
        self.damages += 1;
        self.bytes = self.bytes.saturating_add(damage.bytes);
        self.first.get_or_insert_with(|| (damage.at, damage.what.to_string()));
    }

    /// Frames that are not there. They hold no more than 64 bits can count, whatever a header says.
    pub(super) fn gap(&mut self, frames: u64, observations: u64) {
        self.frames = self.frames.saturating_add(frames);
        self.observations = self.observations.saturating_add(observations);
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some((at, what)) = &self.first {
            parts.push(format!(
                "{} damaged, {}; the first is at byte {at}: {what}",
                counted(self.damages, "place is", "places are"),
                counted(self.bytes, "byte", "bytes in all"),
            ));
        }
        if self.frames > 0 {
            parts.push(format!(
                "{} with {} {} missing",
                counted(self.frames, "frame", "frames"),
                counted(self.observations, "observation", "observations"),
                if self.frames == 1 { "is" } else { "are" },
            ));
        }
        if self.unfinished > 0 {
            parts.push("it has no end, so what came last may be missing".to_owned());
        }
        write!(f, "{}: {}", self.place, parts.join("; "))
    }
}

fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
