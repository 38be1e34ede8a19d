//! Classic buckets: sums of the exponential ones, at bounds that these have too; so nothing is interpolated.

use crate::stats::family::{Distribution, Exemplar};
use crate::stats::histogram::SCALE;

/// They end at the powers of four from 2⁻¹⁴ s (61 µs) to 2¹² s (68 minutes), and at infinity.
const FIRST_EXPONENT: i32 = -14;
const LAST_EXPONENT: i32 = 12;
const EXPONENT_STEP: usize = 2;

/// One bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket<'a> {
    /// Its upper bound in seconds, included
    pub(super) bound: f64,
    /// How many were as long as that or shorter
    pub(super) count: u64,
    /// The newest connection that is longer than the bound before
    pub(super) exemplar: Option<&'a Exemplar>,
}

/// All of them by rising bound; the last one holds everything.
pub(super) fn buckets(distribution: &Distribution) -> impl Iterator<Item = Bucket<'_>> {
    let histogram = &distribution.histogram;
    let (mut rest, mut count) = (histogram.buckets().peekable(), histogram.zero_count());
    let bounded = (FIRST_EXPONENT..=LAST_EXPONENT).step_by(EXPONENT_STEP).map(move |exponent| {
        while let Some((_, more)) = rest.next_if(|(index, _)| *index < exponent << SCALE) {
            count += more;
        }
        (f64::from(exponent).exp2(), count)
    });
    let mut below = f64::NEG_INFINITY;
    bounded.chain([(f64::INFINITY, histogram.count())]).map(move |(bound, count)| {
        let within = |exemplar: &&Exemplar| exemplar.seconds > below && exemplar.seconds <= bound;
        let exemplar = distribution.exemplars.iter().rev().find(within);
        below = bound;
        Bucket { bound, count, exemplar }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::histogram::upper_bound_seconds;

    #[test]
    fn every_bound_is_one_of_the_exponential_histograms() {
        for exponent in (FIRST_EXPONENT..=LAST_EXPONENT).step_by(EXPONENT_STEP) {
            assert_eq!(upper_bound_seconds((exponent << SCALE) - 1), f64::from(exponent).exp2());
        }
    }
}
