//! finwait as a library: from the kernel or a recording, through `finwait-core`'s tracker, to what a user reads.
//!
//! * [`cli`] the flags as clap knows them; [`config`] the same, validated
//! * [`probe`] the kernel edge: loading, attaching, reading what the programs send
//! * [`source`] where observations come from: the kernel, a recording
//! * [`probe`] the kernel edge: load, attach, read
//! * [`recording`] the binary form of recordings: frames of observations, whole or not there at all
//! * [`run`] the one event loop, and what ends it
//! * [`filter`] which records are shown, and the kernel's share of that
//! * [`redact`] what is withheld of peers
//! * [`sink`] what is made of them: tables, JSON, CSV, recordings, the verdict
//! * [`scenario`] traffic of known shape, for [`demo`], tests and benches
//! * [`snapshot`] which sockets there are (sock_diag); [`enrich`] processes, cgroups, kernel symbols behind the numbers
//! * [`serve`] those summaries over HTTP and OTLP
//! * [`stats`] summaries of closes for dashboards
//! * [`explain`] what a close record means, in a ladder and in words
//! * [`stuck`] sockets that stay in a closing state
//! * [`doctor`] what this host offers, for people

pub mod cli;
pub mod config;
pub mod demo;
pub mod doctor;
pub mod enrich;
pub mod explain;
pub mod filter;
pub mod probe;
pub mod recording;
pub mod redact;
pub mod report;
pub mod run;
pub mod scenario;
pub mod serve;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod stats;
pub mod stuck;
