//! Numbers for people: durations, sizes, counts, shares.

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `40µs`, `0.4ms`, `31ms`, `3.1s`, `9m02s`, `2h03m`, `3d04h`: short, and never rounded up to a unit's end.
pub(crate) fn duration(ns: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = rounded(ns, unit / 10);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    let seconds = rounded(ns, SECOND);
    if rounded(ns, US) < 100 {
        format!("{}µs", rounded(ns, US))
    } else if rounded(ns, MS / 10) < 100 {
        tenths(MS) + "ms"
    } else if rounded(ns, MS) < 1_000 {
        format!("{}ms", rounded(ns, MS))
    } else if rounded(ns, SECOND / 10) < 600 {
        tenths(SECOND) + "s"
    } else if seconds < HOUR {
        format!("{}m{:02}s", seconds / MINUTE, seconds % MINUTE)
    } else if seconds < DAY {
        format!("{}h{:02}m", seconds / HOUR, seconds % HOUR / MINUTE)
    } else {
        format!("{}d{:02}h", seconds / DAY, seconds % DAY / HOUR)
    }
}

fn rounded(value: u64, unit: u64) -> u64 {
    value.saturating_add(unit / 2) / unit
}

/// Milliseconds with three digits, as tcpstates shows them.
pub(super) fn milliseconds(ns: u64) -> String {
    let us = rounded(ns, US);
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

/// `512`, `2.0K`, `18.4K`, `640K`, `1.2M`: powers of 1024.
pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut unit = 1024_u64;
    for letter in ['K', 'M', 'G', 'T', 'P', 'E'] {
        let tenths = (u128::from(bytes) * 10 + u128::from(unit) / 2) / u128::from(unit);
        if tenths < 1_000 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        if tenths < 10_235 || letter == 'E' {
            return format!("{}{letter}", (tenths + 5) / 10);
        }
        unit *= 1024;
    }
    bytes.to_string()
}

/// `4,127`
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 reset`, `4,127 resets`
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `61 %`, `0.2 %`; `0 %` and `100 %` only where that is exact.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if part == 0 || whole == 0 {
        return "0 %".to_owned();
    }
    if part >= whole {
        return "100 %".to_owned();
    }
    let permille = (u128::from(part) * 1_000 + u128::from(whole) / 2) / u128::from(whole);
    match permille {
        0 => "< 0.1 %".to_owned(),
        1..=94 => format!("{}.{} %", permille / 10, permille % 10),
        permille => format!("{} %", ((permille + 5) / 10).min(99)),
    }
}

/// The kernel's name for an errno, where TCP sets it.
pub(crate) fn errno(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "EPERM",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        32 => "EPIPE",
        71 => "EPROTO",
        88 => "ENOTSOCK",
        90 => "EMSGSIZE",
        92 => "ENOPROTOOPT",
        93 => "EPROTONOSUPPORT",
        95 => "EOPNOTSUPP",
        99 => "EADDRNOTAVAIL",
        100 => "ENETDOWN",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        107 => "ENOTCONN",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        112 => "EHOSTDOWN",
        113 => "EHOSTUNREACH",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short_and_carry_over_at_a_units_end() {
        for (ns, text) in [
            (0, "0µs"),
            (499, "0µs"),
            (44_000, "44µs"),
            (99_499, "99µs"),
            (99_500, "0.1ms"),
            (400_000, "0.4ms"),
            (9_949_000, "9.9ms"),
            (9_950_000, "10ms"),
            (31_000_000, "31ms"),
            (999_499_999, "999ms"),
            (999_500_000, "1.0s"),
            (3_100_000_000, "3.1s"),
            (59_949_000_000, "59.9s"),
            (59_950_000_000, "1m00s"),
            (542_000_000_000, "9m02s"),
            (3_599_600_000_000, "1h00m"),
            (7_380_000_000_000, "2h03m"),
            (273_600_000_000_000, "3d04h"),
            (u64::MAX, "213503d23h"),
        ] {
            assert_eq!(duration(ns), text, "{ns}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024_and_carry_over() {
        for (size, text) in [
            (0, "0"),
            (512, "512"),
            (1023, "1023"),
            (2048, "2.0K"),
            (18_842, "18.4K"),
            (90_112, "88.0K"),
            (102_400, "100K"),
            (655_360, "640K"),
            (1_048_575, "1.0M"),
            (1_258_291, "1.2M"),
            (5 << 40, "5.0T"),
            (u64::MAX, "16.0E"),
        ] {
            assert_eq!(bytes(size), text, "{size}");
        }
    }

    #[test]
    fn milliseconds_have_three_digits() {
        assert_eq!(milliseconds(0), "0.000");
        assert_eq!(milliseconds(44_400), "0.044");
        assert_eq!(milliseconds(3_100_000_000), "3100.000");
    }

    #[test]
    fn counts_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (4127, "4,127"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "close", "closes"), "1 close");
        assert_eq!(counted(1204, "close", "closes"), "1,204 closes");
    }

    #[test]
    fn a_share_is_nothing_or_all_only_where_it_is() {
        for (part, whole, text) in [
            (0, 412, "0 %"),
            (1, 412, "0.2 %"),
            (1, 100_000, "< 0.1 %"),
            (251, 412, "61 %"),
            (99_999, 100_000, "99 %"),
            (412, 412, "100 %"),
            (0, 0, "0 %"),
        ] {
            assert_eq!(share(part, whole), text, "{part}/{whole}");
        }
    }
}
