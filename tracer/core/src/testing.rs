//! Observations for unit tests.

use crate::id::Cookie;
use crate::observation::{Program, StateChange, Stream};
use crate::time::MonoNs;
use tracer_common::TcpState;

/// A transition of the socket with cookie 1, with nothing else known of it.
pub(crate) fn change(at: u64, old: TcpState, new: TcpState) -> StateChange {
    let stream = Stream { cpu: 0, program: Program::Prime, depth: 0 };
    StateChange { cookie: Some(Cookie(1)), ..StateChange::bare(MonoNs(at), stream, (old, new)) }
}
