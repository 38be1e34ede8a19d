//! Which TCP sockets there are now, as sock_diag tells: one kept netlink socket per network namespace.
//!
//! No source of observations and no part of the event loop. A dump is a list of rows with the times between which it was
//! taken; what follows from it is decided elsewhere. The kernel holds no lock over a whole dump: sockets that come or
//! go meanwhile may be in it or not, and in rare cases a socket that was there all along is passed over.
//!
//! * [`Namespaces`]: the namespaces that can be reached, opened while that is allowed
//! * [`Dump`] and [`Row`]: what one of them holds; [`States`]: of which states
//! * [`Sweeper`]: a thread that dumps at intervals or when asked

mod attributes;
mod decode;
#[cfg(test)]
mod decode_tests;
mod diag;
mod discover;
mod namespaces;
mod row;
mod states;
mod sweeper;

pub use decode::DecodeError;
pub use diag::{DiagError, Dump};
pub use discover::Unreachable;
pub use namespaces::{Namespaces, Refreshed};
pub use row::{Row, SocketKind, Timer, TimerKind};
pub use states::States;
pub use sweeper::{Plan, Sweep, Sweeper, SweeperError};
