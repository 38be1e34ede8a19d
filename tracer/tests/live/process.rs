//! The finwait binary as a child: started, waited for, ended.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support;

/// Longest wait for anything: an emulated machine that shares its processors is slow.
const LIMIT: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub(crate) const FINWAIT: &str = env!("CARGO_BIN_EXE_finwait");

/// A running finwait. Dropped, it is killed.
pub(crate) struct Finwait {
    child: Child,
    lines: Option<Receiver<String>>,
    stderr: Option<JoinHandle<String>>,
}

/// What a finwait that has ended left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) lines: Vec<String>,
    pub(crate) stderr: String,
}

impl Finwait {
    /// Starts it and waits until its programs are attached.
    pub(crate) fn attached(arguments: &[&str]) -> Self {
        let (finwait, stdout) = Self::attached_with_stdout(arguments);
        finwait.reading(stdout)
    }

    /// The same with stdout left to the caller.
    pub(crate) fn attached_with_stdout(arguments: &[&str]) -> (Self, ChildStdout) {
        let mut command = Command::new(FINWAIT);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = support::spawn(&mut command);
        let stdout = child.stdout.take().expect("stdout");
        let mut errors = child.stderr.take().expect("stderr");
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            errors.read_to_string(&mut text).expect("stderr");
            text
        });
        let finwait = Self { child, lines: None, stderr: Some(stderr) };
        wait_for("all programs to be attached", || finwait.has_all_attached().then_some(()));
        (finwait, stdout)
    }

    fn reading(mut self, stdout: ChildStdout) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if sender.send(line.expect("a line of text")).is_err() {
                    return;
                }
            }
        });
        self.lines = Some(lines);
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of stdout.
    pub(crate) fn line(&self) -> String {
        self.lines.as_ref().expect("reading").recv_timeout(LIMIT).expect("a line of output")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("kill");
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let status = wait_for("finwait to end", || self.child.try_wait().expect("wait"));
        let lines = self.lines.take().map(|lines| lines.into_iter().collect()).unwrap_or_default();
        let stderr = self.stderr.take().expect("once").join().expect("stderr");
        Ended { status, lines, stderr }
    }

    /// Numbers of the BPF programs that it holds.
    pub(crate) fn programs(&self) -> Vec<u32> {
        let mut programs: Vec<u32> = self
            .fdinfo()
            .iter()
            .filter(|info| !info.contains("link_id:"))
            .filter_map(|info| number(info))
            .collect();
        programs.sort_unstable();
        programs
    }

    /// prime and shadow at least; all programs are loaded before the first is attached.
    fn has_all_attached(&self) -> bool {
        let links = self.links();
        links >= 2 && links == self.programs().len()
    }

    fn links(&self) -> usize {
        self.fdinfo().iter().filter(|info| info.contains("link_id:")).count()
    }

    fn fdinfo(&self) -> Vec<String> {
        // Until it has executed finwait it is a copy of this process, with the descriptors of tests that run beside.
        let exe = std::fs::read_link(format!("/proc/{}/exe", self.child.id()));
        if !exe.is_ok_and(|exe| exe == Path::new(FINWAIT)) {
            return Vec::new();
        }
        let Ok(entries) = std::fs::read_dir(format!("/proc/{}/fdinfo", self.child.id())) else {
            return Vec::new();
        };
        entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok()).collect()
    }
}

impl Drop for Finwait {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("prog_id:"))?.trim().parse().ok()
}

/// Looks until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {} s for {what}", LIMIT.as_secs());
        thread::sleep(LOOK_AGAIN);
    }
}
