//! What is made, seen, lost and rescued.

use std::{collections::HashMap, process::Command, time::Duration};

use finwait_core::TcpState;
use finwait_core::observation::Program;
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer_common::KernelFilter;

use crate::harness::*;

#[test]
fn every_transition_arrives_and_is_counted() {
    let _serial = SERIAL.lock();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
    in_namespace("churn", |netns| {
        for round in 0..ROUNDS {
            let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
            let (mut received, mut repeated, mut broken) = (0, 0, 0);
            let (mut last, mut numbers) = (HashMap::new(), HashMap::new());
            observe(
                &mut probe,
                || churn(CONNECTIONS),
                |change| {
                    received += 1;
                    assert_eq!(change.netns, Some(netns));
                    let number = numbers.entry(change.stream).or_insert(0);
                    *number += 1;
                    assert_eq!(change.seq, *number, "no gap in {:?}", change.stream);
                    match last.insert(change.cookie, (change.old, change.new)) {
                        Some(before)
                            if before == (change.old, change.new)
                                && change.stream.program == Program::Shadow =>
                        {
                            repeated += 1;
                        }
                        Some((_, state)) if state != change.old => {
                            broken += 1;
                            println!(
                                "broken: {state:?} then {:?} to {:?}: {change:?}",
                                change.old, change.new
                            );
                        }
                        _ => {}
                    }
                },
            );
            last.retain(|_, (_, state)| *state != TcpState::Close);
            println!("not closed at the end: {last:?}; repeated {repeated}, broken chains {broken}");
            let counters = probe.counters().expect("counters");
            report(&format!("round {round}"), &probe, &counters, received);
            for (old, new) in TcpState::ALL.into_iter().flat_map(|old| TcpState::ALL.map(|new| (old, new))) {
                if counters.pair(old, new) != 0 {
                    print!("{}>{} {}  ", old.short(), new.short(), counters.pair(old, new));
                }
            }
            println!();
            assert_eq!(received + counters.lost_ring, counters.transitions());
            assert_about(received - repeated, CONNECTIONS * PER_CONNECTION + LISTENER);
            assert_eq!(counters.pair(TcpState::Close, TcpState::SynSent), CONNECTIONS);
        }
    });
}

/// Receive packet steering makes softirqs interrupt the programs on the other CPU.
#[test]
fn what_prime_is_skipped_for_shadow_reports() {
    let _serial = SERIAL.lock();
    in_namespace("nesting", |netns| {
        let steer = "mount -t sysfs sysfs /sys && echo 3 > /sys/class/net/lo/queues/rx-0/rps_cpus";
        let steered = Command::new("unshare").args(["--mount", "sh", "-c", steer]).status().expect("unshare");
        assert!(steered.success());
        let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
        let (mut received, mut repeated) = (0, 0);
        let mut last = HashMap::new();
        let traffic = || {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| churn(CONNECTIONS / 2));
                }
            });
        };
        observe(&mut probe, traffic, |change| {
            received += 1;
            let state = (change.old, change.new);
            if change.cookie.is_some() && last.insert(change.cookie, state) == Some(state) {
                repeated += 1;
            }
        });
        let counters = probe.counters().expect("counters");
        report("steered", &probe, &counters, received);
        println!("steered: made {}, repeated {repeated}", 4 * (CONNECTIONS / 2 * PER_CONNECTION + LISTENER));
        assert_eq!(received + counters.lost_ring, counters.transitions());
        assert!(counters.rescued_candidates >= counters.recursion_missed);
    });
}

#[test]
fn without_a_filter_every_transition_of_the_host_is_seen() {
    let _serial = SERIAL.lock();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
    let mut probe = attach(KernelFilter::default(), TierChoice::TpBtf);
    let (mut received, mut mine) = (0, 0);
    in_namespace("churn", |netns| {
        observe(
            &mut probe,
            || churn(CONNECTIONS),
            |change| {
                received += 1;
                mine += u64::from(change.netns == Some(netns));
            },
        );
    });
    let counters = probe.counters().expect("counters");
    report("unfiltered", &probe, &counters, received);
    assert_about(mine, CONNECTIONS * PER_CONNECTION + LISTENER);
}

#[test]
fn a_full_ring_loses_what_the_counters_say() {
    let _serial = SERIAL.lock();
    in_namespace("churn", |netns| {
        let config = ProbeConfig { ring_bytes: 4096, filter: filter_for(netns), tier: TierChoice::TpBtf };
        let mut probe = Probe::attach(&config).expect("attach");
        churn(1000);
        std::thread::sleep(Duration::from_millis(100));
        let mut numbers = HashMap::new();
        let mut received = 0;
        observe(
            &mut probe,
            || (),
            |change| {
                received += 1;
                *numbers.entry(change.stream).or_insert(0u64) = change.seq;
            },
        );
        let counters = probe.counters().expect("counters");
        report("full ring", &probe, &counters, received);
        assert!(counters.lost_ring > 0);
        assert_eq!(received + counters.lost_ring, counters.transitions());
        assert_about(counters.transitions(), 1000 * PER_CONNECTION + LISTENER);
    });
}
