//! Summaries of connections: small, mergeable and bounded. Records come in, immutable snapshots go out.
//!
//! It knows no HTTP and no wire format: [`family`] is what exporters take.

mod aggregate;
pub mod catalogue;
pub mod family;
mod groups;
pub mod histogram;
pub mod history;
mod ports;
mod snapshot;
mod summary;

pub use aggregate::Aggregator;
pub use groups::{Dimension, Grouping, OTHER, PeerNetwork};
pub use history::{History, Interval};
pub use ports::{PortDebt, PortDebts, PortRange};
pub use snapshot::{GroupSnapshot, ProcessFacts, PushFacts, Snapshot};
pub use summary::{CLOSING_STATES, HANDSHAKE_FAILURES, Measure, SharedDistribution, Summary, Unproven};

#[cfg(test)]
mod tests;
