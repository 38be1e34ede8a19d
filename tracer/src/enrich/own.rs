//! What finwait itself uses, from /proc/self (proc(5)).

use std::fs;

use crate::stats::ProcessFacts;

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
        pushes: None,
        start_seconds: boot_time(&system).zip(field(STARTTIME)).map(|(boot, start)| boot as f64 + start),
    }
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
    fn this_process_began_a_while_ago_and_uses_memory() {
        let facts = process_facts();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let age = now - facts.start_seconds.unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
        assert!(facts.resident_bytes.unwrap() > 1 << 20 && facts.open_fds.unwrap() > 2);
        assert!(facts.cpu_seconds.unwrap() >= 0.0);
    }
}
