//! The one representation of a distribution: a base-2 exponential histogram of fixed scale.
//!
//! Bucket `i` holds the durations in `(2^(i/8) s, 2^((i+1)/8) s]`. The bounds are the same everywhere and always, so two
//! histograms merge by adding their buckets, whichever host they come from. Prometheus' native histograms of schema 3 and
//! OTLP's exponential histograms of scale 3 are these buckets without any change; classic buckets are sums of them.

use std::sync::LazyLock;

/// Buckets double every `2^SCALE` buckets.
pub const SCALE: i32 = 3;
/// Buckets in one doubling.
const PER_OCTAVE: i32 = 1 << SCALE;
/// A quantile is off by at most this factor, upwards or downwards: the square root of a bucket's width, 2^(1/16).
pub const QUANTILE_FACTOR: f64 = 1.044_273_782_427_413_8;

/// Index of the bucket of the shortest duration, 1 ns.
const LOWEST: i32 = -240;
/// Buckets from there to that of the longest, `u64::MAX` ns.
const BUCKETS: usize = 514;

/// Equal parts of the way from a power of two to the next. They are narrower than any bucket there, so a part has one bound
/// at most.
const PARTS: usize = 32;

/// Where buckets end.
struct Bounds {
    /// The longest durations that the buckets from [`LOWEST`] on hold, in nanoseconds
    longest: [u64; BUCKETS],
    /// How many buckets from that of a power of two on end before a part: the same at every power
    before: [u8; PARTS],
}

static BOUNDS_NS: LazyLock<Bounds> = LazyLock::new(|| {
    let longest: [u64; BUCKETS] =
        std::array::from_fn(|i| (upper_bound_seconds(LOWEST + i as i32) * 1e9) as u64);
    let power = 40; // any that is not so small that its bounds are few
    let ends = &longest[power * PER_OCTAVE as usize..][..=PER_OCTAVE as usize];
    let before = |part: usize| {
        let start = (1 << power) + ((part as u64) << power) / PARTS as u64;
        ends.iter().filter(|end| **end < start).count() as u8
    };
    Bounds { longest, before: std::array::from_fn(before) }
});

/// Upper bounds of the buckets of one doubling, between 1 and 2.
static BOUNDS: LazyLock<[f64; PER_OCTAVE as usize]> =
    LazyLock::new(|| std::array::from_fn(|i| ((i + 1) as f64 / f64::from(PER_OCTAVE)).exp2()));

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Durations of 0: the clock did not move
    zero: u64,
    /// Index of the first bucket in `buckets`
    first: i32,
    buckets: Vec<u64>,
    count: u64,
    sum_ns: u128,
}

impl Histogram {
    /// Takes in one duration.
    pub fn record(&mut self, ns: u64) {
        self.count += 1;
        self.sum_ns += u128::from(ns);
        match index(ns) {
            None => self.zero += 1,
            Some(index) => self.count_in(index, 1),
        }
    }

    /// Adds what `other` holds: as if all had been recorded here.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum_ns += other.sum_ns;
        self.zero += other.zero;
        for (index, count) in other.buckets() {
            self.count_in(index, count);
        }
    }

    /// How many durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Durations of 0.
    #[must_use]
    pub fn zero_count(&self) -> u64 {
        self.zero
    }

    /// Sum of all, in nanoseconds: exact.
    #[must_use]
    pub fn sum_ns(&self) -> u128 {
        self.sum_ns
    }

    /// Sum of all, in seconds.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// Index of the first bucket of [`Histogram::dense`].
    #[must_use]
    pub fn first_index(&self) -> i32 {
        self.first
    }

    /// The counts from the first to the last bucket that holds anything, empty ones between included.
    #[must_use]
    pub fn dense(&self) -> &[u64] {
        &self.buckets
    }

    /// Index and count of each bucket that holds anything, in order.
    pub fn buckets(&self) -> impl Iterator<Item = (i32, u64)> + '_ {
        (self.first..).zip(self.buckets.iter().copied()).filter(|(_, count)| *count > 0)
    }

    /// The duration below which the share `q` (0 to 1) of all lies, in seconds; `None` of an empty histogram. Off by
    /// [`QUANTILE_FACTOR`] at most: the geometric middle of the bucket in which it lies.
    #[must_use]
    pub fn quantile_seconds(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut below = self.zero;
        if rank <= below {
            return Some(0.0);
        }
        for (index, count) in self.buckets() {
            below += count;
            if rank <= below {
                return Some(upper_bound_seconds(index) / QUANTILE_FACTOR);
            }
        }
        None
    }

    #[inline]
    fn count_in(&mut self, index: i32, more: u64) {
        // Below the first it wraps around to where there is none.
        match self.buckets.get_mut(index.wrapping_sub(self.first) as u32 as usize) {
            Some(bucket) => *bucket += more,
            None => self.widen(index, more),
        }
    }

    #[cold]
    fn widen(&mut self, index: i32, count: u64) {
        if self.buckets.is_empty() {
            self.first = index;
        }
        if index < self.first {
            let missing = (self.first - index) as usize;
            self.buckets.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = index;
        }
        let place = (index - self.first) as usize;
        if place >= self.buckets.len() {
            self.buckets.resize(place + 1, 0);
        }
        self.buckets[place] += count;
    }
}

/// Upper bound of bucket `index`, included, in seconds.
#[must_use]
pub fn upper_bound_seconds(index: i32) -> f64 {
    let (octave, eighth) = (index.div_euclid(PER_OCTAVE), index.rem_euclid(PER_OCTAVE));
    BOUNDS[eighth as usize] * f64::from(octave).exp2()
}

/// The bucket for `ns`; `None` for 0.
fn index(ns: u64) -> Option<i32> {
    let bounds = &*BOUNDS_NS;
    let power = ns.checked_ilog2()?;
    // The bucket of 2^n ns: since a second is between 2^29 and 2^30 ns, it is the 8·n-th.
    let near = (power * PER_OCTAVE as u32) as usize;
    let part = (ns << (63 - power) >> 58) as usize % PARTS;
    let near = near + usize::from(bounds.before[part]);
    Some(LOWEST + (near + usize::from(bounds.longest[near] < ns)) as i32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bound_belongs_to_the_bucket_below_it() {
        assert_eq!(index(0), None);
        assert_eq!(index(1_000_000_000), Some(-1), "1 s ends the bucket before it");
        assert_eq!(index(1_000_000_001), Some(0));
        assert_eq!(index(2_000_000_000), Some(7));
        assert_eq!(index(500_000_000), Some(-9));
        for ns in [1, 999, 1_000_000, u64::MAX] {
            let index = index(ns).unwrap();
            let seconds = Duration::from_nanos(ns).as_secs_f64();
            assert!(
                seconds <= upper_bound_seconds(index) && seconds > upper_bound_seconds(index - 1),
                "{ns}"
            );
        }
    }

    #[test]
    fn a_bucket_is_the_first_that_does_not_end_before() {
        let longest = &BOUNDS_NS.longest;
        for end in longest.iter().copied().chain((0..64).map(|power| 1 << power)) {
            for ns in [end.saturating_sub(1), end, end.saturating_add(1)].into_iter().filter(|ns| *ns > 0) {
                let near = (ns.ilog2() * PER_OCTAVE as u32) as usize;
                let beyond = longest[near..].iter().take_while(|longest| **longest < ns).count();
                assert_eq!(index(ns), Some(LOWEST + (near + beyond) as i32), "{ns}");
            }
        }
    }

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile_seconds(0.5), None);
    }

    fn recorded(all: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        all.iter().for_each(|ns| histogram.record(*ns));
        histogram
    }

    proptest! {
        #[test]
        fn merging_is_the_same_as_recording_all_in_one(
            one in prop::collection::vec(0u64..1 << 45, 0..50),
            other in prop::collection::vec(0u64..1 << 45, 0..50),
        ) {
            let mut merged = recorded(&one);
            merged.merge(&recorded(&other));
            let all = recorded(&[one, other].concat());
            prop_assert_eq!(merged.buckets().collect::<Vec<_>>(), all.buckets().collect::<Vec<_>>());
            prop_assert_eq!((merged.count(), merged.sum_ns()), (all.count(), all.sum_ns()));
        }

        #[test]
        fn a_quantile_is_off_by_half_a_bucket_at_most(
            mut all in prop::collection::vec(1u64..1 << 45, 1..200),
            q in 0.0f64..=1.0,
        ) {
            let said = recorded(&all).quantile_seconds(q).unwrap();
            all.sort_unstable();
            let rank = ((q * all.len() as f64).ceil() as usize).clamp(1, all.len());
            let exact = Duration::from_nanos(all[rank - 1]).as_secs_f64();
            let factor = (said / exact).max(exact / said);
            prop_assert!(factor <= QUANTILE_FACTOR * (1.0 + 1e-9), "{} for {}", said, exact);
        }
    }
}
