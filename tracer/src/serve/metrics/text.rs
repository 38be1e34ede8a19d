//! The text formats: OpenMetrics, and Prometheus' older one. Both have classic buckets only.

use std::fmt::{Display, Write};

use super::{Format, classic, unit};
use crate::stats::family::{Distribution, Exemplar, Family, Kind, Label, Sample, Value};

pub(super) fn encode(families: &[Family], format: Format) -> String {
    let mut writer =
        Writer { out: String::with_capacity(1 << 16), format, labels: String::new(), bounds: Vec::new() };
    families.iter().for_each(|family| writer.family(family));
    if format == Format::OpenMetrics {
        writer.out.push_str("# EOF\n");
    }
    writer.out
}

struct Writer {
    out: String,
    format: Format,
    /// Of the sample that is written
    labels: String,
    /// The texts of the classic buckets' bounds, the same in every histogram
    bounds: Vec<String>,
}

/// Writing to a string cannot fail.
macro_rules! put {
    ($out:expr, $($text:tt)*) => { { let _ = write!($out, $($text)*); } };
}

impl Writer {
    /// One without samples is left out, as in the other format.
    fn family(&mut self, family: &Family) {
        if family.samples.is_empty() {
            return;
        }
        let definition = family.definition;
        let open = self.format == Format::OpenMetrics;
        // OpenMetrics gives the family its name without the suffix that its samples have.
        let name = match definition.kind {
            Kind::Counter if open => definition.name.trim_end_matches("_total"),
            Kind::Info if open => definition.name.trim_end_matches("_info"),
            _ => definition.name,
        };
        let kind = match definition.kind {
            Kind::Counter => "counter",
            Kind::Info if open => "info",
            Kind::Gauge | Kind::Info => "gauge",
            Kind::Histogram => "histogram",
        };
        put!(self.out, "# HELP {name} {}\n# TYPE {name} {kind}\n", escaped_help(definition.help));
        if let Some(unit) = unit(definition).filter(|_| open) {
            put!(self.out, "# UNIT {name} {unit}\n");
        }
        for sample in &family.samples {
            self.sample(family, sample);
        }
    }

    fn sample(&mut self, family: &Family, sample: &Sample) {
        let names = family.definition.labels;
        let own = names.iter().zip(&sample.labels).map(|(name, value)| (*name, value.as_ref()));
        let group = sample.group.iter().map(|(name, value): &Label| (name.as_ref(), value.as_ref()));
        self.labels.clear();
        for (name, value) in group.chain(own) {
            if !self.labels.is_empty() {
                self.labels.push(',');
            }
            self.labels.push_str(name);
            self.labels.push_str("=\"");
            escape(value, &mut self.labels);
            self.labels.push('"');
        }
        let name = family.definition.name;
        match &sample.value {
            Value::Count(count) => self.line(name, "", *count),
            Value::Total(value) | Value::Level(value) => self.line(name, "", number(*value)),
            Value::Distribution(distribution) => self.distribution(name, distribution),
        }
    }

    fn line(&mut self, name: &str, suffix: &str, value: impl Display) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        if !self.labels.is_empty() {
            self.out.push('{');
            self.out.push_str(&self.labels);
            self.out.push('}');
        }
        put!(self.out, " {value}\n");
    }

    fn distribution(&mut self, name: &str, distribution: &Distribution) {
        let comma = if self.labels.is_empty() { "" } else { "," };
        for (place, bucket) in classic::buckets(distribution).enumerate() {
            if place == self.bounds.len() {
                self.bounds.push(number(bucket.bound));
            }
            for part in [name, "_bucket{", &self.labels, comma, "le=\"", &self.bounds[place], "\"} "] {
                self.out.push_str(part);
            }
            put!(self.out, "{}", bucket.count);
            self.exemplar(bucket.exemplar);
        }
        self.line(name, "_sum", number(distribution.histogram.sum_seconds()));
        self.line(name, "_count", distribution.histogram.count());
    }

    /// What stands for a bucket, and the line's end.
    fn exemplar(&mut self, exemplar: Option<&Exemplar>) {
        if let Some(exemplar) = exemplar.filter(|_| self.format == Format::OpenMetrics) {
            put!(self.out, " # {{conn_id=\"{}\"}} {}", exemplar.conn_id, number(exemplar.seconds));
            if let Some(wall) = exemplar.wall {
                put!(self.out, " {}.{:03}", wall.0 / 1_000_000_000, wall.0 / 1_000_000 % 1000);
            }
        }
        self.out.push('\n');
    }
}

/// As both formats spell numbers.
fn number(value: f64) -> String {
    if value == f64::INFINITY { "+Inf".to_owned() } else { format!("{value:?}") }
}

fn escape(value: &str, out: &mut String) {
    for part in value.split_inclusive(['\\', '"', '\n']) {
        let plain = part.strip_suffix(['\\', '"', '\n']).unwrap_or(part);
        out.push_str(plain);
        out.push_str(match part.as_bytes().get(plain.len()) {
            Some(b'\\') => "\\\\",
            Some(b'"') => "\\\"",
            Some(_) => "\\n",
            None => "",
        });
    }
}

fn escaped_help(help: &str) -> String {
    let mut text = String::new();
    escape(help, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeMap;

    use super::*;
    use crate::sink::samples_for_tests as samples;
    use crate::stats::catalogue;
    use finwait_core::{MonoNs, WallNs};

    fn sample(group: &[(&'static str, &str)], labels: &[&str], value: Value) -> Sample {
        let group: Vec<Label> =
            group.iter().map(|(name, value)| ((*name).into(), Cow::from((*value).to_owned()))).collect();
        let labels = labels.iter().map(|label| Cow::from((*label).to_owned())).collect();
        Sample { group: group.into(), labels, value }
    }

    fn durations(all_ms: &[u64]) -> Distribution {
        let mut distribution = Distribution::default();
        all_ms.iter().for_each(|ms| distribution.histogram.record(ms * 1_000_000));
        distribution
    }

    fn families() -> Vec<Family> {
        let mut distribution = durations(&[1, 20, 3000]);
        distribution.exemplars.push(Exemplar {
            conn_id: samples::conn_id(),
            at: MonoNs(1),
            seconds: 3.0,
            wall: Some(WallNs(1_790_000_000_123_456_789)),
        });
        vec![
            Family {
                definition: &catalogue::CLOSED,
                samples: vec![sample(&[("process", "a\"b\\c\nd")], &["active"], Value::Count(7))],
            },
            Family {
                definition: &catalogue::HANDSHAKE,
                samples: vec![sample(&[("role", "opened")], &[], Value::Distribution(distribution.into()))],
            },
            Family { definition: &catalogue::CPU, samples: vec![sample(&[], &[], Value::Total(1.5))] },
            Family { definition: &catalogue::BUILD, samples: vec![sample(&[], &["0.1"], Value::Level(1.0))] },
        ]
    }

    /// Reads what a strict reader would: name with labels, value; every sample below a TYPE line of its family.
    fn read(text: &str) -> BTreeMap<String, f64> {
        let (mut samples, mut family) = (BTreeMap::new(), String::new());
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split_once(' ').unwrap().0.to_owned();
            }
            if line.starts_with('#') {
                continue;
            }
            let line = line.split(" # ").next().unwrap();
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with(&family), "{name} below {family}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(samples.insert(name.to_owned(), value).is_none(), "{name} twice");
        }
        samples
    }

    #[test]
    fn openmetrics_names_families_without_their_suffix_and_ends_with_eof() {
        let text = encode(&families(), Format::OpenMetrics);
        assert!(text.contains("# TYPE finwait_connections_closed counter\n"), "{text}");
        assert!(text.contains("# TYPE finwait_build info\n"), "{text}");
        assert!(text.contains("# UNIT finwait_handshake_seconds seconds\n"), "{text}");
        assert!(text.contains("# UNIT process_cpu_seconds seconds\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
        let line = r#"finwait_connections_closed_total{process="a\"b\\c\nd",kind="active"} 7"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn buckets_are_cumulative_and_hold_all() {
        for format in [Format::OpenMetrics, Format::Prometheus] {
            let samples = read(&encode(&families(), format));
            let bucket = |le: &str| {
                samples[&format!("finwait_handshake_seconds_bucket{{role=\"opened\",le=\"{le}\"}}")] as u64
            };
            assert_eq!((bucket("0.0009765625"), bucket("0.00390625"), bucket("0.0625")), (0, 1, 2));
            assert_eq!((bucket("1.0"), bucket("4.0"), bucket("+Inf")), (2, 3, 3));
            assert!((samples["finwait_handshake_seconds_sum{role=\"opened\"}"] - 3.021).abs() < 1e-9);
            assert_eq!(samples["finwait_handshake_seconds_count{role=\"opened\"}"] as u64, 3);
        }
    }

    #[test]
    fn an_exemplar_stands_at_the_bucket_it_belongs_to_and_in_openmetrics_alone() {
        let text = encode(&families(), Format::OpenMetrics);
        let line = text.lines().find(|line| line.contains("conn_id")).unwrap();
        assert!(line.contains("le=\"4.0\"") && line.ends_with("} 3.0 1790000000.123"), "{line}");
        assert!(!encode(&families(), Format::Prometheus).contains("conn_id"));
    }
}
