//! Silences before the first FIN. Where many connections of a service are closed after the same silence, a timer does it: a
//! load balancer's 60 s, a pool's 90 s.
//!
//! Silences are kept in buckets 9 % wide. A cluster is a run of up to three neighbouring buckets around a peak that holds more than
//! three times as many as its surroundings do at their densest; clusters hold five closes or more.

use std::collections::{BTreeMap, HashMap};

use finwait_core::Port;
use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, Role};

/// A shorter silence is no timer's.
const MIN_IDLE_NS: u64 = 1_000_000_000;
/// Buckets in one doubling.
const PER_OCTAVE: f64 = 8.0;
/// Closes in a cluster, at least.
const MIN_CLOSES: u64 = 5;
/// Share of its group's silences, at least one in so many.
const ONE_IN: u64 = 20;
/// How much denser a peak is than what surrounds it.
const CONTRAST: u64 = 3;
/// Buckets on each side of a peak that surround it.
const AROUND: i32 = 5;
/// Services and ends that are told apart.
const GROUPS: usize = 4_096;
/// Clusters that are told.
const TOLD: usize = 20;

/// Whose silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Group {
    role: Option<Role>,
    service: Option<Port>,
    first: FirstCloser,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    count: u64,
    sum_ns: u128,
    min_ns: u64,
    max_ns: u64,
}

/// Closes after about the same silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleCluster {
    /// Which end opened
    pub role: Option<Role>,
    /// Port of the end that accepted
    pub service: Option<Port>,
    /// Which end closed first
    pub first: FirstCloser,
    /// Mean of the silences
    pub mean_ns: u64,
    /// Shortest
    pub min_ns: u64,
    /// Longest
    pub max_ns: u64,
    /// How many closes
    pub closes: u64,
    /// Out of how many closes of this service and end that came after a silence of a second or more
    pub of: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Idle(HashMap<Group, BTreeMap<i32, Bucket>>);

impl Idle {
    /// Takes note of an orderly close; the silence is since data last went either way.
    pub(super) fn close(&mut self, close: &CloseRecord) {
        let orderly = matches!(
            close.kind.value(),
            Some(CloseKind::Active | CloseKind::Passive | CloseKind::Simultaneous)
        );
        let (Some(sent), Some(received), Some(first), true) =
            (close.idle_send_ns, close.idle_receive_ns, close.first_closer.value(), orderly)
        else {
            return;
        };
        let idle = sent.min(received);
        let role = close.role.value().copied();
        let service = match role {
            Some(Role::Opened) => close.remote.port,
            Some(Role::Accepted) => close.local.port,
            _ => None,
        };
        let group = Group { role, service, first: *first };
        if idle >= MIN_IDLE_NS && (self.0.len() < GROUPS || self.0.contains_key(&group)) {
            self.0.entry(group).or_default().entry(bucket(idle)).or_insert(Bucket::EMPTY).take(idle);
        }
    }

    /// The clusters, most closes first.
    pub(super) fn clusters(&self) -> Vec<IdleCluster> {
        let mut all: Vec<IdleCluster> =
            self.0.iter().flat_map(|(group, buckets)| clusters(*group, buckets)).collect();
        all.sort_by_key(|found| {
            (std::cmp::Reverse(found.closes), found.mean_ns, found.service, found.role, found.first)
        });
        all.truncate(TOLD);
        all
    }
}

impl Bucket {
    const EMPTY: Self = Self { count: 0, sum_ns: 0, min_ns: u64::MAX, max_ns: 0 };

    fn take(&mut self, ns: u64) {
        self.add(&Self { count: 1, sum_ns: ns.into(), min_ns: ns, max_ns: ns });
    }

    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.min_ns = self.min_ns.min(other.min_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

fn bucket(ns: u64) -> i32 {
    ((ns as f64 / 1e9).log2() * PER_OCTAVE).floor() as i32
}

fn clusters(group: Group, buckets: &BTreeMap<i32, Bucket>) -> Vec<IdleCluster> {
    let all: u64 = buckets.values().map(|bucket| bucket.count).sum();
    let count = |index: i32| buckets.get(&index).map_or(0, |bucket| bucket.count);
    let mut found = Vec::new();
    let mut taken_until = i32::MIN;
    for &index in buckets.keys() {
        let peak = count(index) >= count(index - 1) && count(index) > count(index + 1);
        if !peak || index - 1 <= taken_until {
            continue;
        }
        let mut sum = Bucket::EMPTY;
        (index - 1..=index + 1).filter_map(|near| buckets.get(&near)).for_each(|near| sum.add(near));
        let around =
            (2..=AROUND).flat_map(|away| [count(index - away), count(index + away)]).max().unwrap_or(0);
        let many = sum.count >= MIN_CLOSES && sum.count * ONE_IN >= all;
        if many && count(index) > CONTRAST * around {
            taken_until = index + 1;
            let mean_ns = u64::try_from(sum.sum_ns / u128::from(sum.count)).unwrap_or(u64::MAX);
            let Group { role, service, first } = group;
            let (min_ns, max_ns) = (sum.min_ns, sum.max_ns);
            found.push(IdleCluster {
                role,
                service,
                first,
                mean_ns,
                min_ns,
                max_ns,
                closes: sum.count,
                of: all,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples_for_tests as samples;
    use finwait_core::Claim;

    const SECOND: u64 = 1_000_000_000;

    fn closes(idle: &mut Idle, first: FirstCloser, silences: impl IntoIterator<Item = u64>) {
        for ns in silences {
            let mut close = samples::close();
            close.first_closer = Claim::known(first, []);
            (close.idle_send_ns, close.idle_receive_ns) = (Some(ns), Some(ns + SECOND));
            idle.close(&close);
        }
    }

    #[test]
    fn two_timers_show_as_two_clusters_with_who_closed() {
        let mut idle = Idle::default();
        closes(&mut idle, FirstCloser::Peer, (0..40).map(|n| 60 * SECOND + n * 1_000_000));
        closes(&mut idle, FirstCloser::Local, (0..10).map(|n| 90 * SECOND + n * 1_000_000));
        let found = idle.clusters();
        let seen: Vec<_> = found.iter().map(|c| (c.first, c.mean_ns / SECOND, c.closes, c.of)).collect();
        assert_eq!(seen, [(FirstCloser::Peer, 60, 40, 40), (FirstCloser::Local, 90, 10, 10)]);
    }

    #[test]
    fn silences_of_every_length_are_no_cluster() {
        let mut idle = Idle::default();
        closes(&mut idle, FirstCloser::Local, (0..2_000).map(|n| SECOND + n * SECOND / 10));
        assert_eq!(idle.clusters(), []);
    }

    #[test]
    fn a_few_closes_and_short_silences_are_none() {
        let mut idle = Idle::default();
        closes(&mut idle, FirstCloser::Local, [60 * SECOND; 4]);
        closes(&mut idle, FirstCloser::Peer, [SECOND / 2; 50]);
        assert_eq!(idle.clusters(), []);
    }

    #[test]
    fn a_timer_that_falls_on_a_bound_of_two_buckets_is_one_cluster() {
        let mut idle = Idle::default();
        closes(&mut idle, FirstCloser::Local, (0..20).map(|n| 64 * SECOND - 10_000_000 + n * 1_000_000));
        assert_eq!(idle.clusters().len(), 1);
        assert_eq!(idle.clusters()[0].closes, 20);
    }
}
