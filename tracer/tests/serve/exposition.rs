//! `/metrics` as protobuf beside the same as text: every sample of one is in the other.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use tracer::serve::metrics::model::{Exemplar, Histogram, Metric, MetricFamily, MetricType};

use super::served::Served;

/// As Prometheus asks that scrapes native histograms.
const PROTOBUF_FIRST: &str = "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
     application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
     text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1\r\n";
const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0\r\n";
/// Not the same in two scrapes.
const MOVING: [&str; 2] = ["process_", "finwait_snapshot_age_seconds"];

/// What a scrape comes to, whatever it was written in.
#[derive(Debug, Default, PartialEq)]
struct Scrape {
    /// By name and labels, as the text spells them
    samples: BTreeMap<String, f64>,
    /// What stands for a sample: connection, value and time in milliseconds
    exemplars: BTreeMap<String, (String, f64, Option<u64>)>,
    /// Of a family: its name as the samples have it, and type, help and unit
    families: BTreeSet<(String, String)>,
}

impl Scrape {
    fn sample(&mut self, series: &str, value: f64) {
        let value = if MOVING.iter().any(|name| series.starts_with(name)) { 0.0 } else { value };
        assert_eq!(self.samples.insert(series.to_owned(), value), None, "{series} twice");
    }

    /// What OpenMetrics text says; its families go without the suffixes of their samples.
    fn of_text(text: &str) -> Self {
        let mut scrape = Self::default();
        let lines = text.lines().filter(|line| *line != "# EOF");
        for line in lines {
            if let Some(said) = line.strip_prefix("# ") {
                let (what, name, said) = three(said);
                scrape.families.insert((name.to_owned(), format!("{what} {said}")));
                continue;
            }
            let (sample, exemplar) =
                line.split_once(" # ").map_or((line, None), |(sample, it)| (sample, Some(it)));
            let (series, value) = sample.rsplit_once(' ').unwrap();
            scrape.sample(series, value.parse().unwrap());
            if let Some(exemplar) = exemplar {
                let (labels, value, time) = three(exemplar);
                let time = time.replace('.', "").parse().ok();
                scrape.exemplars.insert(series.to_owned(), (labels.to_owned(), value.parse().unwrap(), time));
            }
        }
        scrape
    }

    /// What the messages say, under the names that text would give it.
    fn of_families(families: &[MetricFamily]) -> Self {
        let mut scrape = Self::default();
        for family in families {
            let name = family.name.clone().unwrap();
            let kind = match family.r#type() {
                MetricType::Counter => "counter",
                MetricType::Gauge if name.ends_with("_info") => "info",
                MetricType::Gauge => "gauge",
                MetricType::Histogram => "histogram",
                other => panic!("{name} is a {other:?}"),
            };
            let short = name.trim_end_matches("_total").trim_end_matches("_info").to_owned();
            let unit = family.unit.as_ref().map(|unit| format!("UNIT {unit}"));
            let said = [format!("HELP {}", family.help.as_ref().unwrap()), format!("TYPE {kind}")];
            scrape.families.extend(said.into_iter().chain(unit).map(|said| (short.clone(), said)));
            family.metric.iter().for_each(|metric| scrape.metric(&name, family.r#type(), metric));
        }
        scrape
    }

    fn metric(&mut self, name: &str, kind: MetricType, metric: &Metric) {
        assert_eq!(metric.timestamp_ms, None);
        let pairs =
            metric.label.iter().map(|pair| (pair.name.as_deref().unwrap(), pair.value.as_deref().unwrap()));
        let labels: Vec<_> = pairs.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let (counter, gauge) = (metric.counter.as_ref(), metric.gauge.as_ref());
        let value = match kind {
            MetricType::Counter => counter.unwrap().value,
            MetricType::Gauge => gauge.unwrap().value,
            _ => return self.histogram(name, &labels, metric.histogram.as_ref().unwrap()),
        };
        self.sample(&series(name, "", &labels), value.unwrap());
    }

    fn histogram(&mut self, name: &str, labels: &[String], histogram: &Histogram) {
        self.sample(&series(name, "_count", labels), histogram.sample_count.unwrap() as f64);
        self.sample(&series(name, "_sum", labels), histogram.sample_sum.unwrap());
        for bucket in &histogram.bucket {
            let bound = bucket.upper_bound.unwrap();
            let bound = if bound == f64::INFINITY { "+Inf".to_owned() } else { format!("{bound:?}") };
            let labels = [labels, &[format!("le=\"{bound}\"")]].concat();
            let series = series(name, "_bucket", &labels);
            self.sample(&series, bucket.cumulative_count.unwrap() as f64);
            self.exemplars.extend(bucket.exemplar.as_ref().map(|exemplar| (series, told(exemplar))));
        }
    }
}

/// The first two words and the rest.
fn three(text: &str) -> (&str, &str, &str) {
    let mut parts = text.splitn(3, ' ');
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

fn series(name: &str, suffix: &str, labels: &[String]) -> String {
    if labels.is_empty() {
        format!("{name}{suffix}")
    } else {
        format!("{name}{suffix}{{{}}}", labels.join(","))
    }
}

fn told(exemplar: &Exemplar) -> (String, f64, Option<u64>) {
    let [label] = exemplar.label.as_slice() else { panic!("{exemplar:?}") };
    let labels = format!("{{{}=\"{}\"}}", label.name.as_ref().unwrap(), label.value.as_ref().unwrap());
    let time = exemplar.timestamp.map(|time| time.seconds as u64 * 1000 + time.nanos as u64 / 1_000_000);
    (labels, exemplar.value.unwrap(), time)
}

impl Served {
    fn families(&self, headers: &str) -> Vec<MetricFamily> {
        let request =
            format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n", self.address);
        let (head, body) = self.exchange(&request);
        assert!(
            head.contains(
                "content-type: application/vnd.google.protobuf; proto=io.prometheus.client.metricfamily; encoding=delimited\r\n"
            ) && head.contains(&format!("content-length: {}", body.len())),
            "{head}"
        );
        let (mut rest, mut families) = (body.as_slice(), Vec::new());
        while !rest.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
        }
        families
    }
}

/// Of these only what is not the same in two scrapes is not compared.
#[test]
fn protobuf_and_text_say_the_same_of_a_recording() {
    let served = Served::with(&["--group-by", "role,service,process"]);
    let text = Scrape::of_text(&served.get("/metrics", OPENMETRICS).body);
    let messages = Scrape::of_families(&served.families(PROTOBUF_FIRST));
    assert!(text.samples.len() > 500 && text.exemplars.len() >= 8, "{text:#?}");
    assert_eq!(text, messages);
}

#[test]
fn every_histogram_is_a_native_one_whose_buckets_add_up_to_the_classic_ones() {
    let served = Served::with(&[]);
    let families = served.families(PROTOBUF_FIRST);
    let metrics = families.iter().flat_map(|family| &family.metric);
    let histograms: Vec<_> = metrics.filter_map(|metric| metric.histogram.as_ref()).collect();
    // `other` and four groups; life, handshake and six states of each.
    assert_eq!(histograms.len(), 5 * 8);
    for histogram in &histograms {
        assert!(histogram.schema == Some(3) && !histogram.positive_span.is_empty(), "{histogram:?}");
        let buckets = native(histogram);
        let all: i64 = buckets.iter().map(|(_, count)| count).sum();
        assert_eq!(all as u64 + histogram.zero_count.unwrap(), histogram.sample_count.unwrap());
        for classic in &histogram.bucket {
            let below = buckets.iter().filter(|(bound, _)| *bound <= classic.upper_bound.unwrap());
            let below = below.map(|(_, count)| count).sum::<i64>() as u64 + histogram.zero_count.unwrap();
            assert_eq!(Some(below), classic.cumulative_count, "{histogram:?}");
        }
        let exemplars = &histogram.exemplars;
        assert!(exemplars.iter().all(|it| it.timestamp.is_some()), "{exemplars:?}");
        assert_eq!(exemplars.is_empty(), histogram.sample_count == Some(0), "{exemplars:?}");
    }
    assert!(histograms.iter().any(|histogram| histogram.sample_count == Some(0)), "one is empty");
}

/// Upper bound and count of each native bucket.
fn native(histogram: &Histogram) -> Vec<(f64, i64)> {
    let (mut index, mut count) = (0, 0);
    let mut deltas = histogram.positive_delta.iter();
    let mut buckets = Vec::new();
    for span in &histogram.positive_span {
        index += span.offset.unwrap();
        for delta in deltas.by_ref().take(span.length.unwrap() as usize) {
            count += delta;
            buckets.push(((f64::from(index) / 8.0).exp2(), count));
            index += 1;
        }
    }
    buckets
}

#[test]
fn who_prefers_text_or_wants_other_protobuf_gets_text() {
    let served = Served::with(&[]);
    let protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily";
    for (accept, content_type) in [
        (format!("{protobuf};encoding=delimited;q=0.3,text/plain;q=0.5"), "text/plain"),
        (format!("{protobuf};encoding=text,*/*"), "text/plain"),
        (
            format!("{protobuf};encoding=delimited;q=0.3,application/openmetrics-text"),
            "application/openmetrics-text",
        ),
    ] {
        let answer = served.get("/metrics", &format!("Accept: {accept}\r\n"));
        assert!(answer.head.contains(&format!("content-type: {content_type}")), "{accept}: {}", answer.head);
    }
}
