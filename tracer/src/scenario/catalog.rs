//! The scenarios by name.

use super::error::{Context, Result};

use super::made::Made;
use super::namespace::Namespace;
use super::stage::Stage;
use super::{closes, opens, resets};

/// One way for a connection to open and close.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Short and stable
    pub name: &'static str,
    run: fn(&Stage<'_>, &'static str) -> Result<Made>,
}

impl core::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Scenario").field(&self.name).finish()
    }
}

/// Runs one scenario after the other.
///
/// # Errors
/// The first that could not be made as intended.
pub fn run(scenarios: &[Scenario], namespace: &Namespace) -> Result<Made> {
    let mut made = Made::default();
    for scenario in scenarios {
        made.extend(scenario.run(namespace)?);
    }
    Ok(made)
}

impl Scenario {
    /// Makes the connections in `namespace`; returns when none of them can change its state any more.
    pub fn run(&self, namespace: &Namespace) -> Result<Made> {
        (self.run)(&Stage::new(namespace), self.name).context(&format!("scenario \"{}\"", self.name))
    }
}

macro_rules! scenarios {
    ($($(#[$doc:meta])* $const:ident = $name:literal, $run:path;)*) => {
        $($(#[$doc])* pub const $const: Scenario = Scenario { name: $name, run: $run };)*

        /// Every scenario.
        pub const ALL: &[Scenario] = &[$($const),*];
    };
}

scenarios! {
    /// The client closes; the server answers its FIN at once.
    CLIENT_CLOSES_FIRST = "client closes first", closes::client_first;
    /// The client closes; the server answers only after its kernel has acknowledged the FIN.
    SLOW_SERVER = "client closes first, server answers late", closes::slow_server;
    /// The server closes; the client answers its FIN at once.
    SERVER_CLOSES_FIRST = "server closes first", closes::server_first;
    /// The client shuts its direction down, reads what the server still sends, and closes after its end.
    HALF_CLOSE = "half-close", closes::half_close;
    /// The client shuts its direction down and closes before the server does.
    SHUTDOWN_THEN_CLOSE = "shutdown, then close before the peer", closes::shutdown_then_close;
    /// The client closes while data it wrote is still waiting for room at the server.
    UNSENT_DATA = "close with unsent data", closes::unsent_data;
    /// The server's FIN arrives while the client's waits behind unsent data.
    CROSSED = "crossed close", closes::crossed;
    /// A socket that is its own peer.
    SELF_CONNECT = "self-connect", closes::self_connect;
    /// The client closes with SO_LINGER 0.
    LINGER_ZERO = "reset by SO_LINGER 0", resets::linger_zero;
    /// The client closes without having read what it received.
    UNREAD_DATA = "reset by unread data", resets::unread_data;
    /// The listener closes before it has accepted.
    UNACCEPTED = "child never accepted", resets::unaccepted;
    /// Nobody listens where the client connects to.
    REFUSED = "refused connect", opens::refused;
    /// The client gives up before its SYN is answered.
    CANCELLED = "connect cancelled", opens::cancelled;
    /// One descriptor is refused, then connects.
    RECONNECT = "reconnect of one descriptor", opens::reconnect;
    /// IPv6; the client closes first.
    IPV6 = "IPv6", opens::ipv6;
    /// IPv4 between two IPv6 sockets; the client closes first.
    MAPPED = "IPv4-mapped IPv6", opens::mapped;
    /// An IPv4 client of an IPv6 listener; the client closes first.
    DUAL_STACK = "IPv4 client of an IPv6 listener", opens::dual_stack;
}

/// What `finwait demo` shows.
pub const DEMO: [Scenario; 7] =
    [CLIENT_CLOSES_FIRST, SERVER_CLOSES_FIRST, HALF_CLOSE, LINGER_ZERO, UNREAD_DATA, REFUSED, UNSENT_DATA];
