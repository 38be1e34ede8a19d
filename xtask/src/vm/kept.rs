//! Files kept from one call to the next, each with the checksum of what was unpacked.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::ebpf::sha256;

/// Writes `bytes` to `file`, and their checksum beside it in the form that `sha256sum --check` reads.
pub(super) fn keep(file: &Path, bytes: &[u8]) -> Result<()> {
    let folder = file.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // The checksum first: a file that was cut short never has the right one.
    fs::write(beside(file), format!("{}  {name}\n", sha256(bytes)))?;
    fs::write(file, bytes).with_context(|| file.display().to_string())
}

/// Whether `file` is there, and as it was kept. One that was changed is named.
pub(super) fn is_intact(file: &Path) -> bool {
    let Ok(bytes) = fs::read(file) else { return false };
    let kept = fs::read_to_string(beside(file)).unwrap_or_default();
    let intact = kept.split_whitespace().next() == Some(sha256(&bytes).as_str());
    if !intact {
        println!("{} is not what was unpacked: once more", file.display());
    }
    intact
}

fn beside(file: &Path) -> PathBuf {
    file.with_added_extension("sha256")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_not_intact() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("6.1/vmlinuz");
        assert!(!is_intact(&file));
        keep(&file, b"image").unwrap();
        assert!(is_intact(&file));
        fs::write(&file, b"imag").unwrap();
        assert!(!is_intact(&file));
    }
}
