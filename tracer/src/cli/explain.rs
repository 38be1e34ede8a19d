//! Flags of `explain`.

use clap::Args;
use finwait_core::record::CloseKind;

use super::filter::FilterArgs;
use super::output::{ColorChoice, LimitArgs};
use super::source::SourceArgs;
use super::value;

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// This connection alone, by the conn_id that every record of it has
    #[arg(value_name = "CONN_ID", value_parser = value::conn_id)]
    pub conn_id: Option<String>,
    /// Where observations come from
    #[command(flatten)]
    pub source: SourceArgs,
    /// Which connections
    #[command(flatten)]
    pub filter: FilterArgs,
    /// How they ended, such as reset,timed_out
    #[arg(long, value_name = "KIND", value_delimiter = ',', help_heading = "Filter")]
    #[arg(value_parser = value::kind())]
    pub kind: Vec<CloseKind>,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text", help_heading = "Output")]
    pub output: ExplainFormat,
    /// Below each sentence, what it rests on; JSON always has that
    #[arg(long, help_heading = "Output")]
    pub evidence: bool,
    /// Draw with ASCII alone
    #[arg(long, help_heading = "Output")]
    pub ascii: bool,
    /// Colours; `auto` is on for a terminal unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = "Output")]
    pub color: ColorChoice,
    /// Wait for the end of TIME_WAIT, about a minute; of a recording it is always told
    #[arg(long, help_heading = "Output")]
    pub time_waits: bool,
    /// Until when; --count is how many are explained
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Forms of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExplainFormat {
    /// A ladder and sentences
    Text,
    /// One JSON object a connection, finwait.explanation/1, and a summary as the last
    Json,
}
