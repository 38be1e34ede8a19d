//! The classic tier: the same transitions, less about each.

use finwait_core::observation::{Program, Tier};
use finwait_core::record::CloseKind;
use finwait_core::{Observation, Reason, StateChange, TrackerConfig};
use tracer::probe::TierChoice;
use tracer::probe::host::{KernelVersion, kernel_release};
use tracer::scenario::check::{closes_of, false_claims, sides};
use tracer::scenario::watch::{Reading, Seen, only, track, track_with};
use tracer::scenario::{Made, Namespace, catalog};
use tracer_common::KernelFilter;

use crate::replay::assert_replays;
use crate::support::{attach, steps};

/// The classic tracepoint knows no namespaces: the host's own traffic is seen as well.
fn all_scenarios_by_the_classic_tier() -> (Made, Seen) {
    let namespace = Namespace::new().expect("namespace");
    let probe = attach(KernelFilter::default(), TierChoice::Classic);
    assert_eq!(probe.tier(), Tier::Classic);
    let _shared = crate::support::undisturbed();
    let mut observations = Vec::new();
    let keep = |observation: &Observation| observations.push(observation.clone());
    let traffic = || catalog::run(catalog::ALL, &namespace);
    let (made, seen) =
        track_with(probe, Reading::Always, TrackerConfig::default(), traffic, keep).expect("run");
    assert_replays(&observations, &seen);
    (made, seen)
}

#[test]
fn classic_gives_the_same_transitions_and_says_nothing_false() {
    let (made, seen) = all_scenarios_by_the_classic_tier();
    let mut incomplete = Vec::new();
    for (connection, name, side) in sides(&made) {
        let who = format!("{} {}", connection.name, name.name());
        let closes = closes_of(connection, name, &seen.closes);
        for close in &closes {
            let lies = false_claims(close, side);
            assert!(lies.is_empty(), "{who}: {lies:?}");
        }
        match closes[..] {
            [close] if steps(close) == side.transitions => assert_eq!(close.chain_breaks, 0, "{who}"),
            _ => incomplete.push(who),
        }
    }
    // Classic has no shadow: what the kernel skips it for is missing, and counted where the kernel counts it.
    let skipped = seen.accounting.recursion_missed.unwrap_or(0);
    assert!(incomplete.len() as u64 <= skipped, "{incomplete:?}, though only {skipped} were skipped");
}

#[test]
fn classic_leaves_out_what_its_tracepoint_does_not_show() {
    let (made, seen) = all_scenarios_by_the_classic_tier();
    let skipped = seen.accounting.recursion_missed.unwrap_or(0) as usize;
    assert!(seen.transitions.len() + skipped >= made.transition_count(), "{:?}", seen.accounting);
    for record in &seen.transitions {
        let change: &StateChange = &record.change;
        assert_eq!(change.stream.program, Program::Classic);
        assert_eq!((change.cookie, change.netns, change.cgroup, change.inode), (None, None, None, None));
        assert_eq!((change.uid, change.mark, change.task, change.lock_owned), (None, None, None, None));
        assert_eq!((change.flags, change.shutdown, change.err, change.tcp.snd_una), (None, None, None, None));
        assert!(change.sock_addr.is_some() && change.local_addr.is_some());
        assert_eq!(record.actor.reason(), Some(Reason::FieldAbsent));
    }
    let version = KernelVersion::parse(&kernel_release()).expect("a version");
    let counts = version >= KernelVersion(6, 7);
    assert_eq!(seen.accounting.recursion_missed.is_some(), counts, "{:?}", seen.accounting);
    assert_eq!(seen.accounting.rescued, counts.then_some(0), "nothing stands in for classic");
}

#[test]
fn classic_does_not_guess_who_reset() {
    let (made, seen) = all_scenarios_by_the_classic_tier();
    let reset = made.connections.iter().find(|made| made.name == catalog::LINGER_ZERO.name).expect("made");
    for (name, _) in reset.sides() {
        let close = closes_of(reset, name, &seen.closes)[0];
        let kind = close.kind.value();
        assert!(kind.is_none() || kind == Some(&CloseKind::Reset), "{:?}", close.kind);
        assert_eq!(close.reset.and_then(|reset| reset.direction.value().copied()), None, "{}", name.name());
    }
}

#[test]
fn both_tiers_see_the_same_of_one_traffic() {
    let namespace = Namespace::new().expect("namespace");
    let (tp_btf, classic) = (
        attach(only(namespace.inode()), TierChoice::TpBtf),
        attach(KernelFilter::default(), TierChoice::Classic),
    );
    let config = TrackerConfig::default();
    let _shared = crate::support::undisturbed();
    let ((made, inner), outer) = track(classic, Reading::Always, config, || {
        track(tp_btf, Reading::Always, config, || catalog::RECONNECT.run(&namespace))
    })
    .expect("run");
    for (connection, name, _) in sides(&made) {
        let [one] = closes_of(connection, name, &inner.closes)[..] else { panic!("{connection:?}") };
        let [other] = closes_of(connection, name, &outer.closes)[..] else { panic!("{connection:?}") };
        assert_eq!(steps(one), steps(other), "{} {}", connection.name, name.name());
    }
}

#[test]
fn processes_cannot_be_filtered_by_in_the_classic_tier() {
    let mut command = std::process::Command::new(crate::process::FINWAIT);
    let output = crate::support::output(command.args(["states", "--tier", "classic", "-p", "1"]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("-p") && stderr.lines().count() == 1, "{stderr}");
}
