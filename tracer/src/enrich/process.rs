//! Inode of a socket → the processes that hold a descriptor of it, by one pass over /proc/<pid>/fd.
//!
//! A snapshot, and an incomplete one: processes come and go, others may not be looked at, and a descriptor on its way between
//! two processes is in no table. No holder found is therefore not the same as no holder.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

use finwait_core::Pid;
use finwait_core::observation::Comm;

const PROC: &str = "/proc";
/// Holders that are told of one socket.
const HOLDERS: usize = 8;
/// Descriptors that one pass looks at.
const DESCRIPTORS: usize = 4_000_000;

/// /proc cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{PROC}: {0}")]
pub struct HoldersError(#[from] io::Error);

/// A process that holds a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Its number, as /proc shows it
    pub pid: Pid,
    /// Its name
    pub comm: Comm,
    /// CLOCK_BOOTTIME nanosecond of its start, to a clock tick (10 ms); together with the number it is unique on one boot
    pub start_boot_ns: u64,
}

/// What a pass found.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    by_inode: HashMap<u64, Vec<Holder>>,
    /// Processes whose descriptors may not be looked at (PTRACE_MODE_READ: their user, or CAP_SYS_PTRACE)
    pub hidden: usize,
    /// Everything that may be looked at was; false when there were too many descriptors
    pub complete: bool,
}

impl Holders {
    /// Those found of `inode`, at most eight, by their numbers.
    #[must_use]
    pub fn of(&self, inode: u64) -> &[Holder] {
        self.by_inode.get(&inode).map_or(&[], Vec::as_slice)
    }
}

/// Looks for the holders of `inodes` in one pass; none if there is nothing to look for.
///
/// # Errors
/// /proc cannot be listed.
pub fn holders(inodes: &HashSet<u64>) -> Result<Holders, HoldersError> {
    let mut found = Holders { complete: true, ..Holders::default() };
    if inodes.is_empty() {
        return Ok(found);
    }
    let mut pids: Vec<u32> =
        fs::read_dir(PROC)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    let mut left = DESCRIPTORS;
    for pid in pids {
        match held_by(pid, inodes, &mut left) {
            Ok(held) if held.is_empty() => {}
            Ok(held) => found.add(pid, held),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.hidden += 1,
            // Gone.
            Err(_) => {}
        }
        if left == 0 {
            found.complete = false;
            break;
        }
    }
    Ok(found)
}

impl Holders {
    fn add(&mut self, pid: u32, held: HashSet<u64>) {
        let Some(holder) = fs::read(format!("{PROC}/{pid}/stat")).ok().and_then(|stat| holder(pid, &stat))
        else {
            return;
        };
        for inode in held {
            let holders = self.by_inode.entry(inode).or_default();
            if holders.len() < HOLDERS {
                holders.push(holder);
            }
        }
    }
}

/// Which of `inodes` the process holds; a socket that it holds twice counts once.
fn held_by(pid: u32, inodes: &HashSet<u64>, left: &mut usize) -> io::Result<HashSet<u64>> {
    let mut held = HashSet::new();
    for entry in fs::read_dir(format!("{PROC}/{pid}/fd"))? {
        let Some(rest) = left.checked_sub(1) else { break };
        *left = rest;
        let Ok(entry) = entry else { break };
        // A descriptor may be closed by now.
        if let Ok(link) = fs::read_link(entry.path())
            && let Some(inode) = socket_inode(&link)
            && inodes.contains(&inode)
        {
            held.insert(inode);
        }
    }
    Ok(held)
}

/// `socket:[4711]`
fn socket_inode(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// From /proc/<pid>/stat: `811 (nginx) S …`. The name may hold spaces and parentheses; its end is the last of them.
fn holder(pid: u32, stat: &[u8]) -> Option<Holder> {
    /// Field 22 is the start; what follows the name begins with field 3.
    const START: usize = 22 - 3;
    let open = stat.iter().position(|byte| *byte == b'(')?;
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let name = stat.get(open + 1..close)?;
    let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
    let ticks: u64 = rest.split_ascii_whitespace().nth(START)?.parse().ok()?;
    let mut comm = [0; 16];
    let length = name.len().min(comm.len());
    comm[..length].copy_from_slice(&name[..length]);
    Some(Holder { pid: Pid(pid), comm: Comm::from_kernel(comm), start_boot_ns: ticks_to_ns(ticks) })
}

/// USER_HZ is 100 in the x86_64 ABI, but the system is asked.
fn ticks_to_ns(ticks: u64) -> u64 {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    ticks.saturating_mul(1_000_000_000 / per_second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    #[test]
    fn a_name_may_hold_anything_but_its_start_is_still_found() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 12345 20 21";
        for name in ["nginx", "a) R (b", "", "( )"] {
            let holder = holder(811, format!("811 ({name}) {rest}\n").as_bytes()).unwrap();
            assert_eq!((holder.pid, holder.comm), (Pid(811), Comm::from_text(name)), "{name}");
            assert_eq!(holder.start_boot_ns, 123_450_000_000, "{name}");
        }
        for text in ["", "811 nginx S", "811 (nginx) S 1", "811 )nginx( S 1"] {
            assert_eq!(holder(811, text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn this_process_holds_its_own_socket_under_its_name() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = rustix::fs::fstat(listener.as_fd()).unwrap().st_ino;
        let copy = listener.try_clone().unwrap();
        let found = holders(&HashSet::from([inode, u64::MAX])).unwrap();
        let [holder] = found.of(inode) else { panic!("{found:?}") };
        assert_eq!(holder.pid, Pid(std::process::id()));
        let comm = fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(holder.comm.to_string(), comm.trim_end());
        assert_eq!(found.of(u64::MAX), []);
        drop((listener, copy));
        assert_eq!(holders(&HashSet::from([inode])).unwrap().of(inode), []);
    }

    #[test]
    fn a_start_lies_between_boot_and_now() {
        let pair = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(pair.local_addr().unwrap()).unwrap();
        let inode = rustix::fs::fstat(client.as_fd()).unwrap().st_ino;
        let start = holders(&HashSet::from([inode])).unwrap().of(inode)[0].start_boot_ns;
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        assert!((1..=now.tv_sec.cast_unsigned() * 1_000_000_000 + 1_000_000_000).contains(&start));
    }

    #[test]
    fn nothing_is_looked_for_where_there_is_nothing_to_find() {
        let found = holders(&HashSet::new()).unwrap();
        assert_eq!((found.hidden, found.complete), (0, true));
    }
}
