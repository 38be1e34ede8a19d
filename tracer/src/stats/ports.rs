//! How many ephemeral ports are left for each place that connections are opened to, and for how long they last. The places
//! with most ports taken are told one by one, the rest as one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;

use finwait_core::{MonoNs, NetNs, PortSpace, PortsTaken};

use super::groups::OTHER;

/// Places told one by one.
const TOLD: usize = 50;
/// Places of which the growth is watched: more, so that one that comes up is known by then.
const WATCHED: usize = 200;
/// Growth is measured over so long a time, in so many steps.
const SPAN_NS: u64 = 60_000_000_000;
const STEP_NS: u64 = 10_000_000_000;

/// One place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PortDebt {
    /// Where
    pub space: PortSpace,
    /// Taken now
    pub taken: PortsTaken,
    /// Ports more each second, over the last minute; `None` before two looks
    pub growth_per_second: Option<f64>,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortDebts {
    /// The places with most ports taken, first
    pub told: Vec<PortDebt>,
    /// Taken in all others
    pub others: PortsTaken,
}

/// Ports that a namespace's connect() chooses among (ip_local_port_range less ip_local_reserved_ports).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Whose
    pub netns: NetNs,
    /// How many
    pub ports: u32,
}

/// What was taken some time ago.
#[derive(Debug, Default)]
pub(super) struct PortTrend {
    looks: VecDeque<(MonoNs, HashMap<PortSpace, u32>)>,
}

impl PortTrend {
    /// Whether it is time to look again.
    pub(super) fn is_due(&self, now: MonoNs) -> bool {
        self.looks.back().is_none_or(|(at, _)| at.plus(STEP_NS) <= now)
    }

    pub(super) fn look(&mut self, now: MonoNs, taken: &HashMap<PortSpace, PortsTaken>) {
        let most = most(taken).into_iter().take(WATCHED);
        self.looks.push_back((now, most.map(|(space, taken)| (space, taken.all())).collect()));
        while self.looks.front().is_some_and(|(at, _)| at.plus(SPAN_NS) < now) {
            self.looks.pop_front();
        }
    }

    pub(super) fn debts(&self, now: MonoNs, taken: &HashMap<PortSpace, PortsTaken>) -> PortDebts {
        let most = most(taken);
        let (told, others) = most.split_at(most.len().min(TOLD));
        let sum = |sum: PortsTaken, (_, more): &(PortSpace, PortsTaken)| PortsTaken {
            connections: sum.connections.saturating_add(more.connections),
            time_wait: sum.time_wait.saturating_add(more.time_wait),
        };
        PortDebts {
            told: told.iter().map(|(space, taken)| self.debt(now, *space, *taken)).collect(),
            others: others.iter().fold(PortsTaken::default(), sum),
        }
    }

    fn debt(&self, now: MonoNs, space: PortSpace, taken: PortsTaken) -> PortDebt {
        let growth = || {
            let (at, before) = self.looks.iter().find(|(at, _)| at.plus(SPAN_NS) >= now)?;
            let ns = now.since(*at).filter(|ns| *ns >= STEP_NS / 2)?;
            let before = before.get(&space).copied().unwrap_or(0);
            Some((f64::from(taken.all()) - f64::from(before)) / (ns as f64 / 1e9))
        };
        PortDebt { space, taken, growth_per_second: growth() }
    }
}

/// Those with most ports taken first.
fn most(taken: &HashMap<PortSpace, PortsTaken>) -> Vec<(PortSpace, PortsTaken)> {
    let mut all: Vec<_> = taken.iter().map(|(space, taken)| (*space, *taken)).collect();
    all.sort_unstable_by_key(|(space, taken)| (std::cmp::Reverse(taken.all()), *space));
    all
}

/// What is told of the places that one set of labels stands for: several, where addresses are withheld.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) time_wait: u32,
    /// Where the namespace's range is known, of the place with fewest
    pub(super) free: Option<u32>,
    /// Until none is left in one of them; infinite while they do not get fewer
    pub(super) exhaustion_seconds: Option<f64>,
}

impl PortDebts {
    /// By namespace, local address and remote end, as labels spell them.
    pub(super) fn by_labels(
        &self,
        range: Option<PortRange>,
        withhold: impl Fn(IpAddr) -> IpAddr,
    ) -> BTreeMap<[String; 3], Told> {
        let mut all = BTreeMap::new();
        for debt in &self.told {
            let (address, port) = (withhold(debt.space.remote.0), debt.space.remote.1);
            let remote = match address {
                IpAddr::V4(v4) => format!("{v4}:{port}"),
                IpAddr::V6(v6) => format!("[{v6}]:{port}"),
            };
            let labels = [debt.space.netns.to_string(), debt.space.local.to_string(), remote];
            let told = debt.told(range);
            all.entry(labels).and_modify(|sum: &mut Told| sum.add(&told)).or_insert(told);
        }
        all
    }
}

impl PortDebt {
    fn told(&self, range: Option<PortRange>) -> Told {
        let range = range.filter(|range| range.netns == self.space.netns);
        let free = range.map(|range| range.ports.saturating_sub(self.taken.all()));
        let lasts = |free: u32| match self.growth_per_second {
            _ if free == 0 => 0.0,
            Some(growth) if growth > 0.0 => f64::from(free) / growth,
            _ => f64::INFINITY,
        };
        Told { time_wait: self.taken.time_wait, free, exhaustion_seconds: free.map(lasts) }
    }
}

impl Told {
    fn add(&mut self, more: &Self) {
        self.time_wait = self.time_wait.saturating_add(more.time_wait);
        self.free = self.free.zip(more.free).map(|(one, other)| one.min(other));
        let soonest = self.exhaustion_seconds.zip(more.exhaustion_seconds);
        self.exhaustion_seconds = soonest.map(|(one, other)| one.min(other));
    }
}

/// Labels of what is told together.
pub(super) fn other_labels() -> [String; 3] {
    [OTHER; 3].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use finwait_core::Port;

    fn space(last: u8) -> PortSpace {
        let remote = (IpAddr::from([10, 0, 1, last]), Port::new(5432).unwrap());
        PortSpace { netns: NetNs(7), local: IpAddr::from([10, 0, 0, 1]), remote }
    }

    fn taken(each: &[(u8, u32, u32)]) -> HashMap<PortSpace, PortsTaken> {
        let taken = |(last, connections, time_wait): &(u8, u32, u32)| {
            (space(*last), PortsTaken { connections: *connections, time_wait: *time_wait })
        };
        each.iter().map(taken).collect()
    }

    const RANGE: Option<PortRange> = Some(PortRange { netns: NetNs(7), ports: 28_232 });
    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn ports_last_as_long_as_what_is_left_takes_at_the_present_growth() {
        let mut trend = PortTrend::default();
        assert!(trend.is_due(MonoNs(SECOND)));
        trend.look(MonoNs(SECOND), &taken(&[(1, 10, 90)]));
        assert!(!trend.is_due(MonoNs(5 * SECOND)) && trend.is_due(MonoNs(11 * SECOND)));
        let debts = trend.debts(MonoNs(21 * SECOND), &taken(&[(1, 10, 2_090), (2, 1, 0)]));
        assert_eq!(debts.told[0].growth_per_second, Some(100.0));
        let told: Vec<_> = debts.by_labels(RANGE, |address| address).into_iter().collect();
        assert_eq!(told[0].0, ["7", "10.0.0.1", "10.0.1.1:5432"]);
        let expected = Told { time_wait: 2_090, free: Some(26_132), exhaustion_seconds: Some(261.32) };
        assert_eq!(told[0].1, expected);
        assert_eq!(told[1].1.exhaustion_seconds, Some(20.0 * 28_231.0), "one more in 20 seconds");
    }

    #[test]
    fn they_last_for_ever_while_they_do_not_get_fewer_and_no_longer_when_there_is_none() {
        let mut trend = PortTrend::default();
        trend.look(MonoNs(SECOND), &taken(&[(1, 50, 0)]));
        let lasts = |connections| {
            let debts = trend.debts(MonoNs(20 * SECOND), &taken(&[(1, connections, 0)]));
            debts.by_labels(RANGE, |address| address).into_values().next().unwrap().exhaustion_seconds
        };
        assert_eq!(
            (lasts(50), lasts(40), lasts(28_232)),
            (Some(f64::INFINITY), Some(f64::INFINITY), Some(0.0))
        );
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let debts = PortTrend::default().debts(MonoNs(SECOND), &taken(&[(1, 50, 1)]));
        for range in [None, Some(PortRange { netns: NetNs(8), ports: 1000 })] {
            let told = debts.by_labels(range, |address| address).into_values().next().unwrap();
            assert_eq!(told, Told { time_wait: 1, free: None, exhaustion_seconds: None });
        }
    }

    #[test]
    fn places_that_labels_cannot_tell_apart_are_told_by_the_worst() {
        let debts = PortTrend::default().debts(MonoNs(SECOND), &taken(&[(1, 50, 1), (2, 70, 2)]));
        let told = debts.by_labels(RANGE, |_| IpAddr::from([10, 0, 1, 0]));
        let (labels, told) = told.into_iter().next().unwrap();
        assert_eq!((labels[2].as_str(), told.time_wait, told.free), ("10.0.1.0:5432", 3, Some(28_232 - 72)));
    }

    #[test]
    fn the_rest_is_one() {
        let all: Vec<_> = (0..TOLD as u8 + 2).map(|last| (last, 100 - u32::from(last), 1)).collect();
        let debts = PortTrend::default().debts(MonoNs(SECOND), &taken(&all));
        assert_eq!((debts.told.len(), debts.others.time_wait), (TOLD, 2));
        assert_eq!(debts.told[0].space, space(0));
    }
}
