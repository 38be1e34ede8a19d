//! Flags of `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
#[cfg(feature = "otlp")]
use std::time::Duration;

use clap::Args;

use super::{KernelFilterArgs, LiveArgs, live, value};
#[cfg(feature = "otlp")]
use crate::serve::otlp::{Endpoint, Header};
use crate::stats::{Dimension, PeerNetwork};

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Take what the flags do not say from this file, as TOML; its keys are the flags
    #[arg(long, value_name = "FILE", help_heading = "Configuration")]
    pub config: Option<PathBuf>,
    /// Write what would be in force to stdout, as such a file, and end; 2 where it makes no sense. Needs no privileges
    #[arg(long, help_heading = "Configuration")]
    pub check_config: bool,
    /// That file; [`super::parse`] fills it in
    #[arg(skip)]
    pub in_force: String,
    /// Serve a recording or a packet capture instead of the kernel; `-` is stdin. Stays up when it is read
    #[arg(short, long, value_name = "FILE", help_heading = "Source")]
    #[arg(conflicts_with_all = live::NAMES)]
    pub read: Option<PathBuf>,
    /// With -r: so many times as fast as it happened, such as 1 or 0.5; 0 is as fast as it can be read
    #[arg(long, value_name = "FACTOR", value_parser = value::speed, help_heading = "Source")]
    pub speed: Option<f64>,
    /// Where live observations come from
    #[command(flatten)]
    pub live: LiveArgs,
    /// Connections followed at once; beyond that the longest untouched is dropped, and counted as evicted
    #[arg(long, value_name = "N", default_value_t = 262_144, help_heading = "Source")]
    #[arg(value_parser = value::connections)]
    pub max_connections: usize,
    /// Which connections
    #[command(flatten)]
    pub filter: KernelFilterArgs,
    /// Address and port to listen at
    #[arg(long = "web.listen-address", value_name = "ADDRESS", default_value = "127.0.0.1:9477")]
    #[arg(help_heading = "Web")]
    pub listen: SocketAddr,
    /// Listen also where other hosts reach it: there is no encryption and no password
    #[arg(long = "web.insecure", help_heading = "Web")]
    pub insecure: bool,
    /// Names, beside localhost and addresses, under which finwait is asked; may be given more than once
    #[arg(long = "web.allowed-host", value_name = "NAME", help_heading = "Web")]
    pub allowed_host: Vec<String>,
    /// Tell of peers only their network: /24 for IPv4, /48 for IPv6; and no ephemeral ports of theirs
    #[arg(long, help_heading = "Web")]
    pub redact_addresses: bool,
    /// Requests answered at the same time
    #[arg(long = "web.max-requests", value_name = "N", default_value_t = 40, help_heading = "Web")]
    #[arg(value_parser = value::connections)]
    pub max_requests: usize,
    /// Closes kept for the page and the API
    #[arg(long, value_name = "N", default_value_t = 4096, help_heading = "Web")]
    #[arg(value_parser = value::connections)]
    pub recent_closes: usize,
    /// What connections are grouped by
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "role,service")]
    #[arg(help_heading = "Groups")]
    pub group_by: Vec<Dimension>,
    /// Groups at most; what does not fit goes to the group `other`, and is counted
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Groups")]
    #[arg(value_parser = value::connections)]
    pub max_groups: usize,
    /// A name for a network of peers, for --group-by peer; the longest prefix counts. May be given more than once
    #[arg(long, value_name = "NAME=NETWORK", value_parser = peer_network, help_heading = "Groups")]
    pub peer_network: Vec<PeerNetwork>,
    /// Push to a collector
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    pub otlp: OtlpArgs,
}

/// Flags of the push to an OpenTelemetry collector.
#[cfg(feature = "otlp")]
#[derive(Debug, Args)]
#[command(next_help_heading = "OpenTelemetry")]
pub struct OtlpArgs {
    /// Also send the metrics to this collector, by OTLP over plain http, such as http://127.0.0.1:4318
    #[arg(long = "otlp.endpoint", value_name = "URL")]
    pub endpoint: Option<Endpoint>,
    /// How often
    #[arg(long = "otlp.interval", value_name = "TIME", default_value = "15s", value_parser = value::interval)]
    pub interval: Duration,
    /// How long one try may take
    #[arg(long = "otlp.timeout", value_name = "TIME", default_value = "10s", value_parser = value::duration)]
    pub timeout: Duration,
    /// A header for the collector; may be given more than once. For a secret use OTEL_EXPORTER_OTLP_HEADERS: other users see arguments
    #[arg(long = "otlp.header", value_name = "NAME=VALUE")]
    pub header: Vec<Header>,
}

fn peer_network(text: &str) -> Result<PeerNetwork, String> {
    let (name, net) = text.split_once('=').ok_or("write NAME=NETWORK, such as office=10.1.0.0/16")?;
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err("the network needs a name".to_owned());
    }
    Ok(PeerNetwork { name: name.to_owned(), net: value::network(net)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_peers_has_a_name_and_addresses() {
        let office = peer_network("office=10.1.0.0/16").unwrap();
        assert_eq!((office.name.as_str(), office.net.to_string()), ("office", "10.1.0.0/16".to_owned()));
        for wrong in ["office", "=10.0.0.0/8", "office=ten", "a\nb=10.0.0.0/8"] {
            assert!(peer_network(wrong).is_err(), "{wrong}");
        }
    }
}
