//! Where a live record and a capture's must differ, and which of the two says why. A difference that is not listed fails, and so does one
//! that is listed and not seen.

use std::collections::BTreeSet;

use finwait_core::Evidence;
use finwait_core::Reason::{DidNotHappen, HiddenFinWait2, NotInCapture};
use finwait_core::record::{CloseKind, CloseRecord};
use tracer::scenario::SideName::{self, Client, Server};
use tracer::source::CaptureBooks;

use super::agreement::Difference;

/// Field, what the live record says, what the capture's does.
type What = (&'static str, &'static str, &'static str);

/// What some ends show, all of it and nothing else. An end that is listed twice shows either. Connections of one name in one run are told
/// apart by their number.
struct Expected {
    ends: &'static [(&'static str, SideName)],
    differences: &'static [What],
    why: &'static str,
    /// Whether one of them says so
    said: fn(&Pair<'_>) -> bool,
}

/// The two records of one end, and what the capture counted.
pub(crate) struct Pair<'a> {
    pub(crate) live: &'a CloseRecord,
    pub(crate) captured: Option<&'a CloseRecord>,
    pub(crate) books: &'a CaptureBooks,
}

impl Pair<'_> {
    fn captured(&self, says: impl FnOnce(&CloseRecord) -> bool) -> bool {
        self.captured.is_some_and(says)
    }
}

const NONE: What = ("record", "one", "none");
const UNKNOWN: &str = "unknown (not_in_capture)";

const EXPECTED: &[Expected] = &[
    Expected {
        ends: &[
            ("FIN_WAIT2 timeout", Client),
            ("FIN_WAIT2 timeout, then close", Client),
            ("late data", Client),
        ],
        differences: &[("kind", "active", UNKNOWN), ("reset", "none", "sent")],
        why: "the socket was closed in FIN_WAIT2: its record ends there, and what came later was answered for its mini-socket or for \
              none",
        said: |pair| pair.live.successor.reason() == Some(HiddenFinWait2),
    },
    Expected {
        ends: &[
            ("SO_LINGER 0 in CLOSE_WAIT", Client),
            ("child dropped after FIN", Client),
            ("reset in FIN_WAIT2", Client),
            ("unread data after FIN", Client),
        ],
        differences: &[("kind", "active", "reset"), ("reset", "none", "received")],
        why: "the socket was closed in FIN_WAIT2: its record ends there, and the reset came for its mini-socket",
        said: |pair| pair.live.successor.reason() == Some(HiddenFinWait2),
    },
    Expected {
        ends: &[("child dropped after FIN", Server), ("child never accepted", Server)],
        differences: &[("kind", "dropped", "reset")],
        why: "that the reset was sent because nobody had accepted, only the kernel knows",
        said: sent_for_a_reason_unseen,
    },
    Expected {
        ends: &[("destroyed", Client)],
        differences: &[("kind", "killed", "reset")],
        why: "that the reset was sent because an administrator asked for it, only the kernel knows",
        said: sent_for_a_reason_unseen,
    },
    Expected {
        ends: &[("keepalive death", Client)],
        differences: &[("kind", "timed_out", "reset")],
        why: "that the reset was sent because keepalive probes were not answered, only the kernel knows",
        said: sent_for_a_reason_unseen,
    },
    Expected {
        ends: &[("FIN never sent", Client), ("retransmission timeout", Client), ("user timeout", Client)],
        differences: &[
            ("kind", "timed_out", UNKNOWN),
            ("successor", "nothing", UNKNOWN),
            ("reset", "none", "sent"),
        ],
        why: "the socket ended without a segment; the reset answers, for no socket, what came later",
        said: answered_by_reset,
    },
    Expected {
        ends: &[("peer gone in FIN_WAIT1", Client)],
        differences: &[
            ("kind", "timed_out", UNKNOWN),
            ("first closer", "local", UNKNOWN),
            ("outcome of the FIN", "given_up", UNKNOWN),
            ("successor", "nothing", UNKNOWN),
            ("reset", "none", "sent"),
            ("wave 1", "known", UNKNOWN),
            ("time in FinWait1", "known", UNKNOWN),
        ],
        why: "the socket ended without a segment; the reset answers, for no socket, the FIN that came later",
        said: answered_by_reset,
    },
    Expected {
        ends: &[("TCP_LINGER2 -1", Client), ("data after close", Client)],
        differences: &[
            ("kind", "reset", UNKNOWN),
            ("successor", "nothing", UNKNOWN),
            ("time in FinWait2", "known", UNKNOWN),
        ],
        why: "a reset that names no acknowledgement is sent also for a socket that is gone",
        said: answered_by_reset,
    },
    Expected {
        // The data came before our FIN was acknowledged.
        ends: &[("data after close", Client)],
        differences: &[
            ("kind", "reset", UNKNOWN),
            ("outcome of the FIN", "reset", UNKNOWN),
            ("successor", "nothing", UNKNOWN),
            ("time in FinWait1", "known", UNKNOWN),
        ],
        why: "a reset that names no acknowledgement is sent also for a socket that is gone",
        said: answered_by_reset,
    },
    Expected {
        ends: &[("crossed close", Client)],
        differences: &[
            ("kind", "simultaneous", UNKNOWN),
            ("successor", "time_wait", UNKNOWN),
            ("time in FinWait1", "known", "none"),
            ("time in Closing", "known", "none"),
        ],
        why: "the FIN was queued behind data before the peer's came, and left after it",
        said: |pair| {
            pair.captured(|close| close.captured.as_ref().is_some_and(|seen| seen.fin_may_have_waited))
        },
    },
    Expected {
        ends: &[("FIN never sent", Server)],
        differences: &[
            ("outcome of the FIN", "reset", "unknown (did_not_happen)"),
            ("time in FinWait1", "known", "none"),
        ],
        why: "the FIN was queued and never left",
        said: |pair| pair.live.first_closer.reason() == Some(DidNotHappen),
    },
    Expected {
        ends: &[
            ("connect timeout", Client),
            ("connect cancelled, no. 2", Client),
            ("peer gone in LAST_ACK", Client),
            ("peer gone in LAST_ACK", Server),
        ],
        differences: &[NONE],
        why: "the kernel or the application gave up, and sent nothing",
        said: |pair| pair.books.unfinished > 0,
    },
    Expected {
        ends: &[("self-connect", Client)],
        differences: &[NONE],
        why: "a socket that is its own peer has no two ends",
        said: |pair| pair.books.odd > 0 && pair.books.unfinished > 0,
    },
    Expected {
        ends: &[("DEFER_ACCEPT", Server)],
        differences: &[
            ("Listen to SynRecv", "known", "another time"),
            ("SynRecv to Established", "known", "another time"),
        ],
        why: "the kernel passes over the last segment of the handshake until data comes, and no segment shows that",
        said: |pair| pair.captured(|close| close.life_ns.evidence().contains(Evidence::Captured)),
    },
    Expected {
        ends: &[("DEFER_ACCEPT", Server)],
        differences: &[],
        why: "the data came at once",
        said: |_| true,
    },
    Expected {
        ends: &[("port exhaustion", Client)],
        differences: &[NONE],
        why: "there was no port, and so no segment",
        said: |pair| pair.live.kind.value() == Some(&CloseKind::NoFreePort),
    },
];

/// The capture's record knows that there was a reset of this end's, and not why.
fn sent_for_a_reason_unseen(pair: &Pair<'_>) -> bool {
    let unseen =
        |close: &CloseRecord| close.reset.is_some_and(|reset| reset.cause.reason() == Some(NotInCapture));
    pair.captured(|close| close.cause.reason() == Some(NotInCapture) && unseen(close))
}

/// The capture's record says that it does not know how this end ended.
fn answered_by_reset(pair: &Pair<'_>) -> bool {
    pair.captured(|close| close.kind.reason() == Some(NotInCapture) && close.reset.is_some())
}

/// What is wrong with the `found` differences of one end of `row`, a sentence each.
pub(crate) fn complaints(row: &str, side: SideName, found: &[Difference], pair: &Pair<'_>) -> Vec<String> {
    let seen: BTreeSet<_> = found.iter().map(Difference::what).collect();
    let listed: Vec<_> = EXPECTED.iter().filter(|expected| expected.ends.contains(&(row, side))).collect();
    let same = |expected: &&&Expected| expected.differences.iter().copied().collect::<BTreeSet<_>>() == seen;
    let who = format!("{row}, {}", side.name());
    match listed.iter().find(same) {
        Some(expected) if (expected.said)(pair) => Vec::new(),
        Some(expected) => vec![format!("{who}: neither says that {}", expected.why)],
        None if listed.is_empty() => found.iter().map(|difference| format!("{who}: {difference}")).collect(),
        None => {
            let whys: Vec<_> = listed.iter().map(|expected| expected.why).collect();
            vec![format!(
                "{who}: not the differences that are expected ({}), but {found:#?}",
                whys.join("; ")
            )]
        }
    }
}
