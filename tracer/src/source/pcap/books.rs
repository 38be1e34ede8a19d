//! What became of the packets of a capture.

use serde::Serialize;

use crate::sink::human::{count, counted};

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
        let connections = |n| counted(n, "connection", "connections");
        let mut all = vec![format!(
            "read {}, {} of TCP; {}, {} of them not over",
            counted(self.packets, "packet", "packets"),
            count(self.segments),
            connections(self.connections),
            count(self.unfinished)
        )];
        all.extend(self.packets_apart());
        if self.undecided > 0 {
            let closed = connections(self.undecided);
            all.push(format!(
                "{closed} closed, and the capture does not show which end was first: not reported"
            ));
        }
        if self.evicted > 0 {
            all.push(format!("no room for {}", connections(self.evicted)));
        }
        all.extend(self.damage.clone());
        all
    }

    fn packets_apart(&self) -> Option<String> {
        let counts = [
            (self.cut, "cut off within their headers (snaplen)"),
            (self.malformed, "malformed"),
            (self.unknown_link, "on links of an unknown type"),
            (self.untimed, "without a time"),
            (self.first_fragments.saturating_add(self.later_fragments), "in fragments"),
            (self.odd, "with numbers that fit no connection"),
            (self.dropped, "lost by the capturing program"),
        ];
        let told = counts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(n)));
        let told = told.collect::<Vec<_>>().join(", ");
        (!told.is_empty()).then(|| format!("packets: {told}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_of_what_is_there_alone() {
        let books = CaptureBooks { packets: 12, segments: 10, connections: 1, ..CaptureBooks::default() };
        assert_eq!(books.sentences(), ["read 12 packets, 10 of TCP; 1 connection, 0 of them not over"]);
    }

    #[test]
    fn people_are_told_of_everything_that_makes_the_answers_fewer() {
        let books = CaptureBooks {
            packets: 1,
            cut: 1,
            dropped: 2500,
            undecided: 1,
            evicted: 2,
            damage: Some("x.pcap could not be read beyond byte 24".to_owned()),
            ..CaptureBooks::default()
        };
        assert_eq!(
            books.sentences()[1..],
            [
                "packets: 1 cut off within their headers (snaplen), 2,500 lost by the capturing program",
                "1 connection closed, and the capture does not show which end was first: not reported",
                "no room for 2 connections",
                "x.pcap could not be read beyond byte 24",
            ]
        );
    }
}
