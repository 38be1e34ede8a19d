//! What a packet capture shows of a connection's close: the segments themselves, numbered as in the capture.
//!
//! The source of captures infers the states of both ends; this comes with the transition to CLOSE. All times are those at
//! which the segment passed the capture point, wherever between the two ends that is.

use serde::{Deserialize, Serialize};

use crate::time::MonoNs;

/// A segment that passed the capture point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenSegment {
    /// Number of the packet in the capture, from 1
    pub frame: u64,
    /// When it passed
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// Sequence number
    pub seq: u32,
    /// Acknowledgement number; absent where the ACK flag is not set
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<u32>,
    /// Payload
    pub payload_bytes: u32,
    /// FIN flag
    pub fin: bool,
    /// RST flag
    pub rst: bool,
}

/// The segments of a close, from one end's point of view. One that was sent again is given as it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CapturedClose {
    /// This end's FIN
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_fin: Option<SeenSegment>,
    /// The first segment that acknowledges it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_fin_acked: Option<SeenSegment>,
    /// The peer's FIN
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_fin: Option<SeenSegment>,
    /// The first segment that acknowledges it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_fin_acked: Option<SeenSegment>,
    /// The reset that ended it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<SeenSegment>,
    /// This end sent that reset
    pub reset_is_own: bool,
    /// Times that this end's FIN was seen again
    pub own_fins_again: u32,
    /// Times that the peer's was
    pub peer_fins_again: u32,
    /// The peer's FIN left no room in its window, and this end had data to send ahead of its own FIN: both may have been waiting
    /// when the peer's came
    pub fin_may_have_waited: bool,
    /// Segments that were acknowledged are not in the capture, and one of them may have been a FIN
    pub segments_missing: bool,
}

impl CapturedClose {
    /// This end's reset names no acknowledgement: it answers a segment of the peer. So does a host on which the socket has long gone.
    #[must_use]
    pub fn is_answered_by_reset(&self) -> bool {
        self.reset_is_own && self.reset.is_some_and(|reset| reset.ack.is_none())
    }

    /// Second and third wave went in one segment: the acknowledgement of the first FIN carries the second.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        let same = |one: Option<SeenSegment>, other: Option<SeenSegment>| {
            one.zip(other).is_some_and(|(one, other)| one.frame == other.frame)
        };
        same(self.own_fin_acked, self.peer_fin) || same(self.peer_fin_acked, self.own_fin)
    }
}
