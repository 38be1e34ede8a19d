//! Capabilities as /proc shows them, before anything is tried.

use std::fs;

/// A set of capabilities, as /proc writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capabilities(u64);

impl Capabilities {
    const SYS_ADMIN: u32 = 21;
    const PERFMON: u32 = 38;
    const BPF: u32 = 39;
    /// What bears on tracing and on looking other processes and namespaces up.
    const NAMES: [(u32, &'static str); 8] = [
        (Self::BPF, "CAP_BPF"),
        (Self::PERFMON, "CAP_PERFMON"),
        (Self::SYS_ADMIN, "CAP_SYS_ADMIN"),
        (12, "CAP_NET_ADMIN"),
        (2, "CAP_DAC_READ_SEARCH"),
        (19, "CAP_SYS_PTRACE"),
        (24, "CAP_SYS_RESOURCE"),
        (34, "CAP_SYSLOG"),
    ];

    /// Those of this thread; `None` where /proc does not say.
    pub(super) fn effective() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/thread-self/status").ok()?)
    }

    fn parse(status: &str) -> Option<Self> {
        let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
        u64::from_str_radix(set.trim(), 16).ok().map(Self)
    }

    fn has(self, number: u32) -> bool {
        self.0 >> number & 1 != 0
    }

    /// Names of those of interest.
    pub(super) fn names(self) -> Vec<&'static str> {
        Self::NAMES.into_iter().filter(|(number, _)| self.has(*number)).map(|(_, name)| name).collect()
    }

    /// CAP_SYS_ADMIN stands in for both.
    pub(super) fn missing_for_loading(self) -> Vec<&'static str> {
        if self.has(Self::SYS_ADMIN) {
            return Vec::new();
        }
        Self::NAMES[..2].iter().filter(|(number, _)| !self.has(*number)).map(|(_, name)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let caps = |bits: u64| Capabilities::parse(&format!("Name:\tx\nCapEff:\t{bits:016x}\n")).unwrap();
        assert_eq!(caps(0).missing_for_loading(), ["CAP_BPF", "CAP_PERFMON"]);
        assert_eq!(caps(1 << 39).missing_for_loading(), ["CAP_PERFMON"]);
        assert_eq!(caps(1 << 39 | 1 << 38).missing_for_loading(), [""; 0]);
        assert_eq!(caps(1 << 21).missing_for_loading(), [""; 0]);
        assert_eq!(caps(1 << 21 | 1 << 39).names(), ["CAP_BPF", "CAP_SYS_ADMIN"]);
        assert_eq!(Capabilities::parse("CapEff:\tzz"), None);
        assert_eq!(Capabilities::parse(""), None);
    }
}
