//! Metrics on the wire: Prometheus' protobuf with native histograms, OpenMetrics text, or Prometheus' older text for who
//! asks for neither.

mod classic;
pub mod model;
mod protobuf;
mod text;

use crate::stats::family::{Definition, Family, Unit};

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `io.prometheus.client.MetricFamily`, each after its length; with native histograms and exemplars
    Protobuf,
    /// OpenMetrics 1.0, with exemplars
    OpenMetrics,
    /// Prometheus 0.0.4
    Prometheus,
}

impl Format {
    /// What says more comes first.
    const ALL: [Self; 3] = [Self::Protobuf, Self::OpenMetrics, Self::Prometheus];

    /// What the Accept headers of a scraper ask for: of the formats that they name the one that weighs most, and of those
    /// that weigh the same the one that says more. Who names none gets plain text.
    #[must_use]
    pub fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let mut weights = [0.0_f32; Self::ALL.len()];
        for range in accept.flat_map(|value| value.split(',')) {
            if let Some((format, weight)) = Self::named(range) {
                let most = &mut weights[format as usize];
                *most = most.max(weight);
            }
        }
        let (mut wanted, mut most) = (Self::Prometheus, 0.0);
        for (format, weight) in Self::ALL.into_iter().zip(weights) {
            if weight > most {
                (wanted, most) = (format, weight);
            }
        }
        wanted
    }

    /// The format that a media range names, and its weight from 0 to 1.
    fn named(range: &str) -> Option<(Self, f32)> {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next()?.to_ascii_lowercase();
        let parameters: Vec<_> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
            .collect();
        let parameter = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| *value)
        };
        // There is protobuf of other messages, and in other forms.
        let delimited = parameter("proto") == Some("io.prometheus.client.MetricFamily")
            && parameter("encoding") == Some("delimited");
        let format = match media.as_str() {
            "application/vnd.google.protobuf" if delimited => Self::Protobuf,
            "application/openmetrics-text" => Self::OpenMetrics,
            "text/plain" | "text/*" => Self::Prometheus,
            _ => return None,
        };
        let weight = parameter("q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        Some((format, weight.clamp(0.0, 1.0)))
    }

    /// The Content-Type header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All of `families`, as they are sent.
#[must_use]
pub fn encode(families: &[Family], format: Format) -> Vec<u8> {
    match format {
        Format::Protobuf => protobuf::encode(families),
        Format::OpenMetrics | Format::Prometheus => text::encode(families, format).into_bytes(),
    }
}

/// The unit as the metric's name spells it: a unit that is not at the name's end is none.
fn unit(definition: &Definition) -> Option<&'static str> {
    let unit = match definition.unit {
        Unit::Seconds => "seconds",
        Unit::Bytes => "bytes",
        Unit::None => return None,
    };
    definition.name.trim_end_matches("_total").ends_with(unit).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROTOBUF: &str =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    const OPEN: &str = "application/openmetrics-text;version=1.0.0";
    const PLAIN: &str = "text/plain;version=0.0.4";

    fn wanted(accept: &str) -> Format {
        Format::wanted([accept].into_iter())
    }

    /// As Prometheus puts its Accept header together: each weighs less than the one before.
    fn listed(formats: &[&str]) -> String {
        let weights = (1..10).rev();
        formats.iter().zip(weights).map(|(format, q)| format!("{format};q=0.{q},")).collect::<String>()
            + "*/*;q=0.1"
    }

    #[test]
    fn a_scraper_gets_what_it_lists_first() {
        for (formats, format) in [
            (&[PROTOBUF, OPEN, PLAIN][..], Format::Protobuf),
            (&[OPEN, PLAIN], Format::OpenMetrics),
            (&[OPEN, PROTOBUF, PLAIN], Format::OpenMetrics),
            (&[PLAIN, PROTOBUF, OPEN], Format::Prometheus),
            (&[PROTOBUF], Format::Protobuf),
            (&[], Format::Prometheus),
        ] {
            assert_eq!(wanted(&listed(formats)), format, "{}", listed(formats));
        }
    }

    #[test]
    fn who_weighs_two_the_same_gets_what_says_more() {
        for (accept, format) in [
            (format!("{PLAIN},{OPEN},{PROTOBUF}"), Format::Protobuf),
            (format!("{PLAIN},{OPEN}"), Format::OpenMetrics),
            (format!("{PROTOBUF};q=0.5,{OPEN};q=0.5,{PLAIN};q=0.5"), Format::Protobuf),
            (format!("{PROTOBUF},{OPEN};q=0.8,{PLAIN};q=0.5,*/*;q=0.1"), Format::Protobuf),
            (format!("{PROTOBUF};q=0.3,{PLAIN}"), Format::Prometheus),
            (format!("{OPEN};q=0.3,{PLAIN}"), Format::Prometheus),
        ] {
            assert_eq!(wanted(&accept), format, "{accept}");
        }
    }

    #[test]
    fn protobuf_is_only_that_of_delimited_families() {
        for (accept, format) in [
            ("application/vnd.google.protobuf", Format::Prometheus),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                Format::Prometheus,
            ),
            ("application/vnd.google.protobuf;proto=another.Message;encoding=delimited", Format::Prometheus),
            (
                "application/vnd.google.protobuf;encoding=delimited, application/openmetrics-text;q=0.1",
                Format::OpenMetrics,
            ),
            (
                "Application/Vnd.Google.Protobuf ; Encoding=delimited ; PROTO=\"io.prometheus.client.MetricFamily\" ; Q=0.2",
                Format::Protobuf,
            ),
        ] {
            assert_eq!(wanted(accept), format, "{accept}");
        }
    }

    #[test]
    fn who_names_no_format_or_nonsense_gets_plain_text() {
        for accept in ["*/*", "application/*", "text/html", "", ";;;q=,,", "application/json;q=NaN"] {
            assert_eq!(wanted(accept), Format::Prometheus, "{accept}");
        }
        for weight in ["0", "0.000", "-1", "NaN"] {
            assert_eq!(wanted(&format!("{PROTOBUF};q={weight}")), Format::Prometheus, "{weight}");
            assert_eq!(wanted(&format!("{OPEN};q={weight}")), Format::Prometheus, "{weight}");
        }
        assert_eq!(wanted(&format!("{PROTOBUF};q=1e9,{OPEN};q=1")), Format::Protobuf);
        assert_eq!(Format::wanted(std::iter::empty()), Format::Prometheus);
    }

    #[test]
    fn several_headers_are_one_list() {
        assert_eq!(Format::wanted(["text/plain;q=0.2", PROTOBUF].into_iter()), Format::Protobuf);
    }
}
