//! How finwait starts and ends: with clean output, no privileges while it runs, nothing left behind.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};

use aya::programs::{ProgramInfo, loaded_programs};
use rustix::process::Signal;
use tracer::scenario::{Namespace, catalog};

use crate::process::{Ended, Finwait, wait_for};

fn watching(namespace: &Namespace, command: &str) -> Finwait {
    Finwait::attached(&[command, "-o", "json", "--netns", &namespace.inode().to_string()])
}

/// Ends `finwait states` by `signal` after one scenario; everything made must have been printed before.
fn end_by(signal: Signal) -> Ended {
    let namespace = Namespace::new().expect("namespace");
    let finwait = watching(&namespace, "states");
    let made = catalog::CLIENT_CLOSES_FIRST.run(&namespace).expect("run");
    finwait.signal(signal);
    let ended = finwait.end();
    let transitions = ended.lines.iter().filter(|line| line.contains("\"old_state\"")).count();
    assert_eq!(transitions, made.transition_count(), "{:#?}\n{}", ended.lines, ended.stderr);
    ended
}

fn assert_clean(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

#[test]
fn sigint_ends_it_after_what_was_already_made() {
    assert_clean(&end_by(Signal::INT));
}

#[test]
fn sigterm_ends_it_after_what_was_already_made() {
    assert_clean(&end_by(Signal::TERM));
}

/// The programs are attached before the loop runs: a signal may come in between.
#[test]
fn a_signal_right_after_attaching_ends_it_in_order() {
    let namespace = Namespace::new().expect("namespace");
    let netns = namespace.inode().to_string();
    for _ in 0..10 {
        let finwait = Finwait::attached(&["closes", "--netns", &netns]);
        finwait.signal(Signal::TERM);
        let ended = finwait.end();
        assert_eq!(ended.status.code(), Some(0), "{:?}: {}", ended.status, ended.stderr);
    }
}

#[test]
fn a_reader_that_goes_away_ends_it() {
    let namespace = Namespace::new().expect("namespace");
    let netns = namespace.inode().to_string();
    let (finwait, stdout) = Finwait::attached_with_stdout(&["states", "-o", "json", "--netns", &netns]);
    catalog::LINGER_ZERO.run(&namespace).expect("run");
    let mut first = String::new();
    BufReader::new(stdout).read_line(&mut first).expect("a line");
    assert!(first.ends_with('\n'), "{first:?}");
    // The pipe is closed now: the next line that is written finds out.
    catalog::LINGER_ZERO.run(&namespace).expect("run");
    assert_clean(&finwait.end());
}

#[test]
fn nothing_of_it_is_left_in_the_kernel_after_sigkill() {
    let namespace = Namespace::new().expect("namespace");
    let finwait = watching(&namespace, "closes");
    let programs = finwait.programs();
    let spine = HashSet::from(["prime".to_owned(), "shadow".to_owned()]);
    assert!(names_of(&programs).is_superset(&spine), "{:?}", names_of(&programs));
    finwait.signal(Signal::KILL);
    let ended = finwait.end();
    assert_eq!(ended.status.code(), None, "killed, not ended");
    // The kernel frees them after a grace period.
    wait_for("the programs to go away", || names_of(&programs).is_empty().then_some(()));
}

fn names_of(programs: &[u32]) -> HashSet<String> {
    let loaded =
        loaded_programs().filter_map(Result::ok).filter(|info: &ProgramInfo| programs.contains(&info.id()));
    loaded.filter_map(|info| info.name_as_str().map(str::to_owned)).collect()
}

#[test]
fn no_thread_keeps_a_capability_while_it_runs() {
    let namespace = Namespace::new().expect("namespace");
    let finwait = watching(&namespace, "closes");
    let pid = finwait.pid();
    // Attaching comes first, so for a moment they are there.
    wait_for("every thread to have given up its capabilities", || {
        let held = held_by(pid);
        held.is_empty().then_some(())
    });
    // And it still works.
    let made = catalog::LINGER_ZERO.run(&namespace).expect("run");
    assert_eq!(made.side_count(), 2);
    let lines = [finwait.line(), finwait.line()];
    assert!(lines.iter().all(|line| line.contains("so_linger_0") || line.contains("received")), "{lines:?}");
    assert_eq!(held_by(pid), Vec::<String>::new());
    finwait.signal(Signal::INT);
    assert_clean(&finwait.end());
}

/// Lines of /proc that say that a thread of `pid` holds or may gain a capability.
fn held_by(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("tasks");
    let status = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let lines = status.flat_map(|status| status.lines().map(str::to_owned).collect::<Vec<_>>());
    let holds = |line: &String| {
        let set = line.starts_with("Cap") && !line.ends_with("0000000000000000");
        set || line.starts_with("NoNewPrivs:") && !line.ends_with('1')
    };
    lines.filter(holds).collect()
}

#[test]
fn it_ends_by_itself_after_the_asked_number_of_closes() {
    let namespace = Namespace::new().expect("namespace");
    let netns = namespace.inode().to_string();
    let finwait = Finwait::attached(&["closes", "-o", "json", "--netns", &netns, "--count", "2"]);
    catalog::CLIENT_CLOSES_FIRST.run(&namespace).expect("run");
    let ended = finwait.end();
    assert_clean(&ended);
    let closes = ended.lines.iter().filter(|line| line.contains("\"conn_id\"")).count();
    assert_eq!(closes, 2, "{:#?}", ended.lines);
}
