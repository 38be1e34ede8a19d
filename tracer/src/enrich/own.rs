//! What finwait itself uses, from /proc/self (proc(5)).

use std::fs;
use std::os::unix::fs::MetadataExt;

use finwait_core::NetNs;

use crate::stats::{PortRange, ProcessFacts};

/// Fields of /proc/self/stat after the name, from `state` as 0.
const UTIME: usize = 11;
const STIME: usize = 12;
const STARTTIME: usize = 19;

/// What is known now; what cannot be read is absent.
#[must_use]
pub fn process_facts() -> ProcessFacts {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let system = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let field = |place| stat_field(&stat, place).map(|value| value as f64 / ticks);
    ProcessFacts {
        cpu_seconds: field(UTIME).zip(field(STIME)).map(|(user, system)| user + system),
        resident_bytes: resident_pages(&statm).map(|pages| pages * rustix::param::page_size() as u64),
        open_fds: fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count() as u64),
        port_range: port_range(),
        closes_skipped: None,
        programs: Vec::new(),
        pushes: None,
        start_seconds: boot_time(&system).zip(field(STARTTIME)).map(|(boot, start)| boot as f64 + start),
    }
}

/// An inode number is its name.
fn own_netns() -> Option<NetNs> {
    let inode = fs::metadata("/proc/self/ns/net").ok()?.ino();
    u32::try_from(inode).ok().map(NetNs)
}

/// Of the namespace that finwait runs in.
fn port_range() -> Option<PortRange> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let reserved = fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    Some(PortRange { netns: own_netns()?, ports: ports_in(&range, &reserved)? })
}

/// `range` is two numbers, `reserved` a list of numbers and of pairs joined by a hyphen (ip-sysctl.rst).
fn ports_in(range: &str, reserved: &str) -> Option<u32> {
    let (first, last) = ends_of(range)?;
    let pairs = reserved.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.parse::<u16>().ok()?.max(first), to.parse::<u16>().ok()?.min(last)))
    });
    let all = u32::from(last).checked_sub(u32::from(first))? + 1;
    let reserved: u32 =
        pairs.filter(|(from, to)| from <= to).map(|(from, to)| u32::from(to - from) + 1).sum();
    Some(all.saturating_sub(reserved))
}

/// Two numbers.
fn ends_of(range: &str) -> Option<(u16, u16)> {
    let mut ends = range.split_ascii_whitespace().map(|end| end.parse::<u16>().ok());
    Some((ends.next()??, ends.next()??))
}

/// The name may hold blanks and brackets: fields are counted from the last bracket on.
fn stat_field(stat: &str, place: usize) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(place)?.parse().ok()
}

fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Seconds since 1970.
fn boot_time(system: &str) -> Option<u64> {
    system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_name_with_brackets_shifts_nothing() {
        let stat = "12 (a) b) R 1 12 12 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 4711 1000 200";
        assert_eq!(stat_field(stat, UTIME), Some(7));
        assert_eq!(stat_field(stat, STIME), Some(5));
        assert_eq!(stat_field(stat, STARTTIME), Some(4711));
        assert_eq!(stat_field("", UTIME), None);
        assert_eq!(resident_pages("1000 200 30 1 0 1 0"), Some(200));
        assert_eq!(boot_time("cpu 1\nbtime 1790000000\n"), Some(1_790_000_000));
    }

    #[test]
    fn ports_are_those_of_the_range_that_are_not_reserved() {
        assert_eq!(ports_in("32768\t60999\n", "\n"), Some(28_232));
        assert_eq!(ports_in("32768\t60999\n", "8080,32760-32770,60999\n"), Some(28_232 - 4));
        assert_eq!(ports_in("40000\t40000\n", "40000"), Some(0));
        assert_eq!((ports_in("", ""), ports_in("2 1", "")), (None, None));
    }

    #[test]
    fn this_process_began_a_while_ago_and_uses_memory() {
        let facts = process_facts();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - facts.start_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert!(facts.resident_bytes.unwrap() > 1 << 20 && facts.open_fds.unwrap() > 2);
        assert!(facts.cpu_seconds.unwrap() >= 0.0);
    }
}
