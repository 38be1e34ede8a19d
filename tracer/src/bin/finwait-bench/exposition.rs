//! What a scrape costs: size and time of `/metrics` for many groups, in each format.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use finwait_core::{
    BootId, ConnId, Cookie, GroupPopulation, MonoNs, SocketKey, Tracker, TrackerConfig, WallNs,
};
use tracer::serve::metrics::{self, Format};
use tracer::stats::family::{Distribution, Exemplar, Family, Label, Value};
use tracer::stats::{Aggregator, GroupSnapshot, Grouping, ProcessFacts};

use crate::numbers::{Shuffle, median};

/// The names of the formats in the table.
const FORMATS: [(&str, Format); 3] = [
    ("OpenMetrics", Format::OpenMetrics),
    ("text 0.0.4", Format::Prometheus),
    ("protobuf", Format::Protobuf),
];

/// Flags of `exposition`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ExpositionArgs {
    /// Groups, by role and service
    #[arg(long, default_value_t = 1000)]
    groups: u16,
    /// Durations in each histogram
    #[arg(long, default_value_t = 1000)]
    durations: u32,
    /// Runs, of which the median counts
    #[arg(long, default_value_t = 15)]
    runs: u32,
}

/// Runs the bench: histograms that hold nothing, then such that hold what a busy service leaves.
pub(crate) fn run(args: &ExpositionArgs) -> Result<()> {
    let mut families = families(args.groups);
    println!("{} groups, median of {} runs", args.groups, args.runs);
    measure("empty histograms", &families, args.runs);
    let buckets = fill(&mut families, args.durations);
    let title = format!("{} durations a histogram, in {buckets:.0} buckets on the average", args.durations);
    measure(&title, &families, args.runs);
    Ok(())
}

fn measure(title: &str, families: &[Family], runs: u32) {
    let samples: usize = families.iter().map(|family| family.samples.len()).sum();
    println!("\n{title}; {samples} samples and histograms");
    for (name, format) in FORMATS {
        let mut sizes = 0;
        let times: Vec<f64> = (0..runs)
            .map(|_| {
                let begun = Instant::now();
                sizes = metrics::encode(families, format).len();
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        println!("  {name:<12} {:>10.2} MB {:>8.1} ms", sizes as f64 / 1e6, median(&times));
    }
}

/// Every metric of so many groups in which nothing has happened yet.
fn families(groups: u16) -> Vec<Family> {
    let tracker = Tracker::new(TrackerConfig::default());
    let mut snapshot = Aggregator::new(Grouping::default(), 0).snapshot(&tracker, MonoNs(0));
    snapshot.groups.extend((1..=groups).map(|port| {
        let labels: [Label; 2] =
            [("role".into(), "accepted".into()), ("service_port".into(), port.to_string().into())];
        GroupSnapshot {
            labels: labels.into(),
            summary: Arc::default(),
            population: GroupPopulation::default(),
        }
    }));
    snapshot.families(MonoNs(0), &ProcessFacts::default(), Duration::ZERO)
}

/// Puts values into all of them; gives how many buckets of a histogram hold something.
fn fill(families: &mut [Family], durations: u32) -> f64 {
    let mut numbers = Shuffle::new();
    let (mut histograms, mut buckets) = (0, 0);
    for sample in families.iter_mut().flat_map(|family| &mut family.samples) {
        match &mut sample.value {
            Value::Count(count) => *count = numbers.below(1_000_000) as u64,
            Value::Distribution(distribution) => {
                let filled = filled(&mut numbers, durations);
                histograms += 1;
                buckets += filled.histogram.buckets().count();
                *distribution = filled.into();
            }
            Value::Total(_) | Value::Level(_) => {}
        }
    }
    buckets as f64 / f64::from(histograms)
}

/// Most durations are around 50 ms, the rest from 0.5 ms to 5 s; and the two exemplars that a distribution has.
fn filled(numbers: &mut Shuffle, durations: u32) -> Distribution {
    let mut distribution = Distribution::default();
    let mut slowest = 0;
    for _ in 0..durations {
        let bell: usize = (0..4).map(|_| numbers.below(1 << 16)).sum();
        let ns = (5e5 * 10f64.powf(bell as f64 / 65_536.0)) as u64;
        slowest = slowest.max(ns);
        distribution.histogram.record(ns);
    }
    let socket = SocketKey::Cookie(Cookie(numbers.below(1 << 20) as u64));
    let conn_id = ConnId { boot: BootId(u128::MAX / 3), socket, generation: 1_000_000_000_000 };
    let exemplar = |at, wall| Exemplar {
        conn_id,
        at: MonoNs(at),
        seconds: slowest as f64 / 1e9,
        wall: Some(WallNs(wall)),
    };
    distribution.exemplars.push(exemplar(1, 1_790_000_000_123_000_000));
    distribution.exemplars.push(exemplar(2, 1_790_000_060_456_000_000));
    distribution
}
