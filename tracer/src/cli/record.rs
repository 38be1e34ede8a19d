//! Flags of `record`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{KernelFilterArgs, LimitArgs, LiveArgs, value};
use crate::recording::Fsync;

/// See the module.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Form of the recording; `-r` reads both
    #[arg(short, long, value_name = "FORMAT", default_value = "binary", help_heading = "Output")]
    pub output: RecordFormat,
    /// Write to this file instead of stdout; a file that exists is replaced
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub write: Option<PathBuf>,
    /// Where it is kept
    #[command(flatten)]
    pub files: FilesArgs,
    /// Where observations come from
    #[command(flatten)]
    pub live: LiveArgs,
    /// Which transitions are recorded
    #[command(flatten)]
    pub filter: KernelFilterArgs,
    /// Until when
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Files of a binary recording.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct FilesArgs {
    /// Begin another file before one grows beyond this, such as 64M; their names are FILE.000001 and so on
    #[arg(long, value_name = "SIZE", value_parser = value::file_size, requires = "write")]
    pub rotate_size: Option<u64>,
    /// Begin another file when one is as old as this, such as 1h
    #[arg(long, value_name = "TIME", value_parser = value::file_age, requires = "write")]
    pub rotate_age: Option<Duration>,
    /// Remove the oldest of these files before all together grow beyond this, earlier runs' under the same name included
    #[arg(long, value_name = "SIZE", value_parser = value::file_size, requires = "rotate_size")]
    pub max_total: Option<u64>,
    /// When to force what was written to the disk
    #[arg(long, value_name = "WHEN", default_value = "close")]
    pub fsync: Fsync,
}

/// Forms of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RecordFormat {
    /// Checked, numbered and packed frames, see docs/recording.md
    Binary,
    /// One JSON object a line
    Jsonl,
}
