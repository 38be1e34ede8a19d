//! An archive in the `newc` form of cpio: what a kernel unpacks as its first file system.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};

const MAGIC: &str = "070701";
/// The name that ends an archive
const TRAILER: &str = "TRAILER!!!";
const ALIGNMENT: usize = 4;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive that grows in memory. Everything in it belongs to root.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    /// Each entry needs a number of its own: equal ones would be hard links
    inode: u32,
}

/// What an entry says about itself.
struct Header {
    mode: u32,
    /// Major and minor number of a device
    device: (u32, u32),
}

impl Archive {
    /// Adds a folder and those above it, unless they are there.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        let mut above = String::new();
        for part in Path::new(path).components() {
            let name = match part {
                Component::RootDir => continue,
                Component::Normal(name) => name.to_str().context("a name that is not text")?,
                _ => bail!("{path} is not a plain absolute path"),
            };
            if !above.is_empty() {
                above.push('/');
            }
            above.push_str(name);
            if self.folders.insert(above.clone()) {
                self.entry(&above, &Header { mode: FOLDER, device: (0, 0) }, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file that may be run, and the folders above it.
    pub(super) fn program(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.leaf(path, &Header { mode: PROGRAM, device: (0, 0) }, content)
    }

    /// Adds a character device, and the folders above it.
    pub(super) fn device(&mut self, path: &str, major: u32, minor: u32) -> Result<()> {
        self.leaf(path, &Header { mode: CHARACTER_DEVICE, device: (major, minor) }, &[])
    }

    /// Ends the archive and hands out its bytes.
    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        self.entry(TRAILER, &Header { mode: 0, device: (0, 0) }, &[])?;
        Ok(self.bytes)
    }

    fn leaf(&mut self, path: &str, header: &Header, content: &[u8]) -> Result<()> {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above)?;
        }
        self.entry(path.trim_start_matches('/'), header, content)
    }

    fn entry(&mut self, name: &str, header: &Header, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let size = u32::try_from(content.len()).with_context(|| format!("{name} is too large"))?;
        let length = u32::try_from(name.len() + 1).context("a name that is too long")?;
        let (major, minor) = header.device;
        // In order: inode, mode, user, group, links, time, size, two numbers of the device that holds it, two of the
        // device that it is, length of the name with its zero, a checksum that this form does not use.
        let fields = [self.inode, header.mode, 0, 0, 1, 0, size, 0, 0, major, minor, length, 0];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
        Ok(())
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mode, name and content of each entry.
    fn entries(mut bytes: &[u8]) -> Vec<(u32, String, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], MAGIC.as_bytes());
            let field = |index: usize| {
                let text = std::str::from_utf8(&bytes[6 + index * 8..14 + index * 8]).unwrap();
                u32::from_str_radix(text, 16).unwrap() as usize
            };
            let (mode, size, length) = (field(1), field(6), field(11));
            let name = std::str::from_utf8(&bytes[110..110 + length - 1]).unwrap().to_owned();
            let start = (110 + length).next_multiple_of(4);
            if name == TRAILER {
                return entries;
            }
            entries.push((u32::try_from(mode).unwrap(), name, bytes[start..start + size].to_vec()));
            bytes = &bytes[(start + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn folders_come_once_and_before_what_is_in_them() {
        let mut archive = Archive::default();
        archive.program("/a/b/one", b"1").unwrap();
        archive.program("/a/b/three", b"333").unwrap();
        archive.device("/a/null", 1, 3).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let entries = entries(&bytes);
        let names: Vec<_> = entries.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/b/three", "a/null"]);
        assert_eq!((entries[0].0, entries[3].0), (FOLDER, PROGRAM));
        assert_eq!((entries[3].2.as_slice(), entries[4].0), (&b"333"[..], CHARACTER_DEVICE));
    }

    #[test]
    fn a_path_does_not_climb() {
        assert!(Archive::default().folder("/a/../b").is_err());
    }
}
