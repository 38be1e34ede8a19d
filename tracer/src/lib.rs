//! finwait: see `core`.

pub mod probe;
pub mod scenario;
