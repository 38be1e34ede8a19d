//! Messages of Prometheus' protobuf exposition, package `io.prometheus.client`: the parts that finwait fills or its tests
//! look at. Field numbers and types are those of `metrics.proto` in prometheus/client_model. That is proto2: an absent field
//! and a zero are two things, and repeated numbers are not packed.

/// A metric and its samples. On the wire each one follows its length.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MetricFamily {
    /// The whole name, `_total` included
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// One sentence
    #[prost(string, optional, tag = "2")]
    pub help: Option<String>,
    /// Which field of [`Metric`] has the values
    #[prost(enumeration = "MetricType", optional, tag = "3")]
    pub r#type: Option<i32>,
    /// The samples
    #[prost(message, repeated, tag = "4")]
    pub metric: Vec<Metric>,
    /// The unit, as the name spells it
    #[prost(string, optional, tag = "5")]
    pub unit: Option<String>,
}

/// What a family is; an info is a gauge here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    /// Only grows
    Counter = 0,
    /// Goes up and down
    Gauge = 1,
    /// Quantiles; finwait has none
    Summary = 2,
    /// Not said; finwait has none
    Untyped = 3,
    /// A distribution
    Histogram = 4,
    /// A distribution that may shrink; finwait has none
    GaugeHistogram = 5,
}

/// One sample: labels, and one of the values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Metric {
    /// The labels, in any order
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// Of a gauge
    #[prost(message, optional, tag = "2")]
    pub gauge: Option<Gauge>,
    /// Of a counter
    #[prost(message, optional, tag = "3")]
    pub counter: Option<Counter>,
    /// When it was so, in milliseconds since 1970; absent means when it was scraped
    #[prost(int64, optional, tag = "6")]
    pub timestamp_ms: Option<i64>,
    /// Of a histogram
    #[prost(message, optional, tag = "7")]
    pub histogram: Option<Histogram>,
}

/// A label.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LabelPair {
    /// Its name
    #[prost(string, optional, tag = "1")]
    pub name: Option<String>,
    /// Its value, not escaped
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// A level.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gauge {
    /// The value
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
}

/// A count.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Counter {
    /// The value
    #[prost(double, optional, tag = "1")]
    pub value: Option<f64>,
    /// What stands for it; finwait's counters have none
    #[prost(message, optional, tag = "2")]
    pub exemplar: Option<Exemplar>,
}

/// A distribution: in classic buckets, as a native histogram, or as both.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Histogram {
    /// How many
    #[prost(uint64, optional, tag = "1")]
    pub sample_count: Option<u64>,
    /// Sum of all
    #[prost(double, optional, tag = "2")]
    pub sample_sum: Option<f64>,
    /// The classic buckets, by rising bound
    #[prost(message, repeated, tag = "3")]
    pub bucket: Vec<Bucket>,
    /// Native: a power of two is cut into 2^schema buckets
    #[prost(sint32, optional, tag = "5")]
    pub schema: Option<i32>,
    /// Native: what is no further from 0 is in the zero bucket
    #[prost(double, optional, tag = "6")]
    pub zero_threshold: Option<f64>,
    /// Native: how many are in the zero bucket
    #[prost(uint64, optional, tag = "7")]
    pub zero_count: Option<u64>,
    /// Native: where there are buckets of negative values; a duration is none
    #[prost(message, repeated, tag = "9")]
    pub negative_span: Vec<BucketSpan>,
    /// Native: their counts, as in `positive_delta`
    #[prost(sint64, repeated, packed = "false", tag = "10")]
    pub negative_delta: Vec<i64>,
    /// Native: where there are buckets. With none at all, one of length 0 tells it from a classic histogram
    #[prost(message, repeated, tag = "12")]
    pub positive_span: Vec<BucketSpan>,
    /// Native: the count of each bucket less that of the one before, the first less 0
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub positive_delta: Vec<i64>,
    /// Native: what stands for it; each has a time
    #[prost(message, repeated, tag = "16")]
    pub exemplars: Vec<Exemplar>,
}

/// A classic bucket.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bucket {
    /// How many were at the bound or below
    #[prost(uint64, optional, tag = "1")]
    pub cumulative_count: Option<u64>,
    /// The bound, included
    #[prost(double, optional, tag = "2")]
    pub upper_bound: Option<f64>,
    /// What stands for those above the bound before
    #[prost(message, optional, tag = "3")]
    pub exemplar: Option<Exemplar>,
}

/// Native buckets that follow each other. Bucket `i` of schema `s` holds what is in (2^((i-1)/2^s), 2^(i/2^s)].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct BucketSpan {
    /// Of the first span the index at which it begins; of another, how many buckets are left out before it
    #[prost(sint32, optional, tag = "1")]
    pub offset: Option<i32>,
    /// How many buckets
    #[prost(uint32, optional, tag = "2")]
    pub length: Option<u32>,
}

/// A connection that stands for a value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Exemplar {
    /// Which
    #[prost(message, repeated, tag = "1")]
    pub label: Vec<LabelPair>,
    /// Its value
    #[prost(double, optional, tag = "2")]
    pub value: Option<f64>,
    /// When that was
    #[prost(message, optional, tag = "3")]
    pub timestamp: Option<Timestamp>,
}

/// `google.protobuf.Timestamp`, which is proto3.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Timestamp {
    /// Since 1970
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// And of a second
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}
