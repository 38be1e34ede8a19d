//! Live tests that cannot pass in some guests, each with its reason. They run there all the same; only their failure is
//! accepted, and the table counts it.

use crate::vm::kernel::Version;

/// A test that fails for a reason known beforehand.
struct Excuse {
    test: &'static str,
    /// The first kernel, as major and minor number, on which it must pass
    since: (u32, u32),
    reason: &'static str,
}

const NO_MISSES: &str = "the kernel does not count runs that it skipped";
const PORTLESS_CHILD: &str = "a child leaves LISTEN without its ports, by which the test finds it";

const EXCUSES: &[Excuse] = &[
    Excuse {
        test: "filters::ipv4_alone_passes_mapped_addresses_too",
        since: (6, 16),
        reason: PORTLESS_CHILD,
    },
    Excuse { test: "filters::ipv6_alone_drops_ipv4_sockets", since: (6, 16), reason: PORTLESS_CHILD },
    Excuse {
        test: "lifecycle::no_thread_keeps_a_capability_while_it_runs",
        since: (5, 19),
        reason: "the kernel wants CAP_BPF for reading the counters, so it is kept",
    },
    Excuse {
        test: "loss::a_consumer_that_does_not_read_loses_exactly_what_is_counted",
        since: (5, 12),
        reason: NO_MISSES,
    },
    Excuse {
        test: "loss::a_consumer_that_is_too_slow_says_nothing_false",
        since: (5, 12),
        reason: NO_MISSES,
    },
    Excuse {
        test: "probe::counts::what_prime_is_skipped_for_shadow_reports",
        since: (6, 1),
        reason: "the kernel skips no run: programs nest in themselves",
    },
    Excuse {
        test: "probe::tiers::privileges_are_given_up_and_the_counters_stay_readable",
        since: (5, 12),
        reason: NO_MISSES,
    },
    Excuse {
        test: "probe::values::values_are_those_of_the_socket",
        since: (5, 11),
        reason: "the kernel lacks the helper that shows a task's flags",
    },
];

/// Why `test` may fail on `kernel`, if it may.
pub(super) fn reason(test: &str, kernel: &Version) -> Option<&'static str> {
    let mut excuses = EXCUSES.iter().filter(|excuse| excuse.test == test);
    excuses.find(|excuse| kernel.before(excuse.since.0, excuse.since.1)).map(|excuse| excuse.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excuse_ends_with_the_kernel_that_mends_it() {
        let reason = |test, kernel: &str| reason(test, &kernel.parse().unwrap());
        assert!(reason("probe::values::values_are_those_of_the_socket", "5.10.223").is_some());
        assert!(reason("probe::values::values_are_those_of_the_socket", "5.11").is_none());
        assert!(reason("scenarios::ipv6", "5.10.223").is_none());
    }

    #[test]
    fn every_excused_test_exists() {
        let list = include_str!("../../../tracer/tests/live/LIST");
        for excuse in EXCUSES {
            assert!(list.lines().any(|line| line == excuse.test), "{}", excuse.test);
        }
    }
}
