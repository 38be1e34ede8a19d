//! `finwait serve`: the tracer as a service for dashboards.

#[cfg(feature = "otlp")]
pub mod otlp;
