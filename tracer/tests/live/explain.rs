//! What has just ended is explained and summed up.

use rustix::process::Signal;
use tracer::scenario::{Namespace, catalog};

use crate::process::{Ended, Finwait};

/// Runs finwait with `arguments` on what happens in `namespace`.
fn watched(arguments: &[&str], namespace: &Namespace, scene: impl FnOnce()) -> Ended {
    let netns = namespace.inode().to_string();
    let finwait = Finwait::attached(&[arguments, &["--netns", &netns]].concat());
    scene();
    finwait.signal(Signal::INT);
    let ended = finwait.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn both_ends_of_a_connection_that_has_just_ended_stand_in_one_ladder() {
    let namespace = Namespace::new().expect("namespace");
    let ended = watched(&["explain", "--ascii"], &namespace, || {
        catalog::SLOW_SERVER.run(&namespace).expect("run");
    });
    let text = ended.lines.join("\n");
    let explained = ended.lines.iter().filter(|line| line.contains("  closed at ")).count();
    assert_eq!(explained, 1, "{text}");
    // Not every kernel tells which call it was.
    for part in [
        "1: FIN",
        "CLOSE_WAIT",
        "This end closed first: ",
        "by scene-client/",
        "its own record says: passive.",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The namespace is not finwait's own: what holds there was not read.
    assert!(text.contains("belongs to another"), "{text}");
}

#[test]
fn so_many_are_explained_and_then_it_ends_by_itself() {
    let namespace = Namespace::new().expect("namespace");
    let netns = namespace.inode().to_string();
    let finwait = Finwait::attached(&["explain", "--count", "1", "--kind", "refused", "--netns", &netns]);
    catalog::REFUSED.run(&namespace).expect("run");
    let ended = finwait.end();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.lines.iter().any(|line| line.contains("was answered by a reset.")), "{:?}", ended.lines);
}

#[test]
fn a_report_counts_every_end_of_what_was_made() {
    let namespace = Namespace::new().expect("namespace");
    let mut sides = 0;
    let ended = watched(&["report", "-o", "json"], &namespace, || {
        sides = catalog::run(&catalog::DEMO, &namespace).expect("run").side_count();
    });
    let report: serde_json::Value = serde_json::from_str(&ended.lines.join("")).expect("JSON");
    assert_eq!(report["closes"], sides, "{report}");
    assert_eq!(report["resets_sent"]["so_linger_0"], 1, "{report}");
    assert_eq!(report["losses"]["lost"], 0, "{report}");
}
