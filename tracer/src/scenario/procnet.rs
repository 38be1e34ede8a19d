//! A namespace's own view of its sockets, read from `/proc/self/task/TID/net/tcp` and `tcp6` of a thread inside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::error::{Context, Result};
use finwait_core::{Pid, TcpState};

/// One socket or mini-socket. The state of a mini-socket in FIN_WAIT2 or TIME_WAIT is that one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its own end
    pub local: SocketAddr,
    /// The other end
    pub remote: SocketAddr,
    /// As the kernel shows it
    pub state: TcpState,
    /// The timer that runs (get_tcp4_sock: 0 none, 1 retransmission, 2 keepalive, 4 zero-window probe; 3 is that of a
    /// mini-socket)
    pub timer: u8,
}

/// Every TCP socket in the namespace of `thread`, one of this process. IPv4-mapped addresses are given as IPv4.
///
/// # Errors
/// When the tables cannot be read.
pub fn rows(thread: Pid) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/self/task/{}/net/{table}", thread.0);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            // A kernel without IPv6 has no such file.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(&format!("reading {path}")),
        };
        rows.extend(text.lines().skip(1).filter_map(parse));
    }
    Ok(rows)
}

fn parse(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = endpoint(fields.next()?)?;
    let remote = endpoint(fields.next()?)?;
    let state = TcpState::from_raw(u8::from_str_radix(fields.next()?, 16).ok()?)?;
    let timer = fields.nth(1)?.split_once(':')?.0.parse().ok()?;
    Some(Row { local, remote, state, timer })
}

/// The address is printed as one 32-bit number in the machine's order for each four bytes.
fn endpoint(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for word in address.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_understood() {
        let line =
            "   1: 0302007F:1F90 0100007F:C350 06 00000000:00000000 03:00000E60 00000000     0        0 0 3";
        let row = parse(line).unwrap();
        assert_eq!(row.local, "127.0.2.3:8080".parse().unwrap());
        assert_eq!(row.remote, "127.0.0.1:50000".parse().unwrap());
        assert_eq!((row.state, row.timer), (TcpState::TimeWait, 3));
        let mapped = endpoint("0000000000000000FFFF00000100007F:0050").unwrap();
        assert_eq!(mapped, "127.0.0.1:80".parse().unwrap());
        assert_eq!(endpoint("00000000000000000000000001000000:0050").unwrap(), "[::1]:80".parse().unwrap());
        assert_eq!(parse("  sl  local_address rem_address   st"), None);
    }
}
