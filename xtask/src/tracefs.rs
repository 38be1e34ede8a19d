//! tracefs for what needs it, on hosts where nobody mounted it: in a mount namespace that ends with the command, so that the
//! host stays as it is.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::{live, process};

/// Not empty where tracefs is mounted.
const EVENTS: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];
const MOUNT: &str = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$0\" \"$@\"";

/// `command`, which sees tracefs when it runs, unless this process may not trace anyway. Folder and environment are kept;
/// standard output and input are not.
pub(crate) fn seen_by(command: Command) -> Command {
    if !live::privileged() || EVENTS.iter().any(|events| Path::new(events).exists()) {
        return command;
    }
    wrapped(&command)
}

fn wrapped(command: &Command) -> Command {
    let mut outer = process::command("unshare");
    outer.args(["--mount", "--", "sh", "-c", MOUNT]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        outer.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        set(&mut outer, name, value);
    }
    outer
}

fn set(command: &mut Command, name: &OsStr, value: Option<&OsStr>) {
    match value {
        Some(value) => command.env(name, value),
        None => command.env_remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_to_run_runs_as_it_was_to() {
        let mut inner = process::command("cargo");
        inner.args(["test", "a b"]).current_dir("/").env("A", "1").env_remove("B");
        let outer = wrapped(&inner);
        let arguments: Vec<_> = outer.get_args().collect();
        assert_eq!(outer.get_program(), "unshare");
        assert_eq!(arguments[arguments.len() - 3..], ["cargo", "test", "a b"]);
        assert_eq!(outer.get_current_dir(), Some(Path::new("/")));
        assert_eq!(outer.get_envs().collect::<Vec<_>>(), inner.get_envs().collect::<Vec<_>>());
    }
}
