//! Untrusted text made harmless. Names of processes and paths are chosen by anyone; a terminal obeys control
//! characters, and bidirectional ones make a line read otherwise than it is.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every character that a terminal might obey, hide or reorder as its escape.
#[must_use]
pub fn safe(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if !is_dangerous(c) => escaped.push(c),
            '\n' => escaped.push_str("\\n"),
            '\t' => escaped.push_str("\\t"),
            '\r' => escaped.push_str("\\r"),
            // Writing to a string cannot fail.
            c if c.is_ascii() => _ = write!(escaped, "\\x{:02x}", u32::from(c)),
            c => _ = write!(escaped, "\\u{{{:x}}}", u32::from(c)),
        }
    }
    Cow::Owned(escaped)
}

fn is_dangerous(c: char) -> bool {
    // `is_control` is C0, DEL and C1.
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// `text` cut to `width` characters, the last of them `…` where something is missing.
pub(super) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.chars().count() <= width {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    Cow::Owned(kept + "…")
}

/// `text` cut in its middle to `width` characters: of an address both ends tell something.
pub(super) fn cut_middle(text: &str, width: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= width {
        return Cow::Borrowed(text);
    }
    let tail = width.saturating_sub(1).div_ceil(2);
    let head = width.saturating_sub(1) - tail;
    let mut kept: String = text.chars().take(head).collect();
    kept.push('…');
    kept.extend(text.chars().skip(length - tail));
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_hides_or_reorders_is_escaped() {
        for (text, shown) in [
            ("nginx: worker", "nginx: worker"),
            ("caf\u{e9} \u{4e2d}", "caf\u{e9} \u{4e2d}"),
            ("\u{1b}[2J", "\\x1b[2J"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{7f}\0", "\\x7f\\x00"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("abc\u{202e}fdp", "abc\\u{202e}fdp"),
            ("a\u{2066}b\u{2069}\u{200b}", "a\\u{2066}b\\u{2069}\\u{200b}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(safe(text), shown);
        }
    }

    #[test]
    fn cut_text_shows_that_it_was_cut() {
        assert_eq!(cut("nginx", 5), "nginx");
        assert_eq!(cut("nginx", 4), "ngi…");
        assert_eq!(cut_middle("[2001:db8::77]:60110", 20), "[2001:db8::77]:60110");
        assert_eq!(cut_middle("0123456789", 5), "01…89");
        assert_eq!(cut_middle("0123456789", 6), "01…789");
    }
}
