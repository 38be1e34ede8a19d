//! What a guest's report comes to.

use std::path::Path;

use crate::live;
use crate::vm::excuses;
use crate::vm::guest::Outcome;
use crate::vm::kernel::Version;
use crate::vm::matrix::Said;

/// The last line of a demo that saw everything.
const DEMO_WHOLE: &str = "all seen whole; lost 0";

/// The live tests: side by side, then those that want the guest to themselves, where there are any.
const LIVE: [&str; 2] = ["live", "alone"];
/// Those that failed, once more and one after the other: an emulated machine now and then stands still for longer than a
/// test can bear.
const AGAIN: &str = "again";

/// One line of the table.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Live tests that passed
    pub(super) passed: usize,
    /// Those of them that failed at first
    pub(super) again: Vec<String>,
    /// Names and reasons
    pub(super) excused: Vec<(String, &'static str)>,
    /// Whatever else went wrong, one sentence or test name each
    pub(super) failures: Vec<String>,
    /// Kernel modules that are missing or were refused
    pub(super) without: Vec<String>,
    /// What each row of the scenario suite proved
    pub(super) rows: Said,
}

/// Compares what `outcome` reports with what a guest with `version` has to, when `filters` chose its tests.
pub(super) fn judge(root: &Path, version: &Version, outcome: &Outcome, filters: &[String]) -> Verdict {
    let transcript = &outcome.transcript;
    let is_absent = |line: &&String| line.starts_with("missing ") || line.starts_with("refused ");
    let without = transcript.lines("modules").iter().filter(is_absent).cloned().collect();
    let mut verdict = Verdict { without, ..Verdict::default() };
    if transcript.status("modules").is_none() {
        verdict.failures.push("the kernel's modules were not loaded".to_owned());
    }
    if outcome.timed_out {
        verdict.failures.push("it did not answer in time".to_owned());
    }
    if transcript.status("doctor") != Some(0) {
        verdict.failures.push("`finwait doctor` failed".to_owned());
    }
    let last = transcript.lines("demo").iter().rfind(|line| !line.is_empty());
    let whole = last.is_some_and(|line| line.ends_with(DEMO_WHOLE));
    if transcript.status("demo") != Some(0) || !whole {
        verdict.failures.push("`finwait demo` did not see all it made".to_owned());
    }
    let (mut report, status) = (transcript.tests(&LIVE), transcript.worst_status(&LIVE));
    let repeated = transcript.tests(&[AGAIN]).ok;
    let (again, not_ok) =
        std::mem::take(&mut report.not_ok).into_iter().partition(|test| repeated.contains(test));
    verdict.again = again;
    report.ok.extend(verdict.again.iter().cloned());
    verdict.passed = report.ok.len();
    let not_ok: Vec<String> = not_ok;
    for test in not_ok {
        match excuses::reason(&test, version) {
            // Only one that has ended may be excused.
            Some(reason) if status.is_some() => {
                verdict.excused.push((test.clone(), reason));
                report.ok.push(test);
            }
            _ => {
                verdict.failures.push(test.clone());
                report.not_ok.push(test);
            }
        }
    }
    if status.is_none() {
        verdict.failures.push("the live tests did not end".to_owned());
    }
    // A failed test is named already; this finds those that are missing, or not listed.
    if verdict.failures.is_empty()
        && let Err(error) = live::compare_in_guest(root, &report, filters)
    {
        verdict.failures.push(format!("{error:#}"));
    }
    let nothing_failed = verdict.excused.is_empty() && verdict.again.is_empty();
    if status != Some(0) && verdict.failures.is_empty() && nothing_failed {
        verdict.failures.push("the live tests failed without naming one".to_owned());
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::transcript::Transcript;

    const EXCUSED: &str = "probe::values::values_are_those_of_the_socket";

    fn judged(kernel: &str, live: &str, timed_out: bool) -> Verdict {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("tracer/tests/live")).unwrap();
        std::fs::write(root.path().join("tracer/tests/live/LIST"), format!("a\n{EXCUSED}\n")).unwrap();
        std::fs::write(root.path().join("tracer/tests/live/LIST.vm"), "").unwrap();
        let text = format!(
            "@guest begin modules\nloaded tun\nmissing sch_netem\n@guest end modules 0\n\
             @guest begin doctor\n@guest end doctor 0\n\
             @guest begin demo\n7 sides: all seen whole; lost 0\n@guest end demo 0\n@guest begin live\n{live}"
        );
        let transcript = Transcript::read(text.as_bytes());
        let outcome = Outcome { transcript, timed_out, spoiled: false, console: String::new() };
        judge(root.path(), &kernel.parse().unwrap(), &outcome, &[])
    }

    #[test]
    fn all_that_is_listed_has_to_pass() {
        let all = format!("test a ... ok\ntest {EXCUSED} ... ok\n@guest end live 0\n");
        let verdict = judged("6.1", &all, false);
        assert_eq!((verdict.passed, verdict.failures.len()), (2, 0), "{verdict:?}");
        assert_eq!(verdict.without, ["missing sch_netem"]);
        let verdict = judged("6.1", "test a ... ok\n@guest end live 0\n", false);
        assert!(verdict.failures[0].contains(EXCUSED), "{verdict:?}");
    }

    #[test]
    fn an_excuse_holds_on_old_kernels_only() {
        let failed = format!("test a ... ok\ntest {EXCUSED} ... FAILED\n@guest end live 101\n");
        let verdict = judged("5.10", &failed, false);
        assert_eq!((verdict.passed, verdict.excused.len(), verdict.failures.len()), (1, 1, 0), "{verdict:?}");
        assert_eq!(judged("6.1", &failed, false).failures, [EXCUSED]);
    }

    #[test]
    fn one_that_passes_at_its_second_run_is_named_and_one_that_does_not_has_failed() {
        let first =
            format!("test a ... FAILED\ntest {EXCUSED} ... ok\n@guest end live 101\n@guest begin again\n");
        let verdict = judged("6.1", &format!("{first}test a ... ok\n@guest end again 0\n"), false);
        assert_eq!(
            (verdict.passed, verdict.again.as_slice()),
            (2, ["a".to_owned()].as_slice()),
            "{verdict:?}"
        );
        assert!(verdict.failures.is_empty(), "{verdict:?}");
        let verdict = judged("6.1", &format!("{first}test a ... FAILED\n@guest end again 101\n"), false);
        assert_eq!(
            (verdict.passed, verdict.failures.as_slice()),
            (1, ["a".to_owned()].as_slice()),
            "{verdict:?}"
        );
        let verdict = judged("6.1", &first, true);
        assert!(verdict.failures.contains(&"a".to_owned()), "{verdict:?}");
    }

    #[test]
    fn silence_is_a_failure() {
        let verdict = judged("5.10", &format!("test a ... ok\ntest {EXCUSED} ... "), true);
        assert!(verdict.excused.is_empty());
        assert_eq!(verdict.failures.len(), 3, "{verdict:?}");
    }
}
