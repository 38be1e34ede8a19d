//! Identities: sockets, connections, processes, namespaces. Newtypes, so that none is taken for another.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! newtype {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

newtype! {
    /// sk_cookie: unique for a socket on one boot; kept when a descriptor connects again.
    Cookie(u64);
    /// Address of struct sock: reused within microseconds of the socket's end.
    SockAddr(u64);
    /// A TCP port, host order, never 0.
    Port(u16);
    /// Inode number of a network namespace.
    NetNs(u32);
    /// Inode number of a cgroup2 directory.
    CgroupId(u64);
    /// A process or thread number in the initial PID namespace.
    Pid(u32);
}

impl Port {
    /// The port `raw`, unless it is 0: then there is none.
    #[must_use]
    pub fn new(raw: u16) -> Option<Port> {
        (raw != 0).then_some(Port(raw))
    }
}

/// The boot that cookies and monotonic times belong to (`/proc/sys/kernel/random/boot_id` as a number).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u128);

impl BootId {
    /// Parses the kernel's text: 32 hexadecimal digits, dashes anywhere.
    #[must_use]
    pub fn parse(text: &str) -> Option<BootId> {
        let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
        (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok().map(BootId)).flatten()
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let d = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &d[..8], &d[8..12], &d[12..16], &d[16..20], &d[20..])
    }
}

impl Serialize for BootId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BootId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        BootId::parse(&text).ok_or_else(|| serde::de::Error::custom("a boot id has 32 hexadecimal digits"))
    }
}

/// By what a socket is known: its cookie, or its address where a kernel or tier gives no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketKey {
    /// By cookie
    Cookie(Cookie),
    /// By address; only good together with the generation
    Address(SockAddr),
}

/// One connection of one socket on one boot. The text form is the `conn_id` of every record:
/// 12 digits of the boot id, the cookie (or `s` and the socket's address), and the generation, all hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    /// The boot
    pub boot: BootId,
    /// The socket
    pub socket: SocketKey,
    /// Which of the socket's connections: the CLOCK_MONOTONIC nanosecond of the first event seen of it.
    /// A descriptor that connects again keeps its cookie; a count would start over when the tracer forgets.
    pub generation: u64,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-", self.boot.0 >> 80)?;
        match self.socket {
            SocketKey::Cookie(cookie) => write!(f, "{:x}-", cookie.0)?,
            SocketKey::Address(address) => write!(f, "s{:x}-", address.0)?,
        }
        write!(f, "{:x}", self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_reads_back_as_it_was_written() {
        let text = "4f1c09ab-2f3a-4b5c-8d6e-7f8091a2b3c4";
        let boot = BootId::parse(text).unwrap();
        assert_eq!(boot.to_string(), text);
        assert_eq!(BootId::parse("4f1c"), None);
        assert_eq!(BootId::parse("zz1c09ab-2f3a-4b5c-8d6e-7f8091a2b3c4"), None);
    }

    #[test]
    fn a_conn_id_names_boot_socket_and_generation() {
        let boot = BootId::parse("4f1c09ab-2f3a-4b5c-8d6e-7f8091a2b3c4").unwrap();
        let id = ConnId { boot, socket: SocketKey::Cookie(Cookie(0x2a)), generation: 0x1000 };
        assert_eq!(id.to_string(), "4f1c09ab2f3a-2a-1000");
        let id = ConnId { socket: SocketKey::Address(SockAddr(0xffff_8880)), ..id };
        assert_eq!(id.to_string(), "4f1c09ab2f3a-sffff8880-1000");
    }
}
