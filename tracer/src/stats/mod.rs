//! Summaries of connections: small, mergeable and bounded. Records come in, immutable snapshots go out.
//!
//! It knows no HTTP and no wire format: [`family`] is what exporters take.

pub mod family;
pub mod histogram;
