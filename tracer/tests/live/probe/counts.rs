//! What is counted, lost and rescued, whatever the load. That all that was made is received is `cargo xtask bench churn`.

use std::{collections::HashMap, process::Command};

use finwait_core::TcpState;
use tracer::probe::TierChoice;

use super::harness::*;

#[test]
fn each_stream_is_numbered_without_a_gap_and_all_counted_is_received() {
    let _serial = SERIAL.lock();
    in_namespace("churn", |netns| {
        let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
        let (mut received, mut numbers) = (0, HashMap::new());
        observe(
            &mut probe,
            || churn(CONNECTIONS),
            |change| {
                received += 1;
                assert_eq!(change.netns, Some(netns));
                let number = numbers.entry(change.stream).or_insert(0);
                *number += 1;
                assert_eq!(change.seq, *number, "no gap in {:?}", change.stream);
            },
        );
        let counters = probe.counters().expect("counters");
        report("churn", &probe, &counters, received);
        assert_eq!(received + counters.lost_ring, counters.transitions());
        assert_eq!(counters.pair(TcpState::Close, TcpState::SynSent), CONNECTIONS);
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
        let mut received = 0;
        let traffic = || {
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| churn(CONNECTIONS / 2));
                }
            });
        };
        observe(&mut probe, traffic, |_| received += 1);
        let counters = probe.counters().expect("counters");
        report("steered", &probe, &counters, received);
        assert_eq!(received + counters.lost_ring, counters.transitions());
        assert!(counters.recursion_missed > Some(0), "nothing nested, so nothing was tried");
        assert!(counters.rescued_candidates >= counters.recursion_missed);
    });
}
