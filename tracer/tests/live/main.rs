//! finwait in the running kernel: traffic of known shape in a network namespace of its own, seen by the real probe and
//! the real tracker. Needs root: `cargo xtask test`.
//!
//! Every probe here is filtered to its own namespace, so tests do not see each other's traffic nor the host's.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod capture;
mod demo;
mod explain;
mod filters;
mod fire;
mod hooks;
mod lifecycle;
mod loss;
mod probe;
mod process;
mod record;
mod replay;
mod rows;
#[cfg(feature = "vm")]
mod rps;
mod scenarios;
mod serve;
mod snapshot;
mod stuck;
mod support;
mod tiers;
mod unprivileged;
mod wire;
