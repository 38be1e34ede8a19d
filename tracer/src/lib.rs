//! finwait: see `core`.

pub mod probe;
