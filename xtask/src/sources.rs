//! A clean copy of the checkout: what is committed or could be, nothing that was built.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process;

/// Folders that hold no sources.
const BUILT: [&str; 2] = [".git", "target"];

/// The copy; it goes when this is dropped.
pub(crate) struct Copy {
    _folder: TempDir,
    /// Its root, without symbolic links
    pub(crate) root: PathBuf,
}

/// Copies the checkout in `root` to a temporary folder.
pub(crate) fn copy(root: &Path) -> Result<Copy> {
    let folder = tempfile::Builder::new().prefix("finwait-").tempdir().context("a temporary folder")?;
    let copy = Copy { root: folder.path().canonicalize()?, _folder: folder };
    for file in files(root)? {
        let (from, to) = (root.join(&file), copy.root.join(&file));
        if from.is_file() {
            let parent = to.parent().context("a file has a folder")?;
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            fs::copy(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(copy)
}

/// As git lists them, or every file where this is no git checkout or git refuses.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    if root.join(".git").exists() {
        let mut git = process::command("git");
        git.arg("-C").arg(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        if let Ok(list) = process::output(&mut git) {
            return Ok(list.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect());
        }
    }
    let mut found = Vec::new();
    walk(root, Path::new(""), &mut found)?;
    Ok(found)
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let name = folder.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            found.push(name);
        } else if !BUILT.iter().any(|built| entry.file_name() == *built) {
            walk(root, &name, found)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_everything_but_what_was_built() {
        let folder = tempfile::tempdir().unwrap();
        for file in ["Cargo.toml", "tracer/src/main.rs", "target/debug/x"] {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        let copy = copy(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(copy.root.join("tracer/src/main.rs")).unwrap(), "tracer/src/main.rs");
        assert!(copy.root.join("Cargo.toml").is_file() && !copy.root.join("target").exists());
    }
}
