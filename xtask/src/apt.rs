//! Debian packages, fetched with an apt configuration of its own for each suite: nothing of the system's changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// Debian's archive keys, at the place that Debian gives them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// No other index than the packages, a mirror that does not answer is an error. Old suites are no longer renewed, so
/// their age is no objection; their signatures are checked all the same.
const OPTIONS: [&str; 8] = [
    "Dir::Etc::sourcelist=/dev/null",
    "APT::Architecture=amd64",
    "APT::Sandbox::User=root",
    "APT::Update::Error-Mode=any",
    "Acquire::Languages=none",
    "Acquire::Check-Valid-Until=false",
    "Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
    "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
];

/// Where a suite's packages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Archive {
    Main,
    Security,
}

/// Every suite that is looked into. Where two have the same package, the first is asked.
const SUITES: [(&str, Archive); 8] = [
    ("bullseye", Archive::Main),
    ("bullseye-security", Archive::Security),
    ("bookworm", Archive::Main),
    ("bookworm-security", Archive::Security),
    ("trixie", Archive::Main),
    ("trixie-security", Archive::Security),
    ("trixie-backports", Archive::Main),
    ("sid", Archive::Main),
];

/// The mirrors that this system takes Debian itself from.
struct Mirrors {
    main: String,
    security: Option<String>,
}

/// An apt that knows a single suite and keeps everything in one folder.
pub(crate) struct Suite {
    /// Such as trixie-backports
    pub(crate) name: &'static str,
    folder: PathBuf,
}

/// A package as a suite has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    /// Its name
    pub(crate) name: String,
    /// Debian's version, such as 6.1.176-1
    pub(crate) version: String,
}

/// A suite of Debian's main archive by its name, its lists updated in `folder`.
pub(crate) fn suite(folder: &Path, name: &'static str) -> Result<Suite> {
    Suite::update(folder.join(name), &Mirrors::of_this_system()?.main, name)
}

/// Updates the lists of every suite in `folder`. A suite that does not answer is named and left out.
pub(crate) fn suites(folder: &Path) -> Result<Vec<Suite>> {
    let mirrors = Mirrors::of_this_system()?;
    let mut suites = Vec::new();
    for (name, archive) in SUITES {
        let mirror = match archive {
            Archive::Main => &mirrors.main,
            Archive::Security => match &mirrors.security {
                Some(security) => security,
                None => continue,
            },
        };
        match Suite::update(folder.join(name), mirror, name) {
            Ok(suite) => suites.push(suite),
            Err(error) => println!("{name} is left out: {error:#}"),
        }
    }
    if suites.is_empty() {
        bail!("no suite of Debian answered");
    }
    Ok(suites)
}

impl Mirrors {
    fn of_this_system() -> Result<Self> {
        let mut apt = process::command("apt-get");
        let uris = process::output(apt.args(["indextargets", "--format", "$(REPO_URI)"]))
            .context("no apt to ask for a mirror")?;
        Self::among(&uris).context("apt knows no Debian mirror")
    }

    fn among(uris: &str) -> Option<Self> {
        let ending = |end: &str| uris.lines().find(|uri| uri.ends_with(end)).map(str::to_owned);
        let security = ending("/debian-security/");
        Some(Self { main: ending("/debian/")?, security })
    }
}

impl Suite {
    fn update(folder: PathBuf, mirror: &str, name: &'static str) -> Result<Self> {
        for part in ["sources", "lists/partial", "cache/archives/partial", "download"] {
            fs::create_dir_all(folder.join(part)).with_context(|| folder.display().to_string())?;
        }
        fs::write(folder.join("status"), "")?;
        let source =
            format!("Types: deb\nURIs: {mirror}\nSuites: {name}\nComponents: main\nSigned-By: {KEYRING}\n");
        fs::write(folder.join("sources/debian.sources"), source)?;
        let suite = Self { name, folder };
        process::output(suite.command("apt-get").args(["update", "-qq"]))?;
        Ok(suite)
    }

    /// The packages whose name starts with one of `prefixes` and that `wanted` accepts.
    pub(crate) fn packages(&self, prefixes: &[&str], wanted: impl Fn(&str) -> bool) -> Result<Vec<Package>> {
        let mut names = Vec::new();
        for prefix in prefixes {
            let listed = process::output(self.command("apt-cache").args(["pkgnames", prefix]))?;
            names.extend(listed.lines().filter(|name| wanted(name)).map(str::to_owned));
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let table = process::output(self.command("apt-cache").arg("madison").args(&names))?;
        Ok(packages(&table))
    }

    /// Downloads `package` and unpacks it into `into`; apt checks it against the signed list.
    pub(crate) fn unpack(&self, package: &Package, into: &Path) -> Result<()> {
        let download = tempfile::tempdir_in(self.folder.join("download")).context("a temporary folder")?;
        let mut apt = self.command("apt-get");
        apt.current_dir(download.path());
        apt.args(["download", "-qq", &format!("{}={}", package.name, package.version)]);
        process::output(&mut apt)?;
        let archive = fs::read_dir(download.path())?.next().context("apt-get downloaded nothing")??.path();
        process::output(process::command("dpkg-deb").arg("-x").arg(archive).arg(into))?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = process::command(program);
        command.env("LC_ALL", "C");
        let places = [
            ("Dir::Etc::sourceparts", "sources"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ];
        for (option, part) in places {
            command.arg("-o").arg(format!("{option}={}", self.folder.join(part).display()));
        }
        for option in OPTIONS {
            command.args(["-o", option]);
        }
        command
    }
}

/// The lines of `apt-cache madison`.
fn packages(table: &str) -> Vec<Package> {
    let mut packages = Vec::new();
    for line in table.lines() {
        let mut columns = line.split('|').map(str::trim);
        if let (Some(name), Some(version)) = (columns.next(), columns.next()) {
            packages.push(Package { name: name.to_owned(), version: version.to_owned() });
        }
    }
    packages
}

/// Installs `package` on this system, asking nothing.
pub(crate) fn install(package: &str) -> Result<()> {
    println!("installing {package}");
    let mut apt = process::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["install", "-y", "-qq", "--no-install-recommends", package]);
    process::output(&mut apt).with_context(|| format!("{package} could not be installed"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_told_apart() {
        let uris = "http://one/debian/\nhttp://one/debian-security/\nhttp://two/other/\n";
        let mirrors = Mirrors::among(uris).unwrap();
        assert_eq!(mirrors.main, "http://one/debian/");
        assert_eq!(mirrors.security.as_deref(), Some("http://one/debian-security/"));
        assert!(Mirrors::among("http://two/other/\n").is_none());
        assert_eq!(Mirrors::among("http://one/debian/\n").unwrap().security, None);
    }

    #[test]
    fn a_table_of_packages_is_read() {
        let table = " linux-image-a | 6.1.176-1 | a mirror\nlinux-image-b | 7.3.4-1~bpo13+1 | a mirror\n";
        let read = packages(table);
        assert_eq!((read[0].name.as_str(), read[0].version.as_str()), ("linux-image-a", "6.1.176-1"));
        assert_eq!(read[1].version, "7.3.4-1~bpo13+1");
    }
}
