//! Flags of `report`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use finwait_core::record::CloseKind;

use super::filter::FilterArgs;
use super::source::SourceArgs;
use super::value;

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Where observations come from
    #[command(flatten)]
    pub source: SourceArgs,
    /// Compare with this recording or capture, and mark what differs by more than noise
    #[arg(long, value_name = "FILE", help_heading = "Source")]
    pub against: Option<PathBuf>,
    /// Which connections
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How they ended, such as reset,timed_out
    #[arg(long, value_name = "KIND", value_delimiter = ',', help_heading = "Filter")]
    #[arg(value_parser = value::kind())]
    pub kind: Vec<CloseKind>,
    /// Form of the report
    #[arg(short, long, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub output: ReportFormat,
    /// Stop after this time, such as 10m, instead of at Ctrl-C; in a recording its own time counts
    #[arg(long, value_name = "TIME", value_parser = value::duration, help_heading = "End")]
    pub duration: Option<Duration>,
}

/// Forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// For a terminal
    Text,
    /// Headings and tables in Markdown
    Markdown,
    /// One JSON object, finwait.report/1
    Json,
}
