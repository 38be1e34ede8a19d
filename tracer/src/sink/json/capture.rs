//! The segments of a close that a packet capture showed.

use finwait_core::observation::{CapturedClose, SeenSegment};
use finwait_core::record::{CloseRecord, FirstCloser};
use serde::Serialize;

/// `waves` in the order of `wave_times`.
#[derive(Serialize)]
pub(super) struct CaptureJson {
    waves: [Option<SegmentJson>; 4],
    second_and_third_merged: bool,
    reset: Option<SegmentJson>,
    local_fins_again: u32,
    remote_fins_again: u32,
    fin_may_have_waited: bool,
    segments_missing: bool,
}

impl CaptureJson {
    pub(super) fn of(record: &CloseRecord) -> Option<Self> {
        let captured = record.captured.as_deref()?;
        Some(Self {
            waves: waves(captured, record.first_closer.value()).map(|wave| wave.map(SegmentJson::from)),
            second_and_third_merged: captured.is_merged(),
            reset: captured.reset.map(SegmentJson::from),
            local_fins_again: captured.own_fins_again,
            remote_fins_again: captured.peer_fins_again,
            fin_may_have_waited: captured.fin_may_have_waited,
            segments_missing: captured.segments_missing,
        })
    }
}

/// Where it is not known who was first, this end's FIN is told first.
fn waves(captured: &CapturedClose, first: Option<&FirstCloser>) -> [Option<SeenSegment>; 4] {
    let CapturedClose { own_fin, own_fin_acked, peer_fin, peer_fin_acked, .. } = *captured;
    match first {
        Some(FirstCloser::Peer) => [peer_fin, peer_fin_acked, own_fin, own_fin_acked],
        Some(FirstCloser::Both) => [own_fin, peer_fin, peer_fin_acked, own_fin_acked],
        Some(FirstCloser::Local) | None => [own_fin, own_fin_acked, peer_fin, peer_fin_acked],
    }
}

#[derive(Serialize)]
struct SegmentJson {
    frame: u64,
    time_ns: u64,
    seq: u32,
    ack: Option<u32>,
    payload_bytes: u32,
    fin: bool,
}

impl From<SeenSegment> for SegmentJson {
    fn from(segment: SeenSegment) -> Self {
        let SeenSegment { frame, at, seq, ack, payload_bytes, fin, .. } = segment;
        Self { frame, time_ns: at.0, seq, ack, payload_bytes, fin }
    }
}
