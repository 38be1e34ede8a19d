//! The programs in the running kernel, with traffic on loopback in a network namespace of its own.
//! Needs root: `cargo test -p tracer --features live --test probe_live -- --nocapture`
#![allow(clippy::expect_used)]

mod counts;
mod harness;
mod tiers;
mod values;
