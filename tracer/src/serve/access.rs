//! Under which names finwait may be asked. A page of another site can make a name of its own point to this host (DNS
//! rebinding) and would then read what it likes: it can choose the name, so names have to be known.

use std::net::IpAddr;

/// See the module.
#[derive(Clone, Debug)]
pub struct Access {
    hosts: Vec<String>,
}

impl Access {
    /// `hosts` are allowed beside `localhost` and every numeric address.
    #[must_use]
    pub fn new(hosts: &[String]) -> Self {
        Self { hosts: hosts.iter().map(|host| host.to_ascii_lowercase()).collect() }
    }

    /// Whether a request with this Host header is answered; one without is no browser's.
    #[must_use]
    pub fn admits(&self, host: Option<&str>) -> bool {
        let Some(host) = host else { return true };
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let numeric = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        numeric || name == "localhost" || name.ends_with(".localhost") || self.hosts.contains(&name)
    }
}

/// `[::1]:80`, `host:80` or either without a port.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') && !host[..colon].ends_with(':') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_localhost_and_given_names_are_admitted_and_no_others() {
        let access = Access::new(&["Metrics.example".to_owned()]);
        for host in [
            "127.0.0.1:9477",
            "[::1]:9477",
            "::1",
            "localhost",
            "LOCALHOST:1",
            "metrics.example:80",
            "10.0.0.5",
        ] {
            assert!(access.admits(Some(host)), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:9477", "", "metrics.example.evil", ":80", "é"] {
            assert!(!access.admits(Some(host)), "{host}");
        }
        assert!(access.admits(None));
    }
}
