//! Lines and arrows in a fixed grid of columns.

use finwait_core::MonoNs;

/// Columns ahead of the arrow: indent, lifeline, state, time.
const STATE: usize = 11;
const TIME: usize = 11;
const LEFT: usize = 2 + 1 + 1 + STATE + 1 + TIME + 2;
/// Columns of the far end's time and state.
const FAR: usize = 1 + TIME + 1 + STATE;
const MIN_ARROW: usize = 28;
const MIN_ARROW_OF_TWO: usize = 24;
const MAX_ARROW: usize = 48;

/// Where things stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rails {
    /// Width of the arrows
    pub(super) arrow: usize,
    /// Room at the right of the far lifeline
    pub(super) beside: usize,
    /// The far end was observed
    pub(super) peer: bool,
}

impl Rails {
    pub(super) fn new(width: usize, peer: bool) -> Self {
        let arrow = if peer {
            width.saturating_sub(LEFT + 2 + FAR).clamp(MIN_ARROW_OF_TWO, MAX_ARROW)
        } else {
            (MIN_ARROW + width.saturating_sub(80) / 2).min(MAX_ARROW)
        };
        Self { arrow, beside: width.saturating_sub(LEFT + arrow + 3), peer }
    }

    /// Column of the far lifeline.
    pub(super) fn right(&self) -> usize {
        LEFT + self.arrow + 1
    }

    /// A line on which something happens.
    pub(super) fn line(&self, state: &str, time: &str, slow: bool, middle: &str, beside: &str) -> String {
        let mark = if slow { '!' } else { ' ' };
        let arrow = self.arrow;
        format!("  │ {state:<STATE$} {time:>TIME$}{mark} {middle:<arrow$} │ {beside}")
    }

    /// A line that says something of the one before.
    pub(super) fn note(&self, text: &str) -> String {
        self.line("", "", false, text, "")
    }

    /// A line on which time goes by.
    pub(super) fn idle(&self, text: &str) -> String {
        let (arrow, left) = (self.arrow, LEFT - 3);
        format!("  ┆{:left$}{text:<arrow$} ┆", "")
    }
}

/// `──── FIN ───▶`
pub(super) fn to_right(width: usize, label: &str) -> String {
    shaft(width.saturating_sub(1), label, '─') + "▶"
}

/// `◀─── FIN ────`
pub(super) fn to_left(width: usize, label: &str) -> String {
    format!("◀{}", shaft(width.saturating_sub(1), label, '─'))
}

/// `┄┄┄┄ ? ┄┄┄┄`
pub(super) fn unseen(width: usize) -> String {
    shaft(width, "?", '┄')
}

fn shaft(width: usize, label: &str, line: char) -> String {
    let rest = width.saturating_sub(label.chars().count() + 2);
    let left = rest.div_ceil(2);
    format!("{} {label} {}", repeat(line, left), repeat(line, rest - left))
}

fn repeat(line: char, times: usize) -> String {
    std::iter::repeat_n(line, times).collect()
}

/// Two segments that pass each other: where they leave, where they meet, where they come.
pub(super) fn cross(width: usize, sent: &str, came: &str) -> [String; 3] {
    let half = width.saturating_sub(3) / 2;
    let rest = width.saturating_sub(half + 3);
    [
        format!("{}╲ ╱{}", shaft(half, sent, '─'), shaft(rest, came, '─')),
        format!("{:half$} ╳", ""),
        format!("◀{}╱ ╲{}▶", repeat('─', half.saturating_sub(1)), repeat('─', rest.saturating_sub(1))),
    ]
}

/// The time from `start`, such as `48.53 ms`, `3.148 s`, `64.2 s`, `3h02m`.
pub(super) fn time(at: MonoNs, start: MonoNs) -> String {
    let (sign, ns) = match at.since(start) {
        Some(ns) => ("", ns),
        None => ("-", start.0 - at.0),
    };
    let ms = ns as f64 / 1e6;
    let text = match ms {
        ms if ms < 999.995 => format!("{ms:.2} ms"),
        ms if ms < 99_999.5 => format!("{:.3} s", ms / 1e3),
        ms if ms < 999_950.0 => format!("{:.1} s", ms / 1e3),
        _ => crate::sink::human::duration(ns),
    };
    format!("{sign}{text}")
}

/// `text` in lines of at most `width` characters; a word that is longer has a line of its own, and is cut by nobody.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let length = line.chars().count();
        if length > 0 && length + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if length > 0 {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

/// `line` with nothing but ASCII: each character of the drawing has one that stands for it.
pub(super) fn ascii(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    for c in line.chars() {
        match c {
            c if c.is_ascii() => plain.push(c),
            '─' => plain.push('-'),
            '┄' => plain.push('.'),
            '▶' => plain.push('>'),
            '◀' => plain.push('<'),
            '│' => plain.push('|'),
            '┆' => plain.push(':'),
            '╲' => plain.push('\\'),
            '╱' => plain.push('/'),
            '╳' => plain.push('X'),
            '●' => plain.push('*'),
            '≤' => plain.push('<'),
            'µ' => plain.push('u'),
            '→' => plain.push_str("->"),
            _ => plain.push('?'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_fill_their_width() {
        assert_eq!(to_right(16, "FIN"), "───── FIN ─────▶");
        assert_eq!(to_left(16, "ACK"), "◀───── ACK ─────");
        assert_eq!(unseen(9), "┄┄┄ ? ┄┄┄");
        for line in cross(29, "1: FIN", "2: FIN") {
            assert!(line.chars().count() <= 29, "{line}");
        }
    }

    #[test]
    fn lines_are_wrapped_between_words_alone() {
        assert_eq!(wrap("a bb ccc", 4), ["a bb", "ccc"]);
        assert_eq!(wrap("longest", 3), ["longest"]);
    }

    #[test]
    fn times_are_counted_from_the_start_and_keep_to_their_column() {
        let start = MonoNs(10_000_000_000);
        for (after, text) in [
            (0, "0.00 ms"),
            (48_530_000, "48.53 ms"),
            (999_994_000, "999.99 ms"),
            (999_996_000, "1.000 s"),
            (64_200_000_000, "64.200 s"),
            (120_000_000_000, "120.0 s"),
            (10_920_000_000_000, "3h02m"),
        ] {
            assert_eq!(time(start.plus(after), start), text);
        }
        assert_eq!(time(MonoNs(0), MonoNs(1_000_000)), "-1.00 ms");
    }

    #[test]
    fn ascii_stands_for_every_character_of_the_drawing() {
        assert_eq!(ascii("│ ◀── ? ┄┄▶ ╲╳╱ ● ≤ 4µs → ┆ ä"), "| <-- ? ..> \\X/ * < 4us -> : ?");
    }
}
