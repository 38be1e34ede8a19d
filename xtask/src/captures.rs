//! The captures that tcpdump makes beside the scenes of the live tests, kept for the tests in which tshark reads them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::programs;

/// Tells the tests where they are, and that they are wanted.
pub(crate) const VARIABLE: &str = "FINWAIT_CAPTURES";
const FOLDER: &str = "target/captures";

/// Installs tcpdump where it is missing, and makes the folder anew.
pub(crate) fn begin(root: &Path) -> Result<()> {
    programs::install_tcpdump()?;
    let folder = root.join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())
}

/// The folder, where captures were made in this checkout.
pub(crate) fn folder(root: &Path) -> Option<PathBuf> {
    Some(root.join(FOLDER)).filter(|folder| folder.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_folder_only_where_captures_were_made() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(folder(root.path()), None);
        fs::create_dir_all(root.path().join(FOLDER)).unwrap();
        assert_eq!(folder(root.path()), Some(root.path().join(FOLDER)));
    }
}
