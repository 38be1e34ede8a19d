//! Flags that shape and end the output.

use std::time::Duration;

use clap::Args;

use super::value;

/// Shape of the output.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// Same as -o csv
    #[arg(short = 's', long, conflicts_with = "output")]
    pub csv: bool,
    /// Show the time of day (always there in `closes`)
    #[arg(short = 'T', long)]
    pub time: bool,
    /// Show the seconds since the start
    #[arg(short = 't', long)]
    pub timestamp: bool,
    /// Every column in full: IPv6 addresses, SKADDR
    #[arg(short, long)]
    pub wide: bool,
    /// Colours; `auto` is on for a terminal unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
}

/// Forms of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns, for people
    #[default]
    Table,
    /// One JSON object a line, and a summary as the last
    Json,
    /// Comma separated values under one header
    Csv,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What ends the run, apart from a signal, a closed pipe or the end of a recording.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "End")]
pub struct LimitArgs {
    /// Stop after this time, such as 10s or 1h30m; in a recording its own time counts
    #[arg(long, value_name = "TIME", value_parser = value::duration)]
    pub duration: Option<Duration>,
    /// Stop after this many lines, or explanations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}
