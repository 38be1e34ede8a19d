//! What the kernel says its time in finwait's programs comes to, where the administrator has it measure that
//! (kernel.bpf_stats_enabled). Measuring costs some nanoseconds a run; finwait never turns it on.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileExt;

use aya::Ebpf;

/// One program.
#[derive(Clone, Debug, PartialEq)]
pub struct ProgramCost {
    /// Its name
    pub program: String,
    /// How often it ran while that was measured
    pub runs: u64,
    /// How long that took
    pub run_time_ns: u64,
}

/// Entries in fdinfo, opened while we may: after privileges are dropped some kernels would refuse.
#[derive(Debug, Default)]
pub struct ProgramCosts(Vec<(String, File)>);

impl ProgramCosts {
    pub(super) fn of(object: &Ebpf) -> Self {
        let info = |fd: i32| File::open(format!("/proc/self/fdinfo/{fd}")).ok();
        let loaded = object.programs().filter_map(|(name, program)| {
            Some((name.to_owned(), info(program.fd().ok()?.as_fd().as_raw_fd())?))
        });
        Self(loaded.collect())
    }

    /// As it stands now; nothing where nothing was ever measured.
    #[must_use]
    pub fn read(&self) -> Vec<ProgramCost> {
        let cost = |(name, file): &(String, File)| {
            let mut text = [0; 1024];
            let length = file.read_at(&mut text, 0).ok()?;
            cost(name, &String::from_utf8_lossy(&text[..length]))
        };
        let costs: Vec<_> = self.0.iter().filter_map(cost).collect();
        if costs.iter().all(|cost| cost.runs == 0) { Vec::new() } else { costs }
    }
}

/// `bpf_prog_show_fdinfo` (kernel/bpf/syscall.c, since 5.1).
fn cost(name: &str, fdinfo: &str) -> Option<ProgramCost> {
    let field = |name: &str| fdinfo.lines().find_map(|line| line.strip_prefix(name))?.trim().parse().ok();
    Some(ProgramCost {
        program: name.to_owned(),
        runs: field("run_cnt:")?,
        run_time_ns: field("run_time_ns:")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_their_time_are_those_of_fdinfo() {
        let text = "pos:\t0\nprog_type:\t26\nrun_time_ns:\t61200\nrun_cnt:\t102\nrecursion_misses:\t0\n";
        let expected = ProgramCost { program: "prime".into(), runs: 102, run_time_ns: 61_200 };
        assert_eq!(cost("prime", text), Some(expected));
        assert_eq!(cost("prime", "pos:\t0\nprog_type:\t26\n"), None);
    }
}
