//! Flags of `stuck`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::value::{self, Place};

/// Flags of `stuck`.
#[derive(Debug, Args)]
pub struct StuckArgs {
    /// Show what stays at the end of a recording or a packet capture (pcap, pcapng) instead; `-` is stdin. Needs no privileges
    #[arg(short, long, value_name = "FILE", conflicts_with = "watch")]
    pub read: Option<PathBuf>,
    /// Only what is proven to have been in its state for this time, such as 30s
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = value::age)]
    pub older: Duration,
    /// Look again and again, until Ctrl-C
    #[arg(long, value_name = "INTERVAL", num_args = 0..=1, default_missing_value = "2s")]
    #[arg(value_parser = value::interval)]
    pub watch: Option<Duration>,
    /// One JSON object a socket instead of a table of groups, and a summary after each look
    #[arg(long)]
    pub json: bool,
    /// Network namespaces: an inode number, a path such as /proc/1/ns/net, or `self`; without it all that can be reached
    #[arg(long, value_name = "NETNS", value_delimiter = ',', value_parser = value::namespace)]
    pub netns: Vec<Place>,
}
