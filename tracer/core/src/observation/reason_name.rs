//! A reset's reason by its name in the running kernel: numbers shift between versions.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A name of at most 31 bytes, such as `TCP_ABORT_ON_CLOSE`; longer ones are cut.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub struct ReasonName {
    bytes: [u8; 31],
    len: u8,
}

impl ReasonName {
    /// From the enumerator's name without its prefix. What is no letter, digit or `_` becomes `_`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut bytes = [0; 31];
        let mut len = 0;
        for (place, byte) in bytes.iter_mut().zip(name.bytes()) {
            *place = if byte.is_ascii_alphanumeric() { byte } else { b'_' };
            len += 1;
        }
        Self { bytes, len }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl From<String> for ReasonName {
    fn from(name: String) -> Self {
        Self::new(&name)
    }
}

impl From<ReasonName> for String {
    fn from(name: ReasonName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for ReasonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ReasonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_cut_and_cleaned() {
        assert_eq!(ReasonName::new("TCP_ABORT_ON_CLOSE").as_str(), "TCP_ABORT_ON_CLOSE");
        assert_eq!(ReasonName::new(&"A".repeat(40)).as_str().len(), 31);
        assert_eq!(ReasonName::new("a\u{1b}b").as_str(), "a_b");
        let text = serde_json::to_string(&ReasonName::new("TCP_STATE")).unwrap();
        assert_eq!(serde_json::from_str::<ReasonName>(&text).unwrap(), ReasonName::new("TCP_STATE"));
    }
}
