//! The tools that are compared: started, waited for, asked what the kernel booked on their programs, ended.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aya::programs::{ProgramInfo, loaded_programs};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use tracer::scenario::Namespace;

use crate::traffic;

/// A tool must have attached its programs by then, and ended after SIGINT.
const LIMIT: Duration = Duration::from_secs(15);

/// What can be put beside another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tool {
    /// No tool at all
    None,
    /// `finwait closes`
    Finwait,
    /// The same with prime and its shadows alone at work: no time-wait hooks
    Spine,
    /// The same with every hook, time-wait sockets by fentry
    WithFentry,
    /// The same with every hook, time-wait sockets by the timers
    WithTimers,
    /// libbpf-tools
    Tcpstates,
    /// libbpf-tools
    Tcplife,
}

impl Tool {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Finwait => "finwait closes",
            Self::Spine => "spine alone",
            Self::WithFentry => "all, fentry",
            Self::WithTimers => "all, timers",
            Self::Tcpstates => "tcpstates",
            Self::Tcplife => "tcplife",
        }
    }
}

/// Where the tools are.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    pub(crate) finwait: PathBuf,
    pub(crate) libbpf_tools: PathBuf,
}

impl Paths {
    fn command(&self, tool: Tool) -> Option<Command> {
        let closes = |arguments: &[&'static str]| (self.finwait.clone(), [&["closes"], arguments].concat());
        let (program, arguments) = match tool {
            Tool::None => return None,
            Tool::Finwait => closes(&[]),
            Tool::Spine => closes(&["--time-wait", "off"]),
            Tool::WithFentry => closes(&["--time-wait", "fentry"]),
            Tool::WithTimers => closes(&["--time-wait", "timer"]),
            Tool::Tcpstates | Tool::Tcplife => (self.libbpf_tools.join(tool.name()), Vec::new()),
        };
        let mut command = Command::new(program);
        command.args(arguments);
        Some(command)
    }
}

/// A tool that is attached.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    programs: HashSet<u32>,
}

/// What the kernel booked on a tool's programs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Booked {
    /// All programs together
    pub(crate) run_time: Duration,
    /// Of finwait's prime, or of another tool's program that ran most often: it ran once for each transition
    pub(crate) runs: u64,
    /// Of the timer hooks
    pub(crate) timers: Runs,
}

/// Runs of some programs, and how long they took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Runs {
    pub(crate) time: Duration,
    pub(crate) count: u64,
}

/// finwait's program that every transition runs.
const PRIME: &str = "prime";
/// What the names of the timer hooks begin with.
const TIMER: &str = "timer_";

impl Running {
    /// Starts `tool` on `cpu`, output thrown away; `None` for no tool. Returns when it sees transitions, made by
    /// connections in `namespace`.
    pub(crate) fn start(
        tool: Tool,
        paths: &Paths,
        cpu: usize,
        namespace: &Namespace,
    ) -> Result<Option<Self>> {
        let Some(mut command) = paths.command(tool) else { return Ok(None) };
        let before = program_ids()?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().with_context(|| format!("starting {}", show(command.get_program())))?;
        let mut running = Self { child, programs: HashSet::new() };
        running.pin(cpu)?;
        running.await_attached(&before, namespace).with_context(|| tool.name())?;
        Ok(Some(running))
    }

    fn pin(&self, cpu: usize) -> Result<()> {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Threads started later follow; none is at work yet.
        sched_setaffinity(Some(self.pid()?), &set).context("pinning a tool")
    }

    fn await_attached(&mut self, before: &HashSet<u32>, namespace: &Namespace) -> Result<()> {
        let end = Instant::now() + LIMIT;
        loop {
            ensure!(self.child.try_wait()?.is_none(), "ended by itself");
            ensure!(Instant::now() < end, "saw nothing within {} s", LIMIT.as_secs());
            self.programs = program_ids()?.difference(before).copied().collect();
            let runs = self.booked()?.runs;
            traffic::lone(namespace, crate::load::CHUNK, 0)?;
            if runs > 0 && self.booked()?.runs >= runs + u64::from(crate::load::CHUNK) {
                return Ok(());
            }
        }
    }

    /// Needs the kernel's statistics switched on.
    pub(crate) fn booked(&self) -> Result<Booked> {
        let mut booked = Booked::default();
        let mut prime = None;
        for info in programs()?.into_iter().filter(|info| self.programs.contains(&info.id())) {
            let (name, count) = (info.name_as_str().unwrap_or_default(), info.run_count());
            booked.run_time += info.run_time();
            booked.runs = booked.runs.max(count);
            if name == PRIME {
                prime = Some(count);
            }
            if name.starts_with(TIMER) {
                booked.timers.time += info.run_time();
                booked.timers.count += count;
            }
        }
        booked.runs = prime.unwrap_or(booked.runs);
        Ok(booked)
    }

    /// Processor time of the tool itself so far.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("a tool's time")?;
        // The name in parentheses may hold blanks; user and system time are the 12th and 13th field after it.
        let after = stat.rsplit_once(')').context("malformed stat")?.1;
        let mut fields = after.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
        let (user, system) = (fields.next().context("no time")??, fields.next().context("no time")??);
        // USER_HZ is 100 on every architecture that Linux and Rust share.
        Ok(Duration::from_millis((user + system) * 10))
    }

    /// Ends the tool as a user would.
    pub(crate) fn stop(mut self) -> Result<()> {
        kill_process(self.pid()?, Signal::INT).context("ending a tool")?;
        let end = Instant::now() + LIMIT;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < end, "a tool did not end after SIGINT");
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_child(&self.child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether `path` can be run.
pub(crate) fn require(path: &Path, hint: &str) -> Result<()> {
    ensure!(path.is_file(), "{} is missing: {hint}", path.display());
    Ok(())
}

fn program_ids() -> Result<HashSet<u32>> {
    Ok(programs()?.iter().map(ProgramInfo::id).collect())
}

fn programs() -> Result<Vec<ProgramInfo>> {
    // A program that goes away while they are listed is none of ours.
    Ok(loaded_programs().filter_map(Result::ok).collect())
}

fn show(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}
