//! One try to hand a request to the collector, and what its answer means.

use std::time::{Duration, SystemTime};

use jiff::fmt::rfc2822;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::{Agent, Body};

use super::{Endpoint, Header};

/// Of the wire format, in both directions.
const PROTOBUF: &str = "application/x-protobuf";
/// An answer is small; what is longer is not read.
const ANSWER_BYTES: u64 = 64 << 10;

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The collector took the request, all but so many points
    Taken {
        /// 0 as a rule
        rejected_points: u64,
    },
    /// Not now: the collector is away or busy
    Later {
        /// How long it asks to be left alone, if it says so
        after: Option<Duration>,
        /// For people
        reason: String,
    },
    /// Never: the collector will not take this request
    Refused {
        /// For people
        reason: String,
    },
}

/// Sends to one collector.
pub(super) struct Poster {
    agent: Agent,
    endpoint: Endpoint,
    headers: Vec<Header>,
}

impl Poster {
    pub(super) fn new(endpoint: Endpoint, headers: Vec<Header>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // A collector stands beside finwait: no proxy that the environment names for the world.
            .proxy(None)
            // A kept connection would often be closed by the collector just when the next push starts.
            .max_idle_connections(0)
            .user_agent(concat!("finwait/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), endpoint, headers }
    }

    /// One try, over within `timeout`.
    pub(super) fn post(&self, body: &[u8], timeout: Duration) -> Outcome {
        let mut request = self.agent.post(self.endpoint.uri());
        for header in &self.headers {
            request = request.header(&header.name, &header.value);
        }
        let request = request.header(header::CONTENT_TYPE, PROTOBUF).config().timeout_global(Some(timeout));
        match request.build().send(body) {
            Ok(response) => {
                let (head, mut body) = response.into_parts();
                answered(head.status, &head.headers, &mut body)
            }
            Err(ureq::Error::Http(error)) => Outcome::Refused { reason: error.to_string() },
            Err(ureq::Error::BadUri(uri)) => Outcome::Refused { reason: uri },
            Err(error) => Outcome::Later { after: None, reason: error.to_string() },
        }
    }
}

fn answered(status: StatusCode, headers: &HeaderMap, body: &mut Body) -> Outcome {
    if status.is_success() {
        return Outcome::Taken { rejected_points: rejected(headers, body) };
    }
    let reason = format!("HTTP {status}");
    match status.as_u16() {
        429 | 502..=504 => Outcome::Later { after: retry_after(headers, SystemTime::now()), reason },
        _ => Outcome::Refused { reason },
    }
}

/// Points that were not taken, as the answer tells. An answer that cannot be read tells of none.
fn rejected(headers: &HeaderMap, body: &mut Body) -> u64 {
    if headers.get(header::CONTENT_TYPE).is_none_or(|content_type| content_type != PROTOBUF) {
        return 0;
    }
    let answer = body.with_config().limit(ANSWER_BYTES).read_to_vec().ok();
    let answer = answer.and_then(|bytes| ExportMetricsServiceResponse::decode(&*bytes).ok());
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| u64::try_from(partial.rejected_data_points).unwrap_or(0))
}

/// Seconds or a date, by RFC 9110; a date that is over means no wait.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(rfc2822::parse(text).ok()?.timestamp());
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(text: &str, now: SystemTime) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        retry_after(&headers, now)
    }

    #[test]
    fn a_wait_is_given_in_seconds_or_as_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(asked("120", now), Some(Duration::from_secs(120)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:47 GMT", now), Some(Duration::from_secs(10)));
        assert_eq!(asked("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(asked("soon", now), None);
        assert_eq!(asked("-1", now), None);
    }
}
