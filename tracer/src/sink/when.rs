//! Moments for people and for machines.

use std::time::{Duration, UNIX_EPOCH};

use finwait_core::{MonoNs, WallNs};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Context;

/// RFC 3339 in UTC, with microseconds.
pub(crate) fn utc(wall: WallNs) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_nanos(wall.0)).to_string()
}

/// The same, of an event; `None` where no pair of clocks is known.
pub(crate) fn utc_of(context: &Context, at: MonoNs) -> Option<String> {
    context.clock.and_then(|clock| clock.wall_of(at)).map(utc)
}

/// Time of day as the host's zone has it, such as `21:04:11`.
pub(super) fn time_of_day(zone: &TimeZone, wall: WallNs) -> Option<String> {
    let stamp = Timestamp::from_nanosecond(i128::from(wall.0)).ok()?;
    let time = zone.to_datetime(stamp).time();
    Some(format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second()))
}

/// Seconds from `since` to `at`, such as `12.345678`; negative for what came before.
pub(super) fn seconds_since(since: MonoNs, at: MonoNs) -> String {
    let (sign, ns) = match at.since(since) {
        Some(ns) => ("", ns),
        None => ("-", since.0 - at.0),
    };
    format!("{sign}{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_times_are_utc_for_machines_and_local_for_people() {
        let wall = WallNs(1_790_197_451_123_456_789);
        assert_eq!(utc(wall), "2026-09-23T21:04:11.123456Z");
        assert_eq!(time_of_day(&TimeZone::UTC, wall).unwrap(), "21:04:11");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(time_of_day(&zone, wall).unwrap(), "23:04:11");
    }

    #[test]
    fn the_last_moment_that_can_be_written_is_a_time_too() {
        assert!(utc(WallNs(u64::MAX)).starts_with("2554-"));
        assert!(time_of_day(&TimeZone::UTC, WallNs(u64::MAX)).is_some());
    }

    #[test]
    fn seconds_since_the_start_may_be_negative() {
        assert_eq!(seconds_since(MonoNs(1_000_000_000), MonoNs(13_345_678_901)), "12.345678");
        assert_eq!(seconds_since(MonoNs(1_000_000_000), MonoNs(500_000_000)), "-0.500000");
    }
}
