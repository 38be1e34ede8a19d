//! finwait: see `core`.
