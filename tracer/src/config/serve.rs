//! `serve`, validated.

use finwait_core::TrackerConfig;

use super::{ConfigError, Origin, filter, origin};
#[cfg(feature = "otlp")]
use crate::cli::OtlpArgs;
use crate::cli::{FilterArgs, ServeArgs};
use crate::filter::Filter;
use crate::redact::Redaction;
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

/// What is wrong is said of the configuration file too, where there is one: the user may not know it by heart.
pub(super) fn validate(args: ServeArgs) -> Result<Serve, ConfigError> {
    let file = args.config.clone();
    checked(args).map_err(|error| match file {
        Some(path) => ConfigError::InFile { path, source: Box::new(error) },
        None => error,
    })
}

fn checked(args: ServeArgs) -> Result<Serve, ConfigError> {
    if !args.listen.ip().to_canonical().is_loopback() && !args.insecure {
        return Err(ConfigError::Exposed { address: args.listen });
    }
    if args.speed.is_some() && args.read.is_none() {
        return Err(ConfigError::NothingToPace);
    }
    let redaction = redaction(&args)?;
    #[cfg(feature = "otlp")]
    let otlp = otlp(args.otlp)?;
    let filter = filter(&FilterArgs { kernel: args.filter, ..FilterArgs::default() })?;
    let replay = args.read.is_some();
    Ok(Serve {
        origin: origin(args.read, &args.live, &filter)?.at_speed(args.speed),
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
            redaction,
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

/// A network that is a part of what is left of an address would hold none, or others too.
fn redaction(args: &ServeArgs) -> Result<Redaction, ConfigError> {
    let redaction = if args.redact_addresses { Redaction::Networks } else { Redaction::Off };
    match args.peer_network.iter().find(|peer| !redaction.keeps(&peer.net)) {
        Some(peer) => Err(ConfigError::NetworkTooSmall { net: peer.net }),
        None => Ok(redaction),
    }
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
