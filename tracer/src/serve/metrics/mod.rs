//! Metrics on the wire: OpenMetrics text, or Prometheus' older text for who does not ask for it.

mod text;

use crate::stats::family::Family;

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, with exemplars
    OpenMetrics,
    /// Prometheus 0.0.4
    Prometheus,
}

impl Format {
    /// What the Accept headers of a scraper ask for: OpenMetrics where it is named and weighs no less than plain text.
    #[must_use]
    pub fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut open, mut plain) = (0.0_f32, 0.0_f32);
        for range in accept.flat_map(|value| value.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let quality = parts.find_map(|part| part.strip_prefix("q=")).and_then(|q| q.parse().ok());
            let weight = quality.unwrap_or(1.0_f32);
            match media {
                "application/openmetrics-text" => open = open.max(weight),
                "text/plain" | "text/*" => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The Content-Type header.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All of `families` as text.
#[must_use]
pub fn encode(families: &[Family], format: Format) -> String {
    text::encode(families, format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let wanted = |accept: &str| Format::wanted([accept].into_iter());
        let prometheus = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(wanted(prometheus), Format::OpenMetrics);
        assert_eq!(wanted("application/openmetrics-text;q=0.3, text/plain"), Format::Prometheus);
        assert_eq!(wanted("*/*"), Format::Prometheus);
        assert_eq!(wanted("application/openmetrics-text;q=0"), Format::Prometheus);
        assert_eq!(wanted(";;;q=,,"), Format::Prometheus);
        assert_eq!(Format::wanted(std::iter::empty()), Format::Prometheus);
    }
}
