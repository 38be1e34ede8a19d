//! Connections that stay in a closing state, as sock_diag shows them now: `finwait stuck`. No kernel program is involved,
//! and nothing of the past is known but what two dumps or the kernel's own times prove. [`StuckSink`] shows the same of the
//! end of a recording.
//!
//! * [`gather`]: one look; [`Memory`] is what earlier looks have proven
//! * [`Age`]: since when a socket is in its state, as far as that is proven
//! * [`Group`]: sockets of one state and owner, and what that means

mod age;
mod command;
mod gather;
mod group;
mod json;
mod meaning;
mod memory;
mod replay;
#[cfg(test)]
mod samples_for_tests;
mod table;

pub use age::Age;
pub use command::{StuckError, run};
pub use gather::{Lookups, Owner, Picture, StuckSocket, gather};
pub use group::{Group, groups};
pub use memory::Memory;
pub use replay::StuckSink;
pub(crate) use replay::end_of;
