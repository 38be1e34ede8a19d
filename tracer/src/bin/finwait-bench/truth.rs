//! A second witness: the kernel's own trace (ftrace) of the same event, in an instance of its own. It uses no BPF, so what
//! it saw and the kernel programs did not count was made, but no BPF program was called for it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const EVENT: &str = "events/sock/inet_sock_set_state";

/// An ftrace instance that counts transitions at one port. It goes away with this value.
#[derive(Debug)]
pub(crate) struct Witness {
    folder: PathBuf,
}

impl Witness {
    /// Counts from now on; `None` where the host shows no tracefs.
    pub(crate) fn of(port: u16) -> Result<Option<Self>> {
        let Some(root) = TRACEFS.iter().map(PathBuf::from).find(|root| root.join(EVENT).exists()) else {
            return Ok(None);
        };
        let folder = root.join(format!("instances/finwait-bench-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
        let witness = Self { folder };
        witness.write(&format!("{EVENT}/filter"), &format!("sport == {port} || dport == {port}"))?;
        witness.write(&format!("{EVENT}/enable"), "1")?;
        Ok(Some(witness))
    }

    /// Transitions so far, also those whose trace has been overwritten.
    pub(crate) fn count(&self) -> Result<u64> {
        let mut sum = 0;
        for cpu in fs::read_dir(self.folder.join("per_cpu")).context("the trace's processors")? {
            let stats = fs::read_to_string(cpu?.path().join("stats")).context("the trace's statistics")?;
            let fields = stats.lines().filter_map(|line| line.split_once(": "));
            let counts = fields.filter(|(name, _)| matches!(*name, "entries" | "overrun"));
            for (_, count) in counts {
                sum += count.trim().parse::<u64>().context("a count")?;
            }
        }
        Ok(sum)
    }

    fn write(&self, file: &str, text: &str) -> Result<()> {
        fs::write(self.folder.join(file), text).with_context(|| format!("writing {file}"))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // An instance that cannot be removed stays until the next boot; nothing more can be done here.
        let _ = self.write(&format!("{EVENT}/enable"), "0");
        let _ = fs::remove_dir(&self.folder);
    }
}
