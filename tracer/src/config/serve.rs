//! `serve`, validated.

use finwait_core::TrackerConfig;

use super::{ConfigError, Origin, filter, origin};
#[cfg(feature = "otlp")]
use crate::cli::OtlpArgs;
use crate::cli::{FilterArgs, ServeArgs};
use crate::filter::Filter;
use crate::serve::Web;
#[cfg(feature = "otlp")]
use crate::serve::otlp::{Header, OtlpConfig, Resource};
use crate::stats::{Dimension, Grouping};

/// See the module.
#[derive(Debug)]
pub struct Serve {
    /// Where from
    pub origin: Origin,
    /// Of which connections
    pub filter: Filter,
    /// How much the tracker may hold
    pub tracker: TrackerConfig,
    /// How HTTP is served
    pub web: Web,
    /// How connections are grouped
    pub grouping: Grouping,
    /// Where else the metrics go
    #[cfg(feature = "otlp")]
    pub otlp: Option<OtlpConfig>,
}

pub(super) fn validate(args: ServeArgs) -> Result<Serve, ConfigError> {
    if !args.listen.ip().to_canonical().is_loopback() && !args.insecure {
        return Err(ConfigError::Exposed { address: args.listen });
    }
    #[cfg(feature = "otlp")]
    let otlp = otlp(args.otlp)?;
    let filter = filter(&FilterArgs { kernel: args.filter, ..FilterArgs::default() })?;
    let replay = args.read.is_some();
    Ok(Serve {
        origin: origin(args.read, &args.live, &filter)?,
        filter,
        tracker: TrackerConfig {
            capacity: args.max_connections,
            transitions: false,
            ..TrackerConfig::default()
        },
        web: Web {
            listen: args.listen,
            max_requests: args.max_requests,
            allowed_hosts: args.allowed_host,
            recent_closes: args.recent_closes,
            replay,
        },
        grouping: Grouping {
            by: each_once(&args.group_by),
            max_groups: args.max_groups,
            peers: args.peer_network,
        },
        #[cfg(feature = "otlp")]
        otlp,
    })
}

/// The environment has what OpenTelemetry's own libraries read there: headers that are secret, and more of the resource.
#[cfg(feature = "otlp")]
fn otlp(args: OtlpArgs) -> Result<Option<OtlpConfig>, ConfigError> {
    let Some(endpoint) = args.endpoint else { return Ok(None) };
    let mut headers = Header::from_environment().map_err(ConfigError::OtlpHeaders)?;
    headers.extend(args.header);
    Ok(Some(OtlpConfig {
        headers,
        interval: args.interval,
        timeout: args.timeout,
        resource: Resource::from_environment()?,
        ..OtlpConfig::new(endpoint)
    }))
}

/// In the order given: it is the order of the labels.
fn each_once(by: &[Dimension]) -> Vec<Dimension> {
    let mut once = Vec::new();
    for dimension in by {
        if !once.contains(dimension) {
            once.push(*dimension);
        }
    }
    once
}
