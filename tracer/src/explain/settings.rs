//! The kernel's settings that a close depends on, as the stream of observations has them: they were read where and when that was
//! recorded, never where it is read.

use finwait_core::NetNs;
use finwait_core::observation::Sysctls;
use finwait_core::record::CloseRecord;

use super::Ground;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// How long an orphan waits for the peer's FIN
    FinTimeout,
    /// Whether connect() may take the place of a connection in TIME_WAIT
    TwReuse,
    /// How often an orphan's segments are sent again
    OrphanRetries,
    /// Orphans on the host at most
    MaxOrphans,
    /// Time-wait sockets at most
    MaxTwBuckets,
    /// Ports that connect() chooses among
    PortRange,
}

impl Setting {
    /// As sysctl(8) spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FinTimeout => "net.ipv4.tcp_fin_timeout",
            Self::TwReuse => "net.ipv4.tcp_tw_reuse",
            Self::OrphanRetries => "net.ipv4.tcp_orphan_retries",
            Self::MaxOrphans => "net.ipv4.tcp_max_orphans",
            Self::MaxTwBuckets => "net.ipv4.tcp_max_tw_buckets",
            Self::PortRange => "net.ipv4.ip_local_port_range",
        }
    }
}

/// First and last port, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// First
    pub first: u16,
    /// Last
    pub last: u16,
}

impl Ports {
    /// How many.
    #[must_use]
    pub fn count(self) -> u32 {
        u32::from(self.last).saturating_sub(u32::from(self.first)) + 1
    }
}

/// The settings of one network namespace. What could not be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose they are
    pub netns: Option<NetNs>,
    /// tcp_fin_timeout, in seconds
    pub fin_timeout_seconds: Option<u32>,
    /// tcp_tw_reuse: 0 no, 1 yes, 2 on loopback alone
    pub tw_reuse: Option<u32>,
    /// tcp_orphan_retries: 0 stands for 8
    pub orphan_retries: Option<u32>,
    /// tcp_max_orphans, the same in every namespace
    pub max_orphans: Option<u64>,
    /// tcp_max_tw_buckets
    pub max_tw_buckets: Option<u64>,
    /// ip_local_port_range
    pub ports: Option<Ports>,
}

impl Settings {
    /// Those that a stream begins with; `None` where it has none, as a capture and an older recording.
    #[must_use]
    pub fn of(recorded: &Sysctls) -> Option<Self> {
        let ports = recorded.ip_local_port_range.map(|range| Ports { first: range.first, last: range.last });
        let settings = Self {
            netns: recorded.netns,
            fin_timeout_seconds: recorded.tcp_fin_timeout,
            tw_reuse: recorded.tcp_tw_reuse,
            orphan_retries: recorded.tcp_orphan_retries,
            max_orphans: recorded.tcp_max_orphans.map(u64::from),
            max_tw_buckets: recorded.tcp_max_tw_buckets.map(u64::from),
            ports: ports.filter(|ports| ports.first <= ports.last),
        };
        (!recorded.is_empty()).then_some(settings)
    }

    fn text(&self, setting: Setting) -> Option<String> {
        match setting {
            Setting::FinTimeout => self.fin_timeout_seconds.map(|value| value.to_string()),
            Setting::TwReuse => self.tw_reuse.map(|value| value.to_string()),
            Setting::OrphanRetries => self.orphan_retries.map(|value| value.to_string()),
            Setting::MaxOrphans => self.max_orphans.map(|value| value.to_string()),
            Setting::MaxTwBuckets => self.max_tw_buckets.map(|value| value.to_string()),
            Setting::PortRange => self.ports.map(|ports| format!("{} {}", ports.first, ports.last)),
        }
    }
}

/// The settings that hold for one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct InForce<'a> {
    settings: Option<&'a Settings>,
    /// Why those of its namespace are not known
    why_not: &'static str,
    /// Those of the whole host are known all the same
    host: Option<&'a Settings>,
}

impl<'a> InForce<'a> {
    /// Of `close`, whose namespace has to be the one that they were read in.
    pub(super) fn of(settings: Option<&'a Settings>, close: &CloseRecord) -> Self {
        let (own, why_not) = match (settings, close.netns) {
            (None, _) => (None, "the settings in force were not recorded"),
            (Some(_), None) => (None, "the connection's network namespace is not known"),
            (Some(known), netns) if known.netns == netns => (Some(known), "it could not be read"),
            (Some(_), Some(_)) => (None, "the connection belongs to another network namespace"),
        };
        Self { settings: own, why_not, host: settings }
    }

    /// Its value and the ground for it; `Err` with the ground that says why it is not known.
    pub(super) fn get<T>(
        &self,
        setting: Setting,
        value: impl Fn(&Settings) -> Option<T>,
    ) -> Result<(T, Ground), Ground> {
        let of = if setting == Setting::MaxOrphans { self.host } else { self.settings };
        let known = of.and_then(|settings| Some((value(settings)?, settings.text(setting)?)));
        match known {
            Some((value, text)) => Ok((value, Ground::setting(setting.name(), Ok(text)))),
            None => Err(Ground::setting(setting.name(), Err(self.why_not))),
        }
    }
}
