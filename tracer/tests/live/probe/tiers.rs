//! The tiers, and what is left to do without privileges.

use finwait_core::observation::Tier;
use tracer::probe::{HostReport, Probe, ProbeConfig, TierChoice, Verdict};

use super::harness::*;

#[test]
fn the_classic_tier_streams_the_same_transitions() {
    let _serial = SERIAL.lock();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
    in_namespace("classic", |_| {
        let config = ProbeConfig { tier: TierChoice::Classic, ..ProbeConfig::default() };
        let mut probe = Probe::attach(&config).expect("attach");
        assert_eq!(probe.tier(), Tier::Classic);
        let mut received = 0;
        observe(
            &mut probe,
            || churn(CONNECTIONS),
            |change| {
                received += 1;
                assert!(change.sock_addr.is_some() && change.local_addr.is_some());
                assert_eq!((change.cookie, change.task, change.netns, change.num), (None, None, None, None));
            },
        );
        let counters = probe.counters().expect("counters");
        report("classic", &probe, &counters, received);
        assert_eq!(received + counters.lost_ring, counters.transitions());
        assert_eq!(counters.untokened, None, "there is no shadow");
        // It sees every namespace; what it is skipped for is counted from 6.7 on.
        assert!(received >= CONNECTIONS * PER_CONNECTION * 99 / 100);
    });
}

#[test]
fn the_host_is_reported_as_it_is() {
    let _serial = SERIAL.lock();
    let report = HostReport::gather();
    println!("{report:#?}");
    assert_eq!(report.tier, Some(Tier::TpBtf));
    assert!(report.checks.iter().any(|check| check.name == "tp_btf" && check.verdict == Verdict::Ok));
}

#[test]
fn privileges_are_given_up_and_the_counters_stay_readable() {
    let _serial = SERIAL.lock();
    in_namespace("privileges", |netns| {
        let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
        // On a thread of its own: it is gone with its lack of privileges.
        std::thread::scope(|scope| {
            let probe = &mut probe;
            scope.spawn(move || {
                let left = probe.drop_privileges(&[]).expect("drop");
                println!("{left:?}");
                assert!(left.kept.iter().all(|kept| Some(*kept) == left.for_counters));
                let mut received = 0;
                observe(probe, || churn(10), |_| received += 1);
                let counters = probe.counters().expect("counters");
                assert_eq!((received, counters.transitions()), (102, 102));
                assert!(counters.recursion_missed.is_some());
                assert!(Probe::attach(&ProbeConfig::default()).is_err());
            });
        });
    });
}
