//! From arguments, and the file that they name, to [`Cli`]. The file becomes flags, and clap judges all of them once: a flag that was
//! given outweighs the file, and the file outweighs the defaults.

use std::error::Error as _;
use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, Command as Definition, CommandFactory, FromArgMatches};

use super::file::{self, FileError, Setting};
use super::keys::{given, go_together, in_force, keys};
use super::{Cli, Command};

/// The program and its command come before the flags.
const BEFORE_FLAGS: usize = 2;

/// Why the command line cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The flags, or help was asked for
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The configuration file
    #[error(transparent)]
    File(#[from] FileError),
}

/// Reads `arguments`, the program's name first.
///
/// # Errors
/// See [`ParseError`].
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, ParseError> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut definition = Cli::command();
    let mut matches = definition.try_get_matches_from_mut(&arguments)?;
    let mut cli = Cli::from_arg_matches(&matches)?;
    if let (Command::Serve(args), Some((_, given))) = (&cli.command, matches.subcommand())
        && let Some(path) = &args.config
    {
        let settings = settings(&definition, path, given)?;
        arguments.splice(BEFORE_FLAGS..BEFORE_FLAGS, settings);
        let together = |error| FileError::Together { path: path.clone(), reason: reason(&error) };
        matches = definition.try_get_matches_from_mut(&arguments).map_err(together)?;
        cli = Cli::from_arg_matches(&matches)?;
    }
    if let (Command::Serve(args), Some((_, matches))) = (&mut cli.command, matches.subcommand())
        && args.check_config
    {
        args.in_force = in_force(serve(&definition), matches);
    }
    Ok(cli)
}

/// `serve` in `finwait`'s definition.
fn serve(definition: &Definition) -> &Definition {
    definition.find_subcommand("serve").unwrap_or(definition)
}

/// The flags that the file at `path` stands for, without those that what is `given` outweighs.
fn settings(definition: &Definition, path: &Path, given: &ArgMatches) -> Result<Vec<OsString>, FileError> {
    let serve = serve(definition);
    let settings = file::read(path, &keys(serve))?;
    for setting in &settings {
        let refused = Cli::try_parse_from_flag(setting.argument.as_deref());
        refused.map_err(|error| FileError::At {
            path: path.to_owned(),
            line: setting.line,
            reason: format!("`{}`: {}", setting.name, reason(&error)),
        })?;
    }
    let left = settings.into_iter().filter(|setting| !is_outweighed(serve, setting, given));
    Ok(left.filter_map(|setting| setting.argument).map(OsString::from).collect())
}

impl Cli {
    /// Whether clap takes this one flag of `serve`.
    fn try_parse_from_flag(flag: Option<&str>) -> Result<(), clap::Error> {
        Self::command().try_get_matches_from(["finwait", "serve"].into_iter().chain(flag)).map(drop)
    }
}

/// Its flag was given, or one that does not go together with it.
fn is_outweighed(serve: &Definition, setting: &Setting, matches: &ArgMatches) -> bool {
    given(matches).any(|given| given == setting.id || !go_together(serve, given, &setting.id))
}

/// What is allowed instead, as one sentence; the value itself is not shown, it may be secret.
fn reason(error: &clap::Error) -> String {
    if let Some(ContextValue::Strings(allowed)) = error.get(ContextKind::ValidValue)
        && !allowed.is_empty()
    {
        return format!("allowed are {}", allowed.join(", "));
    }
    let rendered = error.render().to_string();
    let lines: Vec<_> = rendered.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let sentence = lines.join(" ");
    error.source().map_or_else(|| sentence.trim_start_matches("error: ").to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests;
