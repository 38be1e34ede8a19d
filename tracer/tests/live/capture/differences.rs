//! Where a live record and a capture's must differ. A difference that is not listed fails, and so does one that is listed and not seen.

use tracer::scenario::SideName::{self, Client, Server};

use super::agreement::Difference;

/// What one row shows at one end.
struct Expected {
    row: &'static str,
    side: SideName,
    /// Field, what the live record says, what the capture's does
    differences: &'static [(&'static str, &'static str, &'static str)],
    /// Why it cannot be otherwise
    why: &'static str,
}

const EXPECTED: &[Expected] = &[];

/// What is wrong with the `found` differences of one end of `row`, a sentence each.
pub(crate) fn complaints(row: &str, side: SideName, found: &[Difference]) -> Vec<String> {
    let expected = EXPECTED.iter().filter(|expected| (expected.row, expected.side) == (row, side));
    let expected: Vec<_> =
        expected.flat_map(|expected| expected.differences.iter().map(|what| (*what, expected.why))).collect();
    let is = |difference: &Difference, (field, live, capture): (&str, &str, &str)| {
        (difference.field.as_str(), difference.live.as_str(), difference.capture.as_str())
            == (field, live, capture)
    };
    let who = format!("{row}, {}", side.name());
    let unexpected = found.iter().filter(|difference| !expected.iter().any(|(what, _)| is(difference, *what)));
    let unexpected = unexpected.map(|Difference { field, live, capture, detail }| {
        format!("{who}: {field} is {live} live and {capture} in the capture; {detail}")
    });
    let absent = expected.iter().filter(|(what, _)| !found.iter().any(|difference| is(difference, *what)));
    let absent = absent.map(|((field, live, capture), why)| {
        format!("{who}: {field} was to be {live} live and {capture} in the capture, because {why}")
    });
    unexpected.chain(absent).collect()
}
