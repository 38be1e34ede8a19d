//! finwait: see `core`.

pub mod scenario;
