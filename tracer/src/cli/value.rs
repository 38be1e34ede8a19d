//! Parsers of single values. Each error completes clap's "invalid value '…' for '…': …".

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use finwait_core::record::CloseKind;
use finwait_core::{Pid, Port};
use ipnet::{IpNet, Ipv4Net};

use crate::filter::UnitPattern;

/// Smallest ring: a page of x86_64. It holds fifteen records, enough to see what a loss looks like.
pub const MIN_RING_BYTES: u32 = 4 << 10;
/// Largest ring.
pub const MAX_RING_BYTES: u32 = 1 << 30;
/// PID_MAX_LIMIT on 64-bit kernels: no process has this number or one beyond.
const PID_LIMIT: u32 = 1 << 22;
/// TASK_COMM_LEN without its NUL.
const COMM_BYTES: usize = 15;
/// Looking at all sockets more often costs too much.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// Hexadecimal digits of a container's id.
const CONTAINER_ID: usize = 64;
/// Smallest file of a recording: a few frames.
const MIN_FILE_BYTES: u64 = 1 << 20;
/// Shortest time for one, likewise.
const MIN_FILE_AGE: Duration = Duration::from_secs(1);
/// Digits of the boot id in a conn_id.
const BOOT_DIGITS: usize = 12;
const MAX_WAKE_PAUSE: Duration = Duration::from_secs(1);

/// finwait's own network namespace.
const OWN_NETNS: &str = "/proc/self/ns/net";

/// A namespace or cgroup as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// By inode number
    Inode(u64),
    /// By path
    Path(PathBuf),
}

pub(super) fn port(text: &str) -> Result<Port, String> {
    let raw: u16 = text.parse().map_err(|_| "a port is a number from 1 to 65535".to_owned())?;
    Port::new(raw).ok_or_else(|| "no connection has port 0".to_owned())
}

pub(super) fn pid(text: &str) -> Result<Pid, String> {
    match text.parse() {
        Ok(0) => Err("process 0 is the idle task, which owns no socket".to_owned()),
        Ok(raw) if raw < PID_LIMIT => Ok(Pid(raw)),
        _ => Err(format!("a process id is a number from 1 to {}", PID_LIMIT - 1)),
    }
}

/// Three hexadecimal numbers: the boot's first 12 digits, the socket, the generation.
pub(super) fn conn_id(text: &str) -> Result<String, String> {
    let hexadecimal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<&str> = text.split('-').collect();
    match parts[..] {
        [boot, socket, generation]
            if boot.len() == BOOT_DIGITS
                && [boot, socket.strip_prefix('s').unwrap_or(socket), generation]
                    .into_iter()
                    .all(hexadecimal) =>
        {
            Ok(text.to_ascii_lowercase())
        }
        _ => Err("expected a conn_id as records have it, such as 4f1c09ab2f3a-2a-3b9aca00".to_owned()),
    }
}

pub(super) fn comm(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("a process name is not empty".to_owned()),
        len if len > COMM_BYTES => {
            Err(format!("the kernel keeps {COMM_BYTES} bytes of a name, this has {len}"))
        }
        _ => Ok(text.to_owned()),
    }
}

pub(super) fn container(text: &str) -> Result<String, String> {
    let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
    if digits && (1..=CONTAINER_ID).contains(&text.len()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(format!("a container's id is {CONTAINER_ID} hexadecimal digits, of which the first suffice"))
    }
}

pub(super) fn unit(text: &str) -> Result<UnitPattern, String> {
    if text.is_empty() { Err("a unit's name is not empty".to_owned()) } else { Ok(UnitPattern::new(text)) }
}

/// By the words of `kind` in the JSON records.
pub(super) fn kind() -> impl TypedValueParser<Value = CloseKind> {
    let named = |text: String| CloseKind::ALL.iter().copied().find(|kind| kind.name() == text);
    PossibleValuesParser::new(CloseKind::ALL.iter().map(|kind| kind.name()))
        .try_map(move |text| named(text).ok_or("no such kind"))
}

/// An address is the network of that address alone; IPv4-mapped IPv6 becomes the IPv4 that it is.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let refused = || "expected an address or a network, such as 10.0.0.0/8 or [::1]".to_owned();
    let bare = text.strip_prefix('[').map_or(Some(text.to_owned()), |rest| {
        rest.split_once(']').map(|(address, suffix)| format!("{address}{suffix}"))
    });
    let bare = bare.ok_or_else(refused)?;
    let net = match bare.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(bare.parse::<IpAddr>().map_err(|_| refused())?),
    };
    Ok(unmapped(net).trunc())
}

fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(v4, prefix)| Ipv4Net::new(v4, prefix).ok()).map_or(net, IpNet::V4)
}

pub(super) fn namespace(text: &str) -> Result<Place, String> {
    place(if text == "self" { OWN_NETNS } else { text })
}

pub(super) fn place(text: &str) -> Result<Place, String> {
    if text.is_empty() {
        return Err("expected an inode number or a path".to_owned());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(0) | Err(_) => Err("this is no inode number".to_owned()),
            Ok(inode) => Ok(Place::Inode(inode)),
        };
    }
    Ok(Place::Path(PathBuf::from(text)))
}

pub(super) fn connections(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| (1..=1 << 26).contains(n)).ok_or_else(|| "expected 1 to 67108864".to_owned())
}

pub(super) fn ring_bytes(text: &str) -> Result<u32, String> {
    size(text)
        .and_then(|bytes| u32::try_from(bytes).ok())
        .filter(|bytes| bytes.is_power_of_two() && (MIN_RING_BYTES..=MAX_RING_BYTES).contains(bytes))
        .ok_or_else(|| "expected a power of two from 4K to 1G, such as 8M or 64MiB".to_owned())
}

pub(super) fn file_size(text: &str) -> Result<u64, String> {
    size(text)
        .filter(|bytes| *bytes >= MIN_FILE_BYTES)
        .ok_or_else(|| "expected a size of at least 1M, such as 64M or 2GiB".to_owned())
}

pub(super) fn file_age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|age| *age >= MIN_FILE_AGE)
        .ok_or_else(|| "expected a time of at least 1s, such as 1h".to_owned())
}

fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

pub(super) fn speed(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|speed: &f64| speed.is_finite() && *speed >= 0.0)
        .ok_or_else(|| "the speed is a factor such as 1, 0.5 or 20".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text)
        .map_err(|_| "expected a time with its unit, such as 10s or 1h30m".to_owned())?;
    if parsed.is_zero() { Err("nothing happens in no time".to_owned()) } else { Ok(parsed) }
}

pub(super) fn age(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "expected a time with its unit, such as 30s or 1h30m".to_owned())
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|interval| *interval >= MIN_INTERVAL)
        .ok_or_else(|| "expected a time of at least 1s, such as 5s".to_owned())
}

pub(super) fn wake_pause(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|pause| *pause <= MAX_WAKE_PAUSE)
        .ok_or_else(|| "expected a time of at most 1s, such as 5ms".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_but_not_zero() {
        assert_eq!(port("443"), Ok(Port(443)));
        assert_eq!(port("65535"), Ok(Port(65535)));
        for text in ["0", "65536", "-1", "http", "", "8 0"] {
            assert!(port(text).is_err(), "{text}");
        }
        assert_eq!(port("0"), Err("no connection has port 0".to_owned()));
    }

    #[test]
    fn processes_have_numbers_below_the_kernels_limit() {
        assert_eq!(pid("1"), Ok(Pid(1)));
        assert_eq!(pid("4194303"), Ok(Pid(4_194_303)));
        for text in ["0", "4194304", "-5", "nginx", ""] {
            assert!(pid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_connection_is_named_as_its_records_name_it() {
        for text in ["4f1c09ab2f3a-2a-3b9aca00", "4f1c09ab2f3a-sffff8880-1000"] {
            assert_eq!(conn_id(text).as_deref(), Ok(text));
        }
        assert_eq!(conn_id("4F1C09AB2F3A-2A-1").as_deref(), Ok("4f1c09ab2f3a-2a-1"));
        for text in
            ["", "4f1c09ab2f3a", "4f1c09ab2f3a-2a-", "4f1c-2a-1", "4f1c09ab2f3a-2a-1-1", "4f1c09ab2f3a-x-1"]
        {
            assert!(conn_id(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_that_the_kernel_would_have_cut_are_refused() {
        assert!(comm("fifteen-bytes-x").is_ok());
        assert!(comm("sixteen-bytes-xy").is_err());
        assert!(comm("").is_err());
    }

    #[test]
    fn containers_are_named_by_the_beginning_of_their_id() {
        assert_eq!(container("0A1b"), Ok("0a1b".to_owned()));
        assert!(container(&"f".repeat(64)).is_ok());
        for text in ["", "nginx", "0x1f", &"f".repeat(65)] {
            assert!(container(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_read_in_every_spelling() {
        for (text, net) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("[::1]", "::1/128"),
            ("[2001:db8::]/32", "2001:db8::/32"),
            ("::ffff:10.0.0.1", "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("[::ffff:10.0.0.1]", "10.0.0.1/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), net, "{text}");
        }
        for text in ["10.0.0.0/33", "10.0.0", "[::1", "fe80::1%eth0", "example.org", "", "::1/129"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ring_sizes_are_powers_of_two_within_bounds() {
        for (text, bytes) in
            [("8M", 8 << 20), ("8MiB", 8 << 20), ("4096", 4 << 10), ("64k", 64 << 10), ("1g", 1 << 30)]
        {
            assert_eq!(ring_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["0", "2K", "3M", "2G", "8MB", "M", "", "8.5M", "99999999999999999999G"] {
            assert!(ring_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn files_of_a_recording_have_room_for_some_frames() {
        assert_eq!((file_size("1M"), file_size("2GiB")), (Ok(1 << 20), Ok(2 << 30)));
        assert_eq!(file_age("90m"), Ok(Duration::from_secs(5400)));
        for text in ["1023K", "0", "64", "M", ""] {
            assert!(file_size(text).is_err(), "{text}");
        }
        assert!(file_age("999ms").is_err() && file_age("1").is_err());
    }

    #[test]
    fn durations_need_a_unit_and_are_not_zero() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        for text in ["10", "0s", "", "soon", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(wake_pause("0s"), Ok(Duration::ZERO));
        assert_eq!((age("0s"), interval("1s")), (Ok(Duration::ZERO), Ok(Duration::from_secs(1))));
        assert!(age("30").is_err() && interval("999ms").is_err());
        assert!(wake_pause("2s").is_err());
    }

    #[test]
    fn namespaces_are_named_by_number_path_or_self() {
        assert_eq!(namespace("self"), Ok(Place::Path(PathBuf::from(OWN_NETNS))));
        assert_eq!(namespace("4026531840"), Ok(Place::Inode(4_026_531_840)));
        assert_eq!(namespace("/proc/1/ns/net"), Ok(Place::Path(PathBuf::from("/proc/1/ns/net"))));
        assert!(namespace("0").is_err());
        assert!(namespace("").is_err());
        assert_eq!(place("self"), Ok(Place::Path(PathBuf::from("self"))));
    }
}
