//! Where a view's observations come from.

use std::path::PathBuf;

use clap::Args;

use super::live::{self, LiveArgs};
use super::value;

/// Flags of every view that shows either what happens or a file.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Read a recording or a packet capture (pcap, pcapng) instead of the kernel; `-` is stdin. Needs no privileges
    #[arg(short, long, value_name = "FILE", help_heading = "Source")]
    #[arg(conflicts_with_all = live::NAMES)]
    pub read: Option<PathBuf>,
    /// Where live observations come from
    #[command(flatten)]
    pub live: LiveArgs,
    /// Connections followed at once; beyond that the longest untouched is dropped, and counted as evicted
    #[arg(long, value_name = "N", default_value_t = 262_144, help_heading = "Source")]
    #[arg(value_parser = value::connections)]
    pub max_connections: usize,
}
