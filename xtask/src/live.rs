//! The live tests: whether they can run here, and whether every one of them did.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::libtest::Report;

/// One test name a line; `#` starts a comment.
const LIST: &str = "tracer/tests/live/LIST";
/// Likewise: those that run only in the guests of `cargo xtask vm`, each with a guest to itself.
const LIST_VM: &str = "tracer/tests/live/LIST.vm";

const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// Places from which field offsets can be read; one is enough.
const LAYOUTS: [&str; 3] =
    ["/sys/kernel/btf/vmlinux", "/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// Why the live tests cannot run here, if they cannot.
pub(crate) fn obstacle() -> Option<&'static str> {
    if !privileged() {
        return Some("they need CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN: run this as root");
    }
    if !LAYOUTS.iter().any(|place| Path::new(place).exists()) {
        return Some("this kernel shows neither its BTF nor tracefs");
    }
    None
}

/// Whether this process may load programs.
pub(crate) fn privileged() -> bool {
    may_load(effective(&fs::read_to_string("/proc/self/status").unwrap_or_default()))
}

/// Fails unless the tests that passed are exactly the listed ones.
pub(crate) fn compare(root: &Path, report: &Report) -> Result<()> {
    compare_with(&listed(root, &[LIST])?, report)
}

/// The same in a guest, where `filters` chose among the tests of both lists, as libtest understands them.
pub(crate) fn compare_in_guest(root: &Path, report: &Report, filters: &[String]) -> Result<()> {
    compare_with(&chosen(listed(root, &[LIST, LIST_VM])?, filters), report)
}

/// The tests that run in guests only, as far as `filters` choose them.
pub(crate) fn only_in_guests(root: &Path, filters: &[String]) -> Result<Vec<String>> {
    Ok(chosen(listed(root, &[LIST_VM])?, filters).into_iter().collect())
}

fn chosen(mut names: BTreeSet<String>, filters: &[String]) -> BTreeSet<String> {
    names.retain(|name| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str())));
    names
}

fn listed(root: &Path, lists: &[&str]) -> Result<BTreeSet<String>> {
    let mut listed = BTreeSet::new();
    for list in lists {
        let text = fs::read_to_string(root.join(list)).with_context(|| (*list).to_owned())?;
        listed.extend(names(&text).into_iter().map(str::to_owned));
    }
    Ok(listed)
}

fn compare_with(listed: &BTreeSet<String>, report: &Report) -> Result<()> {
    let listed: BTreeSet<&str> = listed.iter().map(String::as_str).collect();
    let passed: BTreeSet<&str> = report.ok.iter().map(String::as_str).collect();
    let others = report.not_ok.iter().map(String::as_str);
    let present: BTreeSet<&str> = passed.iter().copied().chain(others).collect();
    let missing: Vec<_> = listed.difference(&passed).copied().collect();
    let unlisted: Vec<_> = present.difference(&listed).copied().collect();
    if !missing.is_empty() {
        bail!("listed in {LIST} but did not run and pass: {}", missing.join(", "));
    }
    if !unlisted.is_empty() {
        bail!("live tests not listed in {LIST}: {}", unlisted.join(", "));
    }
    Ok(())
}

fn names(list: &str) -> BTreeSet<&str> {
    let lines = list.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|name| !name.is_empty()).collect()
}

fn effective(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn may_load(capabilities: u64) -> bool {
    let both = CAP_BPF | CAP_PERFMON;
    capabilities & CAP_SYS_ADMIN != 0 || capabilities & both == both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ok: &[&str], not_ok: &[&str]) -> Report {
        let own = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Report { ok: own(ok), not_ok: own(not_ok), ..Report::default() }
    }

    fn checkout(list: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("tracer/tests/live")).unwrap();
        fs::write(root.path().join(LIST), list).unwrap();
        root
    }

    #[test]
    fn the_list_and_the_tests_are_the_same_set() {
        let root = checkout("# live\nopens # a comment\n\ncloses\n");
        compare(root.path(), &report(&["closes", "opens"], &[])).unwrap();
        let fails =
            |ok: &[&str], not_ok: &[&str]| compare(root.path(), &report(ok, not_ok)).unwrap_err().to_string();
        assert!(fails(&["opens"], &[]).contains("closes"));
        assert!(fails(&["opens"], &["closes"]).contains("did not run and pass: closes"));
        assert!(fails(&["opens", "closes", "resets"], &[]).contains("not listed"));
        assert!(fails(&["opens", "closes"], &["resets"]).contains("not listed"));
    }

    #[test]
    fn a_guest_runs_both_lists_or_what_was_chosen_of_them() {
        let root = checkout("opens\ncloses\n");
        fs::write(root.path().join(LIST_VM), "steered\n").unwrap();
        let in_guest = |ok: &[&str], filters: &[&str]| {
            let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
            compare_in_guest(root.path(), &report(ok, &[]), &filters)
        };
        in_guest(&["opens", "closes", "steered"], &[]).unwrap();
        assert!(in_guest(&["opens", "closes"], &[]).unwrap_err().to_string().contains("steered"));
        in_guest(&["opens", "closes"], &["pen", "clo"]).unwrap();
        assert!(in_guest(&["opens"], &["pen", "clo"]).unwrap_err().to_string().contains("closes"));
    }

    #[test]
    fn capabilities_that_are_enough() {
        assert!(may_load(effective("Name:\tx\nCapEff:\t000001ffffffffff\n")));
        assert!(may_load(CAP_BPF | CAP_PERFMON) && !may_load(CAP_BPF));
        assert!(!may_load(effective("CapEff:\t0000000000000000\n")) && !may_load(effective("")));
    }
}
