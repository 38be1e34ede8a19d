//! Debian's package `rust-src`, fetched with an apt configuration of its own: nothing of the system's changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::process;

/// Suites that carry recent Rust releases, the likeliest first.
const SUITES: [&str; 3] = ["trixie-backports", "trixie", "sid"];
/// Debian's archive keys, at the place that Debian gives them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One list of packages, no other index, nobody else's sources; a mirror that does not answer is an error.
const OPTIONS: [&str; 5] = [
    "Dir::Etc::sourcelist=/dev/null",
    "APT::Sandbox::User=root",
    "APT::Update::Error-Mode=any",
    "Acquire::Languages=none",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
];

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
    let mirror = mirror()?;
    let mut said = Vec::new();
    for suite in SUITES {
        match unpack_from(&mirror, suite, release) {
            Ok(Some(package)) => return Ok(package),
            Ok(None) => said.push(format!("{suite} has another version")),
            Err(error) => said.push(format!("{suite}: {error:#}")),
        }
    }
    bail!("no Debian package rust-src {release}+dfsg: {}", said.join("; "))
}

/// `None` where `suite` has no such version.
fn unpack_from(mirror: &str, suite: &'static str, release: &str) -> Result<Option<Package>> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let apt = Apt::configure(folder.path(), mirror, suite)?;
    process::output(apt.command("apt-get").args(["update", "-qq"]))?;
    let table = process::output(apt.command("apt-cache").args(["madison", "rust-src"]))?;
    let Some(version) = version_for(release, &table) else { return Ok(None) };
    process::output(apt.command("apt-get").args(["download", "-qq", &format!("rust-src={version}")]))?;
    let archive =
        find(folder.path(), |name| name.ends_with(".deb"))?.context("apt-get downloaded nothing")?;
    let unpacked = folder.path().join("unpacked");
    process::output(process::command("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
    let library = PathBuf::from(format!("unpacked/usr/src/rustc-{release}/library"));
    if !folder.path().join(&library).is_dir() {
        bail!("the package rust-src {version} holds no library folder");
    }
    Ok(Some(Package { folder, library, version, suite }))
}

/// The version in `apt-cache madison`'s table that belongs to rustc `release`.
fn version_for(release: &str, table: &str) -> Option<String> {
    let wanted = format!("{release}+dfsg");
    let versions = table.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim);
    versions.map(str::to_owned).find(|version| version.starts_with(&wanted))
}

/// The mirror that this system takes Debian itself from.
fn mirror() -> Result<String> {
    let uris = process::output(process::command("apt-get").args(["indextargets", "--format", "$(REPO_URI)"]))
        .context("no apt to ask")?;
    let mirror = uris.lines().find(|uri| uri.ends_with("/debian/"));
    Ok(mirror.context("apt knows no Debian mirror")?.to_owned())
}

fn find(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            return Ok(Some(entry.path()));
        }
    }
    Ok(None)
}

/// An apt that knows a single suite and keeps everything in one folder.
struct Apt<'a> {
    folder: &'a Path,
}

impl<'a> Apt<'a> {
    fn configure(folder: &'a Path, mirror: &str, suite: &str) -> Result<Self> {
        for part in ["sources", "lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let source =
            format!("Types: deb\nURIs: {mirror}\nSuites: {suite}\nComponents: main\nSigned-By: {KEYRING}\n");
        fs::write(folder.join("sources/debian.sources"), source)?;
        Ok(Self { folder })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        command.current_dir(self.folder).env("LC_ALL", "C");
        let places =
            [("Dir::Etc::sourceparts", "sources"), ("Dir::State::lists", "lists"), ("Dir::Cache", "cache")];
        for (option, part) in places {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(part).display()));
        }
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str =
        " rust-src | 1.95.1+dfsg1-1 | a mirror\n rust-src | 1.95.0+dfsg1-2~bpo13+1 | a mirror\n";

    #[test]
    fn the_version_is_exactly_the_release() {
        assert_eq!(version_for("1.95.0", TABLE).as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(version_for("1.95", TABLE), None);
        assert_eq!(version_for("1.96.0", TABLE), None);
    }
}
