//! In what two spans differ beyond noise.
//!
//! Shares are compared by the two-proportion z test, rates as Poisson counts, durations by the rank sum test of Mann and
//! Whitney over the histograms' buckets. A difference is marked where all closes being alike would show one as large,
//! anywhere in the comparison, in fewer than one of a hundred pairs of spans (Bonferroni), and where it is large enough to matter:
//! a tenth of a rate, a percentage point of a share, a bucket of a median. Closes that come in bursts are less independent
//! than the tests take them to be.

use std::collections::BTreeMap;

use finwait_core::record::{CloseKind, FirstCloser, ResetCause};

use super::{Report, first_closer};
use crate::sink::human;
use crate::stats::histogram::{Histogram, QUANTILE_FACTOR};
use crate::stats::{CLOSING_STATES, Measure, Summary};

/// One pair in so many may show a marked difference by chance.
const FAMILY: f64 = 0.01;
/// Where fewer are to be expected, the normal distribution does not hold.
const EXPECTED: f64 = 5.0;
/// Durations on each side, at least.
const RANKED: u64 = 8;
/// Change of a rate that matters.
const RATE: f64 = 0.1;
/// Change of a share that matters, in the whole.
const SHARE: f64 = 0.01;

/// What is known of one figure in one span.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// So many of so many
    Share {
        /// Part
        part: u64,
        /// Whole
        whole: u64,
    },
    /// So many in so long
    Rate {
        /// How many
        count: u64,
        /// In which time
        ns: u64,
    },
    /// Durations
    Durations(Histogram),
}

/// What the comparison says of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// More, or longer, than in the other span
    More,
    /// Less, or shorter
    Less,
    /// No more than chance may do, or too little to matter
    Noise,
    /// There is not enough to tell
    TooFew,
}

impl Judgement {
    /// The stable name used in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::More => "more",
            Self::Less => "less",
            Self::Noise => "noise",
            Self::TooFew => "too_few",
        }
    }
}

/// One figure in both spans.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Of what: a service, or `all`
    pub of: String,
    /// Which figure
    pub figure: String,
    /// In this span
    pub this: Figure,
    /// In the other
    pub against: Figure,
    /// What is said of the two
    pub judgement: Judgement,
    /// Probability of one as large by chance, where it could be computed
    pub p: Option<f64>,
}

/// Every figure of which either span has something, those of all connections first.
#[must_use]
pub fn differences(this: &Report, against: &Report) -> Vec<Difference> {
    let mut pairs = overall(this, against);
    pairs.extend(by_service(this, against));
    pairs.retain(|pair| !pair.this.is_empty() || !pair.against.is_empty());
    judge(pairs)
}

/// Sets [`Difference::judgement`]: the more figures are compared, the less chance each of them is given.
fn judge(mut pairs: Vec<Difference>) -> Vec<Difference> {
    pairs.iter_mut().for_each(|pair| pair.p = probability(&pair.this, &pair.against));
    let tested = pairs.iter().filter(|pair| pair.p.is_some()).count();
    let limit = FAMILY / tested.max(1) as f64;
    for pair in &mut pairs {
        pair.judgement = match pair.p {
            None => Judgement::TooFew,
            Some(p) if p < limit => direction(&pair.this, &pair.against),
            Some(_) => Judgement::Noise,
        };
    }
    pairs
}

fn pair(of: &str, figure: impl Into<String>, this: Figure, against: Figure) -> Difference {
    Difference {
        of: of.to_owned(),
        figure: figure.into(),
        this,
        against,
        judgement: Judgement::TooFew,
        p: None,
    }
}

fn overall(this: &Report, against: &Report) -> Vec<Difference> {
    let rate =
        |report: &Report| Figure::Rate { count: report.all.closes(), ns: report.duration_ns.unwrap_or(0) };
    let mut pairs = vec![pair("all", "closes", rate(this), rate(against))];
    let mut shares = |figure: String, part: &dyn Fn(&Summary) -> u64| {
        let share = |report: &Report| Figure::Share { part: part(&report.all), whole: report.all.closes() };
        pairs.push(pair("all", figure, share(this), share(against)));
    };
    for kind in CloseKind::ALL.iter().copied().map(Some).chain([None]) {
        shares(format!("kind {}", kind.map_or("unknown", CloseKind::name)), &|all| all.closed(kind));
    }
    for first in FirstCloser::ALL.iter().copied().map(Some).chain([None]) {
        shares(format!("closed first: {}", first.map_or("unknown", first_closer)), &|all| {
            all.first_closed(first)
        });
    }
    for cause in ResetCause::ALL.iter().copied().map(Some).chain([None]) {
        let name = cause.map_or("unknown", ResetCause::name);
        shares(format!("reset sent: {name}"), &|all| all.resets_sent(cause));
    }
    shares("reset received".to_owned(), &|all| all.resets_received);
    let three = |report: &Report| {
        let [three, four, _] = report.all.segments;
        Figure::Share { part: three, whole: three + four }
    };
    pairs.push(pair("all", "three segments", three(this), three(against)));
    pairs
}

fn by_service(this: &Report, against: &Report) -> Vec<Difference> {
    let mut services: BTreeMap<String, [Option<&Summary>; 2]> = BTreeMap::new();
    for (place, report) in [this, against].into_iter().enumerate() {
        for service in &report.services {
            services.entry(service.name()).or_default()[place] = Some(&service.summary);
        }
    }
    let none = Summary::default();
    let mut pairs = Vec::new();
    for (name, [one, other]) in &services {
        let (one, other) = (one.unwrap_or(&none), other.unwrap_or(&none));
        pairs.extend(of_service(
            name,
            one,
            other,
            [this, against].map(|report| report.duration_ns.unwrap_or(0)),
        ));
    }
    pairs
}

fn of_service(name: &str, one: &Summary, other: &Summary, spans: [u64; 2]) -> Vec<Difference> {
    let rate = |summary: &Summary, ns| Figure::Rate { count: summary.closes(), ns };
    let mut pairs = vec![pair(name, "closes", rate(one, spans[0]), rate(other, spans[1]))];
    let share = |summary: &Summary, part: u64| Figure::Share { part, whole: summary.closes() };
    for (figure, part) in SHARES {
        pairs.push(pair(name, *figure, share(one, part(one)), share(other, part(other))));
    }
    let states = (0..CLOSING_STATES.len()).map(Measure::State);
    for measure in [Measure::Handshake, Measure::Life].into_iter().chain(states) {
        let durations =
            |summary: &Summary| Figure::Durations(summary.distribution(measure).histogram.clone());
        pairs.push(pair(name, measure.name(), durations(one), durations(other)));
    }
    pairs
}

/// A figure of a service, and how many closes are its part.
type Part = (&'static str, fn(&Summary) -> u64);

/// Of each service; single causes and kinds are compared for all connections together.
const SHARES: &[Part] = &[
    ("closed first: this end", |summary| summary.first_closed(Some(FirstCloser::Local))),
    ("closed first: the peer", |summary| summary.first_closed(Some(FirstCloser::Peer))),
    ("reset", |summary| summary.closed(Some(CloseKind::Reset))),
    ("timed out", |summary| summary.closed(Some(CloseKind::TimedOut))),
];

impl Figure {
    fn is_empty(&self) -> bool {
        match self {
            Self::Share { part, .. } => *part == 0,
            Self::Rate { count, .. } => *count == 0,
            Self::Durations(histogram) => histogram.count() == 0,
        }
    }

    /// A number that two figures of a kind are compared by; `None` where there is none.
    #[must_use]
    pub fn size(&self) -> Option<f64> {
        match self {
            Self::Share { whole: 0, .. } | Self::Rate { ns: 0, .. } => None,
            Self::Share { part, whole } => Some(*part as f64 / *whole as f64),
            Self::Rate { count, ns } => Some(*count as f64 / (*ns as f64 / 1e9)),
            Self::Durations(histogram) => histogram.quantile_seconds(0.5),
        }
    }

    /// For people: `61 % (251)`, `41.2/min`, `p50 0.4ms p99 3.1s (412)`.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Share { whole: 0, .. } | Self::Rate { ns: 0, .. } => "-".to_owned(),
            Self::Share { part, whole } => {
                format!("{} ({})", human::share(*part, *whole), human::count(*part))
            }
            Self::Rate { count, ns } => {
                format!("{:.1}/min ({})", *count as f64 / (*ns as f64 / 60e9), human::count(*count))
            }
            Self::Durations(histogram) if histogram.count() == 0 => "-".to_owned(),
            Self::Durations(histogram) => {
                let (half, late) = (quantile(histogram, 0.5), quantile(histogram, 0.99));
                format!("p50 {half} p99 {late} ({})", human::count(histogram.count()))
            }
        }
    }
}

/// As text; `-` where there is none.
pub(super) fn quantile(histogram: &Histogram, q: f64) -> String {
    let seconds = histogram.quantile_seconds(q);
    seconds.map_or_else(|| "-".to_owned(), |seconds| human::duration((seconds * 1e9) as u64))
}

/// Which way, where it is large enough to matter.
fn direction(this: &Figure, against: &Figure) -> Judgement {
    let (Some(one), Some(other)) = (this.size(), against.size()) else { return Judgement::Noise };
    let matters = match this {
        Figure::Share { .. } => (one - other).abs() >= SHARE,
        Figure::Rate { .. } => (one - other).abs() >= RATE * other.max(one),
        Figure::Durations(_) => one.max(other) > one.min(other) * QUANTILE_FACTOR * QUANTILE_FACTOR,
    };
    match (matters, one > other) {
        (false, _) => Judgement::Noise,
        (true, true) => Judgement::More,
        (true, false) => Judgement::Less,
    }
}

/// Of two figures at least as different by chance; `None` where there is too little to tell.
fn probability(this: &Figure, against: &Figure) -> Option<f64> {
    let z = match (this, against) {
        (Figure::Share { part, whole }, Figure::Share { part: other, whole: all }) => {
            of_shares([*part, *whole], [*other, *all])
        }
        (Figure::Rate { count, ns }, Figure::Rate { count: other, ns: span }) => {
            of_rates([*count, *ns], [*other, *span])
        }
        (Figure::Durations(one), Figure::Durations(other)) => of_ranks(one, other),
        _ => None,
    }?;
    Some(erfc(z.abs() / std::f64::consts::SQRT_2))
}

fn of_shares([part, whole]: [u64; 2], [other, all]: [u64; 2]) -> Option<f64> {
    let [part, whole, other, all] = [part, whole, other, all].map(|number| number as f64);
    let pooled = (part + other) / (whole + all);
    let fewest = [whole, all].map(|n| n * pooled.min(1.0 - pooled)).into_iter().fold(f64::INFINITY, f64::min);
    let deviation = (pooled * (1.0 - pooled) * (1.0 / whole + 1.0 / all)).sqrt();
    (fewest >= EXPECTED).then(|| (part / whole - other / all) / deviation)
}

/// Given their sum, the share of one of two Poisson counts is that of its span.
fn of_rates([count, ns]: [u64; 2], [other, span]: [u64; 2]) -> Option<f64> {
    let [count, ns, other, span] = [count, ns, other, span].map(|number| number as f64);
    let (sum, share) = (count + other, ns / (ns + span));
    let fewest = sum * share.min(1.0 - share);
    (fewest >= EXPECTED).then(|| (count - sum * share) / (sum * share * (1.0 - share)).sqrt())
}

/// Ranks of all durations; those in one bucket share theirs.
fn of_ranks(one: &Histogram, other: &Histogram) -> Option<f64> {
    if one.count() < RANKED || other.count() < RANKED {
        return None;
    }
    let mut buckets: BTreeMap<i32, [f64; 2]> = BTreeMap::new();
    for (place, histogram) in [one, other].into_iter().enumerate() {
        buckets.entry(i32::MIN).or_default()[place] += histogram.zero_count() as f64;
        for (index, count) in histogram.buckets() {
            buckets.entry(index).or_default()[place] += count as f64;
        }
    }
    let (first, second) = (one.count() as f64, other.count() as f64);
    let all = first + second;
    let (mut above, mut below, mut ties) = (0.0, 0.0, 0.0);
    for [here, there] in buckets.values() {
        above += here * (below + there / 2.0);
        below += there;
        let tied = here + there;
        ties += tied.powi(3) - tied;
    }
    let variance = first * second / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)));
    (variance > 0.0).then(|| (above - first * second / 2.0) / variance.sqrt())
}

/// The complementary error function for x ≥ 0, to seven digits even in its tail (a Chebyshev fit: Press et al., Numerical Recipes, 6.2).
fn erfc(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let t = 1.0 / (1.0 + x / 2.0);
    let fitted = FIT.iter().fold(0.0, |sum, coefficient| sum * t + coefficient);
    t * (fitted - x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn durations(of: impl IntoIterator<Item = u64>) -> Figure {
        let mut histogram = Histogram::default();
        of.into_iter().for_each(|ns| histogram.record(ns));
        Figure::Durations(histogram)
    }

    fn judged(this: Figure, against: Figure) -> Judgement {
        judge(vec![pair("all", "it", this, against)])[0].judgement
    }

    #[test]
    fn the_error_function_is_right_in_the_middle_and_in_the_tail() {
        for (x, known) in [
            (0.0, 1.0),
            (0.5, 0.479_500_122),
            (1.0, 0.157_299_207),
            (3.0, 2.209_049_7e-5),
            (5.0, 1.537_459_8e-12),
        ] {
            assert!((erfc(x) / known - 1.0).abs() < 1e-6, "{x}: {}", erfc(x));
        }
    }

    #[test]
    fn shares_differ_where_chance_does_not_explain_it() {
        let share = |part, whole| Figure::Share { part, whole };
        assert_eq!(judged(share(300, 1_000), share(200, 1_000)), Judgement::More);
        assert_eq!(judged(share(200, 1_000), share(300, 1_000)), Judgement::Less);
        assert_eq!(judged(share(205, 1_000), share(200, 1_000)), Judgement::Noise);
        assert_eq!(judged(share(3, 10), share(1, 10)), Judgement::TooFew);
        assert_eq!(judged(share(0, 0), share(1, 10)), Judgement::TooFew);
    }

    #[test]
    fn what_is_certain_and_tiny_is_not_marked() {
        let share = |part| Figure::Share { part, whole: 100_000_000 };
        assert_eq!(judged(share(50_100_000), share(50_000_000)), Judgement::Noise);
    }

    #[test]
    fn rates_are_compared_by_their_spans() {
        let rate = |count, seconds: u64| Figure::Rate { count, ns: seconds * 1_000_000_000 };
        assert_eq!(judged(rate(600, 60), rate(600, 120)), Judgement::More);
        assert_eq!(judged(rate(600, 60), rate(1_210, 120)), Judgement::Noise);
        assert_eq!(judged(rate(2, 60), rate(1, 60)), Judgement::TooFew);
    }

    #[test]
    fn durations_are_compared_by_rank() {
        let around = |ms: u64| durations((0..100).map(move |n| ms * 1_000_000 + n * ms * 1_000));
        assert_eq!(judged(around(20), around(10)), Judgement::More);
        assert_eq!(judged(around(10), around(20)), Judgement::Less);
        assert_eq!(judged(around(10), around(10)), Judgement::Noise);
        assert_eq!(judged(durations([1, 2, 3]), around(10)), Judgement::TooFew);
        assert_eq!(judged(durations(vec![0; 20]), durations(vec![0; 20])), Judgement::TooFew, "all alike");
    }

    #[test]
    fn the_more_is_compared_the_less_is_marked() {
        let share = |part| Figure::Share { part, whole: 1_000 };
        let alone = judge(vec![pair("all", "it", share(250), share(199))]);
        let among: Vec<Difference> =
            (0..500).map(|n| pair("all", n.to_string(), share(250), share(199))).collect();
        assert_eq!(alone[0].judgement, Judgement::More, "{:?}", alone[0].p);
        assert_eq!(judge(among)[0].judgement, Judgement::Noise);
    }
}
