//! Resident memory of processes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// Ample for attaching, and for the first readings of the counters.
const SETTLED: Duration = Duration::from_secs(5);

/// VmRSS of `process` (a number, or `self`) in bytes.
pub(super) fn resident(process: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("malformed VmRSS")?;
    Ok(kib * 1024)
}

/// That of `finwait serve` with nothing to do, its programs attached. Its namespace's connections are few.
pub(super) fn idle(finwait: &Path) -> Result<u64> {
    let mut serve = Command::new(finwait);
    serve.args(["serve", "--web.listen-address", "127.0.0.1:0"]);
    let child = serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut served = Ended(child.context("starting finwait serve")?);
    sleep(SETTLED);
    ensure!(served.0.try_wait()?.is_none(), "finwait serve ended by itself: is this root?");
    resident(&served.0.id().to_string())
}

/// Ends the child with the scope, as a user would.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = kill_process(Pid::from_child(&self.0), Signal::INT);
        let _ = self.0.wait();
    }
}
