//! finwait: parse, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use tracer::cli::{self, ParseError};
use tracer::config::{self, ConfigError};
use tracer::run::{self, CommandError};

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // stderr may be gone; the exit code still tells.
            _ = writeln!(std::io::stderr(), "finwait: {}", error.sentence());
            ExitCode::from(error.exit_code())
        }
    }
}

/// clap itself writes what it has to say of the flags, and ends.
fn begin() -> Result<(), CommandError> {
    let cli = cli::parse(std::env::args_os()).map_err(|error| match error {
        ParseError::Flags(error) => error.exit(),
        ParseError::File(error) => ConfigError::File(error),
    })?;
    run::execute(config::validate(cli)?)
}
