//! What the host says of itself: boot, clocks, namespaces, kernel version.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use finwait_core::{BootId, ClockPair, MonoNs, NetNs, WallNs};
use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Readings of which the tightest is taken.
const CLOCK_TRIES: usize = 8;

/// The boot that cookies and monotonic times belong to.
///
/// # Errors
/// /proc is not mounted, or holds no boot id.
pub fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string(BOOT_ID)?;
    BootId::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no boot id"))
}

/// CLOCK_MONOTONIC.
#[must_use]
pub fn monotonic_now() -> MonoNs {
    MonoNs(nanoseconds(clock_gettime(ClockId::Monotonic)))
}

/// Both clocks. The wall clock is read between two readings of the monotonic one; of several tries the tightest counts.
#[must_use]
pub fn clock_pair() -> ClockPair {
    let mut best = (u64::MAX, ClockPair { mono: MonoNs(0), wall: WallNs(0) });
    for _ in 0..CLOCK_TRIES {
        let before = monotonic_now();
        let wall = WallNs(nanoseconds(clock_gettime(ClockId::Realtime)));
        let gap = monotonic_now().0.saturating_sub(before.0);
        if gap < best.0 {
            best = (gap, ClockPair { mono: before.plus(gap / 2), wall });
        }
    }
    best.1
}

/// The network namespace behind a file such as `/proc/self/ns/net` or `/run/netns/name`.
///
/// # Errors
/// The file cannot be looked at.
pub fn netns_of(path: &Path) -> io::Result<NetNs> {
    let inode = fs::metadata(path)?.ino();
    u32::try_from(inode)
        .map(NetNs)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not a network namespace"))
}

/// Length of a jiffy in nanoseconds: the resolution of CLOCK_MONOTONIC_COARSE (1 s / CONFIG_HZ).
#[must_use]
pub fn jiffy_ns() -> u64 {
    nanoseconds(clock_getres(ClockId::MonotonicCoarse))
}

/// uname -r
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Version of a kernel, as in `uname -r`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion(pub u32, pub u32);

impl KernelVersion {
    /// The numbers that `release` begins with.
    #[must_use]
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some(Self(numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

fn nanoseconds(time: Timespec) -> u64 {
    // Neither clock is before 1970, and 64 bits last until 2554.
    time.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
}

/// Whether some receive queue of some interface of this network namespace steers packets to other CPUs (RPS);
/// `None` where that cannot be read.
#[must_use]
pub fn rps() -> Option<bool> {
    for interface in fs::read_dir("/sys/class/net").ok()? {
        let Ok(queues) = fs::read_dir(interface.ok()?.path().join("queues")) else { continue };
        for queue in queues.flatten() {
            if let Ok(mask) = fs::read_to_string(queue.path().join("rps_cpus"))
                && mask.chars().any(|digit| digit.is_ascii_hexdigit() && digit != '0')
            {
                return Some(true);
            }
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_understood() {
        assert_eq!(KernelVersion::parse("5.10.0-33-cloud-amd64"), Some(KernelVersion(5, 10)));
        assert_eq!(KernelVersion::parse("6.18-rc1"), Some(KernelVersion(6, 18)));
        assert_eq!(KernelVersion::parse("7.2+deb14"), Some(KernelVersion(7, 2)));
        assert_eq!(KernelVersion::parse("linux"), None);
        assert!(KernelVersion(5, 8) < KernelVersion(5, 10) && KernelVersion(5, 10) < KernelVersion(6, 1));
    }

    #[test]
    fn the_clock_pair_lies_between_two_readings() {
        let before = monotonic_now();
        let pair = clock_pair();
        assert!(before <= pair.mono && pair.mono <= monotonic_now());
        assert!(pair.wall.0 > 1_600_000_000_000_000_000);
    }

    #[test]
    fn a_jiffy_is_between_one_and_ten_milliseconds() {
        assert!((1_000_000..=10_000_000).contains(&jiffy_ns()));
    }

    #[test]
    fn the_own_namespace_has_a_number() {
        assert!(netns_of(Path::new("/proc/self/ns/net")).unwrap().0 > 0);
        assert!(netns_of(Path::new("/nowhere")).is_err());
    }
}
