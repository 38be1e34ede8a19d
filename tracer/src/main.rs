//! finwait: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tracer::cli::Cli;
use tracer::config;
use tracer::run::{self, CommandError};

fn main() -> ExitCode {
    let done = config::validate(Cli::parse()).map_err(CommandError::from).and_then(run::execute);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // stderr may be gone; the exit code still tells.
            _ = writeln!(std::io::stderr(), "finwait: {}", error.sentence());
            ExitCode::from(error.exit_code())
        }
    }
}
