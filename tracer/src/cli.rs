//! The command line as clap's definition. Help, man page and completions all come from here.
//!
//! Values are typed while they are parsed; what depends on more than one flag or on the host is checked in
//! [`crate::config`].

use clap::{Args, Parser, Subcommand};
use finwait_core::record::CloseKind;

mod examples;
mod explain;
mod file;
mod filter;
mod keys;
mod live;
mod output;
mod parse;
mod record;
mod report;
mod serve;
mod source;
mod stuck;
mod value;

pub use explain::{ExplainArgs, ExplainFormat};
pub use file::FileError;
pub use filter::{FilterArgs, KernelFilterArgs};
pub use live::{LiveArgs, TierChoice, TimeWaitChoice};
pub use output::{ColorChoice, Format, LimitArgs, OutputArgs};
pub use parse::{ParseError, parse};
pub use record::{FilesArgs, RecordArgs, RecordFormat};
pub use report::{ReportArgs, ReportFormat};
#[cfg(feature = "otlp")]
pub use serve::OtlpArgs;
pub use serve::ServeArgs;
pub use source::SourceArgs;
pub use stuck::StuckArgs;
pub use value::{MAX_RING_BYTES, MIN_RING_BYTES, Place};

/// How TCP connections open and close, from the kernel's own state transitions.
#[derive(Debug, Parser)]
#[command(name = "finwait", version, about, after_help = examples::FINWAIT, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every state transition as it happens, one line each
    #[command(after_help = examples::STATES)]
    States(ViewArgs),
    /// Show every connection when it ends: who closed first, how, and which state took long
    #[command(after_help = examples::CLOSES)]
    Closes(ClosesArgs),
    /// Draw each connection that ends as a ladder, and say what it means in plain words
    #[command(after_help = examples::EXPLAIN)]
    Explain(ExplainArgs),
    /// Sum up a span, or two side by side: how connections ended, how long that took, idle timers, what TIME_WAIT cost
    #[command(after_help = examples::REPORT)]
    Report(ReportArgs),
    /// Write what is observed to a recording, which `-r` of the other commands reads
    #[command(after_help = examples::RECORD)]
    Record(RecordArgs),
    /// Observe and serve summaries of closes over HTTP, for Prometheus and dashboards
    #[command(after_help = examples::SERVE)]
    Serve(ServeArgs),
    /// Show connections that are stuck while closing: who holds them, since when, and what it means
    #[command(after_help = examples::STUCK)]
    Stuck(StuckArgs),
    /// Make connections of every kind in a network namespace of its own, and show that they are seen whole
    #[command(after_help = examples::DEMO)]
    Demo,
    /// Say what this host offers and what is missing
    #[command(after_help = examples::DOCTOR)]
    Doctor(DoctorArgs),
    /// Write the man page or shell completions to stdout
    #[command(after_help = examples::GENERATE)]
    Generate(GenerateArgs),
}

/// Flags of `states` and `closes`.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// Where observations come from
    #[command(flatten)]
    pub source: SourceArgs,
    /// With -r: so many times as fast as it happened, such as 1 or 0.5; 0 is as fast as it can be read
    #[arg(long, value_name = "FACTOR", value_parser = value::speed, requires = "read", help_heading = "Source")]
    pub speed: Option<f64>,
    /// Which connections
    #[command(flatten)]
    pub filter: FilterArgs,
    /// In which form
    #[command(flatten)]
    pub output: OutputArgs,
    /// Until when
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Flags of `closes`.
#[derive(Debug, Args)]
pub struct ClosesArgs {
    /// Those that `states` has too
    #[command(flatten)]
    pub view: ViewArgs,
    /// How they ended, such as reset,timed_out
    #[arg(long, value_name = "KIND", value_delimiter = ',', help_heading = "Filter")]
    #[arg(value_parser = value::kind())]
    pub kind: Vec<CloseKind>,
    /// Show the end of each time-wait socket as a line of its own, about a minute later; JSON always has them
    #[arg(long, help_heading = "Output")]
    pub time_waits: bool,
    /// Join the two ends of a connection within this host into one line; the first waits up to 1 s for the other
    #[arg(long, help_heading = "Output")]
    pub both_ends: bool,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Flags of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// What to write
    #[command(subcommand)]
    pub what: Generate,
}

/// What `generate` writes.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Generate {
    /// The man page of finwait, or of one of its commands
    Man {
        /// The command, such as `closes`; without it the page of finwait itself
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Shells with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples_that_parse() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands().filter(|c| c.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<&str> =
                help.lines().map(str::trim).filter(|line| line.starts_with("finwait ")).collect();
            assert!(!lines.is_empty(), "{} has no example", command.get_name());
            for line in lines {
                let words = line.split(" | ").next().unwrap().split(" > ").next().unwrap().split_whitespace();
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
}
