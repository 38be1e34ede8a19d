//! A task's name: up to 15 bytes chosen by anyone, so not even UTF-8 can be relied on.

use core::fmt;

use serde::{Deserialize, Serialize, de::Error as _};

/// task_struct.comm. Written as text in which `\` is `\\` and a byte that is no UTF-8 is `\xNN`; reads back exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Comm([u8; 16]);

impl Comm {
    /// From the kernel's array: what follows the first NUL is dropped.
    #[must_use]
    pub fn from_kernel(mut raw: [u8; 16]) -> Comm {
        let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
        raw[end..].fill(0);
        Comm(raw)
    }

    /// From text of at most 16 bytes; longer text is cut.
    #[must_use]
    pub fn from_text(text: &str) -> Comm {
        Comm::from_bytes(text.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Comm {
        let mut raw = [0; 16];
        let len = bytes.len().min(raw.len());
        raw[..len].copy_from_slice(&bytes[..len]);
        Comm::from_kernel(raw)
    }

    /// The bytes before the first NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|b| *b == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            for c in chunk.valid().chars() {
                if c == '\\' { f.write_str("\\\\")? } else { fmt::Write::write_char(f, c)? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl Serialize for Comm {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Comm {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unescape(&text).filter(|bytes| bytes.len() <= 16).map(|bytes| Comm::from_bytes(&bytes)).ok_or_else(
            || D::Error::custom("a comm has at most 16 bytes, with \\\\ and \\xNN as its only escapes"),
        )
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, after) = match (*first, tail) {
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) => {
                (u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?, after)
            }
            (b'\\', _) => return None,
            (byte, after) => (byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_read_back_as_they_were_written() {
        for raw in [
            &b"nginx"[..],
            b"",
            b"a\\b",
            b"\\x41",
            b"caf\xc3\xa9",
            b"\xff\xfe",
            b"tab\tand\x1b[31m",
            b"0123456789abcde",
        ] {
            let comm = Comm::from_bytes(raw);
            let json = serde_json::to_string(&comm).unwrap();
            assert_eq!(serde_json::from_str::<Comm>(&json).unwrap(), comm, "{json}");
        }
    }

    #[test]
    fn text_that_no_comm_can_be_is_refused() {
        for json in ["\"0123456789abcdefg\"", "\"\\\\y\"", "\"\\\\x4\"", "7"] {
            assert!(serde_json::from_str::<Comm>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_follows_the_first_nul_is_dropped() {
        assert_eq!(Comm::from_kernel(*b"cat\0secretsecret").as_bytes(), b"cat");
    }
}
