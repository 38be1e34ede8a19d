//! Metrics as every exporter takes them: families of samples, free of any wire format.

use std::borrow::Cow;
use std::sync::Arc;

use finwait_core::{ConnId, MonoNs, WallNs};

use super::histogram::Histogram;
use super::summary::SharedDistribution;

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`
    Counter,
    /// Goes up and down
    Gauge,
    /// Always 1: the labels are what it says. Its name ends in `_info`
    Info,
    /// A distribution of durations in seconds
    Histogram,
}

/// Unit of the values, as the name's end spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A count of things
    None,
    /// `_seconds`
    Seconds,
    /// `_bytes`
    Bytes,
}

/// What is said of a metric apart from its values; all of them stand in one catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The whole name, `_total` included
    pub name: &'static str,
    /// What it is
    pub kind: Kind,
    /// Of its values
    pub unit: Unit,
    /// One sentence
    pub help: &'static str,
    /// Labels beyond those of the group, in order
    pub labels: &'static [&'static str],
    /// Whether each sample also carries the labels of a group
    pub grouped: bool,
}

/// A label's name and value.
pub type Label = (Cow<'static, str>, Cow<'static, str>);

/// A connection that stands for a value: Prometheus calls it an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exemplar {
    /// Which connection
    pub conn_id: ConnId,
    /// When the time began of which it is the slowest
    pub at: MonoNs,
    /// Its duration
    pub seconds: f64,
    /// When it ended
    pub wall: Option<WallNs>,
}

/// A distribution and connections that stand for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// All durations
    pub histogram: Histogram,
    /// The slowest of late, at most a few
    pub exemplars: Vec<Exemplar>,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter
    Count(u64),
    /// Of a counter that has fractions, such as seconds
    Total(f64),
    /// Of a gauge or an info
    Level(f64),
    /// Of a histogram
    Distribution(SharedDistribution),
}

/// One value with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The group's labels; shared by all samples of a group
    pub group: Arc<[Label]>,
    /// Values of [`Definition::labels`], in their order
    pub labels: Vec<Cow<'static, str>>,
    /// The value
    pub value: Value,
}

/// A metric and its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// What it is
    pub definition: &'static Definition,
    /// Its values
    pub samples: Vec<Sample>,
}
