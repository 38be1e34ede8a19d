//! What became of the packets of a capture.

use serde::Serialize;

/// Counted in packets where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CaptureBooks {
    /// All that were read
    pub packets: u64,
    /// Of TCP
    pub segments: u64,
    /// Of nothing that is TCP over IP
    pub other: u64,
    /// On links of a type that is not known here
    pub unknown_link: u64,
    /// Without a time: simple packet blocks
    pub untimed: u64,
    /// Too short to hold their TCP header (snaplen)
    pub cut: u64,
    /// Whose headers contradict themselves
    pub malformed: u64,
    /// First fragments: how much of the segment follows is not known
    pub first_fragments: u64,
    /// Later fragments, which have no TCP header
    pub later_fragments: u64,
    /// Resets of connections that were never seen
    pub strays: u64,
    /// Whose numbers fit no connection of these ends
    pub odd: u64,
    /// That the capturing program says it lost
    pub dropped: u64,
    /// Connections
    pub connections: u64,
    /// Connections that were not over at the end of the capture
    pub unfinished: u64,
    /// Connections of which a FIN was seen and not who was first: the capture begins in the middle of the close, or lacks segments
    pub undecided: u64,
    /// Connections whose ends connected anew before they were over
    pub superseded: u64,
    /// Connections that were silent for too long
    pub idle: u64,
    /// Connections for which there was no room
    pub evicted: u64,
    /// Why the rest of the file could not be read, and where
    pub damage: Option<String>,
}

impl CaptureBooks {
    /// What people should know of it, a sentence each.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        let mut all = vec![format!(
            "read {} packets, {} of TCP, of {} connections, {} of them not over",
            self.packets, self.segments, self.connections, self.unfinished
        )];
        let counts = [
            (self.cut, "cut off within their headers: capture more of each packet (snaplen)"),
            (self.malformed, "malformed"),
            (self.unknown_link, "on links of an unknown type"),
            (self.untimed, "without a time"),
            (self.first_fragments + self.later_fragments, "fragments"),
            (self.odd, "with numbers that fit no connection"),
            (self.dropped, "lost by the capturing program"),
        ];
        let told: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        if !told.is_empty() {
            all.push(format!("of the packets, {}", told.join("; ")));
        }
        if self.undecided > 0 {
            all.push(format!(
                "{} connections closed, and the capture does not show which end was first: not reported",
                self.undecided
            ));
        }
        if self.evicted > 0 {
            all.push(format!("{} connections found no room", self.evicted));
        }
        all.extend(self.damage.clone());
        all
    }
}
