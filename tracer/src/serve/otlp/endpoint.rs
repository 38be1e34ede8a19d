//! The collector's address and the headers for it, checked before anything starts.

use std::fmt;
use std::str::FromStr;

use ureq::http::{HeaderName, HeaderValue, Uri};

use super::resource::pairs;

/// What a collector serves OTLP over HTTP at, by the protocol's specification.
const METRICS_PATH: &str = "/v1/metrics";

/// URL of a collector: `http://host:port`, with the path of the protocol where it has no path of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Uri);

/// Why a URL or header is none. Every message is one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// TLS is left to a collector
    #[error(
        "finwait speaks OTLP over plain http only; put an OpenTelemetry collector beside it and let that speak TLS"
    )]
    Https,
    /// Neither http nor https, or no URL
    #[error("expected a URL such as http://127.0.0.1:4318")]
    NotHttp,
    /// User and password in the URL
    #[error("the URL holds a user or password, which finwait would show; use a header instead")]
    Credentials,
    /// Not `name=value`, or with characters that no header may have. The value may be a secret and is not shown
    #[error("expected a header as name=value")]
    Header,
}

impl Endpoint {
    /// The whole URL.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::NotHttp)?;
        let authority = uri.authority().ok_or(EndpointError::NotHttp)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::Credentials);
        }
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(EndpointError::Https),
            _ => return Err(EndpointError::NotHttp),
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(EndpointError::NotHttp);
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Ok(Self(uri));
        }
        Uri::builder()
            .scheme("http")
            .authority(authority.as_str())
            .path_and_query(METRICS_PATH)
            .build()
            .map(Self)
            .map_err(|_| EndpointError::NotHttp)
    }
}

/// A header for every request, such as a key. Its value is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    pub(super) name: HeaderName,
    pub(super) value: HeaderValue,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

impl Header {
    /// The headers of `OTEL_EXPORTER_OTLP_HEADERS`, as `name=value,name=value` with `%`-escapes. Other users of the host do
    /// not see it, unlike arguments.
    pub fn from_environment() -> Result<Vec<Self>, EndpointError> {
        let listed = std::env::var_os("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default();
        Self::listed(&listed.to_string_lossy())
    }

    fn listed(text: &str) -> Result<Vec<Self>, EndpointError> {
        let pairs = pairs(text).ok_or(EndpointError::Header)?;
        pairs.iter().map(|(name, value)| Self::new(name, value)).collect()
    }

    fn new(name: &str, value: &str) -> Result<Self, EndpointError> {
        let name = name.trim().parse().map_err(|_| EndpointError::Header)?;
        let mut value: HeaderValue = value.trim().parse().map_err(|_| EndpointError::Header)?;
        value.set_sensitive(true);
        Ok(Self { name, value })
    }
}

impl FromStr for Header {
    type Err = EndpointError;

    /// Reads `name=value`.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (name, value) = text.split_once('=').ok_or(EndpointError::Header)?;
        Self::new(name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, EndpointError> {
        text.parse::<Endpoint>().map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn the_standard_path_is_added_where_the_url_has_none() {
        assert_eq!(read("http://127.0.0.1:4318").unwrap(), "http://127.0.0.1:4318/v1/metrics");
        assert_eq!(read("http://collector:4318/").unwrap(), "http://collector:4318/v1/metrics");
        assert_eq!(read("http://[::1]:4318").unwrap(), "http://[::1]:4318/v1/metrics");
    }

    #[test]
    fn a_path_of_its_own_stays() {
        assert_eq!(read("http://gateway/otlp/v1/metrics").unwrap(), "http://gateway/otlp/v1/metrics");
        assert_eq!(read("http://gateway/?tenant=a").unwrap(), "http://gateway/?tenant=a");
    }

    #[test]
    fn https_is_refused_with_the_way_out() {
        let error = read("https://collector:4318").unwrap_err();
        assert!(error.to_string().contains("put an OpenTelemetry collector beside it"), "{error}");
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for text in
            ["", "collector:4318", "collector", "ftp://collector", "/v1/metrics", "http://", "http:// a"]
        {
            assert_eq!(read(text).unwrap_err(), EndpointError::NotHttp, "{text}");
        }
        assert_eq!(read("http://me:secret@collector").unwrap_err(), EndpointError::Credentials);
    }

    #[test]
    fn a_header_never_shows_its_value() {
        let header: Header = "authorization=Bearer a=b".parse().unwrap();
        assert_eq!(header.value, "Bearer a=b");
        assert!(!format!("{header:?}").contains("Bearer"));
        assert_eq!("authorization".parse::<Header>().unwrap_err(), EndpointError::Header);
        assert_eq!("x=a\r\nb: c".parse::<Header>().unwrap_err(), EndpointError::Header);
    }

    #[test]
    fn headers_of_the_environment_are_a_list_with_escapes() {
        let headers = Header::listed("authorization=Bearer%20a, x-scope=b").unwrap();
        assert_eq!(headers, ["authorization=Bearer a".parse().unwrap(), "x-scope=b".parse().unwrap()]);
        assert_eq!(Header::listed(""), Ok(Vec::new()));
        for wrong in ["authorization", "a=b%0d%0ac", "a b=c", "=c"] {
            assert_eq!(Header::listed(wrong), Err(EndpointError::Header), "{wrong}");
        }
    }
}
