//! Where the rest of a stream begins: a recording that goes on in another file, which may be read without the first.

use serde::{Deserialize, Serialize};

use super::{Counters, Stream};
use crate::time::MonoNs;

/// What came before is not here, and was not lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// The last watermark of what came before
    #[serde(rename = "time_ns")]
    pub at: MonoNs,
    /// The last counters of what came before: they count from the beginning
    pub counters: Counters,
    /// The last number in each stream
    pub numbers: Vec<Numbered>,
}

/// How far a stream had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbered {
    /// The stream
    #[serde(flatten)]
    pub stream: Stream,
    /// Its last number
    pub seq: u64,
}
