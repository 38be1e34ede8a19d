//! Debian's package `rust-src` of the version that is wanted.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::apt::{self, Package as Listed};

/// Suites that carry recent Rust releases, the likeliest first.
const SUITES: [&str; 3] = ["trixie-backports", "trixie", "sid"];
const NAME: &str = "rust-src";

/// The unpacked package; its files go when this is dropped.
pub(super) struct Package {
    folder: TempDir,
    library: PathBuf,
    /// Such as 1.95.0+dfsg1-2
    pub(super) version: String,
    /// The suite that had it
    pub(super) suite: &'static str,
}

impl Package {
    /// Its `library/` folder.
    pub(super) fn library(&self) -> PathBuf {
        self.folder.path().join(&self.library)
    }
}

/// Finds, downloads and unpacks the package whose version is that of rustc `release`.
pub(super) fn unpack(release: &str) -> Result<Package> {
    let mut said = Vec::new();
    for suite in SUITES {
        match unpack_from(suite, release) {
            Ok(Some(package)) => return Ok(package),
            Ok(None) => said.push(format!("{suite} has another version")),
            Err(error) => said.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("no Debian package {NAME} {release}+dfsg: {}", said.join("; "))
}

/// `None` where `suite` has no such version.
fn unpack_from(suite: &'static str, release: &str) -> Result<Option<Package>> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let source = apt::suite(&folder.path().join("apt"), suite)?;
    let listed = source.packages(&[NAME], |name| name == NAME)?;
    let Some(package) = listed.into_iter().find(|package| belongs_to(package, release)) else {
        return Ok(None);
    };
    let unpacked = folder.path().join("unpacked");
    source.unpack(&package, &unpacked)?;
    let library = PathBuf::from(format!("unpacked/usr/src/rustc-{release}/library"));
    if !folder.path().join(&library).is_dir() {
        bail!("the package {NAME} {} holds no library folder", package.version);
    }
    Ok(Some(Package { folder, library, version: package.version, suite }))
}

/// Whether `package` is of exactly that release of Rust.
fn belongs_to(package: &Listed, release: &str) -> bool {
    package.version.starts_with(&format!("{release}+dfsg"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_exactly_the_release() {
        let package = Listed { name: NAME.to_owned(), version: "1.95.0+dfsg1-2~bpo13+1".to_owned() };
        assert!(belongs_to(&package, "1.95.0"));
        assert!(!belongs_to(&package, "1.95") && !belongs_to(&package, "1.95.1"));
    }
}
