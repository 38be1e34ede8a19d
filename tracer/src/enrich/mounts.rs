//! Lines of /proc/self/mountinfo: paths as they are written there.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// A path of mountinfo, where space, tab, newline and backslash are written as `\040` and so on (mangle() in fs/seq_file.c).
pub(crate) fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let octal = |digit: u8| u32::from(digit).checked_sub(u32::from(b'0')).filter(|value| *value < 8);
        let number = match (first, tail) {
            (b'\\', [a, b, c, ..]) => {
                octal(*a).zip(octal(*b)).zip(octal(*c)).map(|((a, b), c)| a << 6 | b << 3 | c)
            }
            _ => None,
        };
        match number.and_then(|number| u8::try_from(number).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_mountinfo_are_undone() {
        for (text, path) in [
            ("/a\\040b", "/a b"),
            ("/a\\134b", "/a\\b"),
            ("/\\777", "/\\777"),
            ("/a\\04", "/a\\04"),
            ("", ""),
        ] {
            assert_eq!(unescape(text), PathBuf::from(path), "{text}");
        }
    }
}
