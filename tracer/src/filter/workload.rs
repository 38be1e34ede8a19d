//! Containers and systemd units. A record names its cgroup by number; what a cgroup is called is told once, before it is
//! needed. So only the numbers of those that match are kept.

use std::collections::HashSet;

use finwait_core::CgroupId;
use finwait_core::observation::{CgroupNames, Workload};

/// cgroups that are remembered as matching. One that comes after so many is taken for no match.
const MATCHING: usize = 65_536;

/// What is wanted, and the cgroups that are known to be that. Empty lists are "any".
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workloads {
    /// Beginnings of container ids, lower case
    pub containers: Vec<String>,
    /// systemd units
    pub units: Vec<UnitPattern>,
    matching: HashSet<CgroupId>,
}

impl Workloads {
    /// These containers and these units.
    #[must_use]
    pub fn new(containers: Vec<String>, units: Vec<UnitPattern>) -> Self {
        Self { containers, units, matching: HashSet::new() }
    }

    /// Nothing is asked for.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.containers.is_empty() && self.units.is_empty()
    }

    /// Takes note of a cgroup's names.
    pub fn learn(&mut self, names: &CgroupNames) {
        if self.is_any() {
            return;
        }
        if !self.want(&names.workload) {
            self.matching.remove(&names.cgroup);
        } else if self.matching.len() < MATCHING {
            self.matching.insert(names.cgroup);
        }
    }

    /// Whether what belongs to `cgroup` is shown.
    #[must_use]
    pub fn include(&self, cgroup: Option<CgroupId>) -> bool {
        self.is_any() || cgroup.is_some_and(|cgroup| self.matching.contains(&cgroup))
    }

    fn want(&self, workload: &Workload) -> bool {
        let container = workload.container.as_deref();
        let unit = workload.unit.as_deref();
        let of_container = |id: &str| self.containers.iter().any(|prefix| id.starts_with(prefix.as_str()));
        let of_unit = |name: &str| self.units.iter().any(|pattern| pattern.matches(name));
        (self.containers.is_empty() || container.is_some_and(of_container))
            && (self.units.is_empty() || unit.is_some_and(of_unit))
    }
}

/// A unit's name; `*` stands for any characters, `?` for one. Without a type `.service` is meant, as systemctl has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPattern(String);

impl UnitPattern {
    /// The pattern as typed.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let complete = text.contains(['.', '*', '?']);
        Self(if complete { text.to_owned() } else { format!("{text}.service") })
    }

    /// Whether the whole of `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut seen) = (0, 0);
        // Where the last `*` stands, and where in the name what follows it was last tried.
        let mut star: Option<(usize, usize)> = None;
        while seen < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, seen));
                    at += 1;
                }
                Some(c) if *c == '?' || *c == name[seen] => (at, seen) = (at + 1, seen + 1),
                _ => {
                    let Some((place, tried)) = star else { return false };
                    star = Some((place, tried + 1));
                    (at, seen) = (place + 1, tried + 1);
                }
            }
        }
        pattern[at..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests::workload;

    fn workloads(containers: &[&str], units: &[&str]) -> Workloads {
        let containers = containers.iter().map(|id| (*id).to_owned()).collect();
        Workloads::new(containers, units.iter().map(|unit| UnitPattern::new(unit)).collect())
    }

    #[test]
    fn a_unit_is_named_in_full_or_by_a_pattern() {
        for (pattern, name, matches) in [
            ("nginx", "nginx.service", true),
            ("nginx", "nginx-debug.service", false),
            ("nginx.service", "nginx.service", true),
            ("nginx.socket", "nginx.service", false),
            ("nginx*", "nginx-debug.service", true),
            ("*.slice", "system.slice", true),
            ("*.slice", "system.slice.d", false),
            ("getty@tty?.service", "getty@tty1.service", true),
            ("getty@tty?.service", "getty@tty10.service", false),
            ("*a*b*", "xaxxbx", true),
            ("*a*b*", "xbxxax", false),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(UnitPattern::new(pattern).matches(name), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn a_cgroup_is_included_once_its_names_match() {
        for (containers, units, included) in [
            (&["0a1b2c3d4e5f"][..], &[][..], true),
            (&["0a1b2c3d4e5f"], &["docker"], true),
            (&["0a1b2c3d4e5f"], &["nginx"], false),
            (&["ffff", "0a1b"], &[], true),
            (&["a1b2"], &[], false),
            (&[], &["docker*"], true),
        ] {
            let mut wanted = workloads(containers, units);
            assert!(!wanted.include(Some(CgroupId(77))), "its names are not known yet");
            wanted.learn(&CgroupNames { cgroup: CgroupId(77), workload: workload() });
            assert_eq!(wanted.include(Some(CgroupId(77))), included, "{containers:?} {units:?}");
            assert!(!wanted.include(Some(CgroupId(78))) && !wanted.include(None));
        }
    }

    #[test]
    fn with_nothing_asked_for_everything_is_included() {
        let any = workloads(&[], &[]);
        assert!(any.include(None) && any.include(Some(CgroupId(1))));
    }
}
