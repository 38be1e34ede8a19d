//! Which kernels Debian has; the image and the modules of one of them.

use std::cmp::Ordering;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::{Package, Suite};
use crate::vm::{kept, modules};

/// Newer kernels keep the image in a package of its own, on which `linux-image` only depends.
const PREFIXES: [&str; 2] = ["linux-binary-", "linux-image-"];
/// The flavour with the fewest drivers
const SUFFIX: &str = "-cloud-amd64";

/// Where newer kernels keep the modules of what is in a package of the first prefix, and the list of those built in
const COMPANIONS: [&str; 2] = ["linux-modules-", "linux-base-"];

const IMAGE: &str = "vmlinuz";

/// The numbers of a kernel's version, such as 6.1.176.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(Vec<u32>);

impl Version {
    /// Whether this version starts with the numbers of `asked`.
    fn belongs_to(&self, asked: &Self) -> bool {
        self.0.starts_with(&asked.0)
    }

    /// Its first two numbers: 6.1 of 6.1.176.
    pub(super) fn release(&self) -> String {
        Self(self.0.iter().copied().take(2).collect()).to_string()
    }

    /// Whether it is older than `major.minor`.
    pub(super) fn before(&self, major: u32, minor: u32) -> bool {
        self.0.as_slice().cmp(&[major, minor]) == Ordering::Less
    }
}

impl std::str::FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers: std::result::Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        numbers.map(Self).map_err(|_| format!("{text} is not a kernel's version such as 6.1 or 6.12.107"))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// Which kernel is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The newest there is
    Newest,
    /// The newest whose version starts with these numbers
    Like(Version),
}

impl std::str::FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if text == "newest" { Ok(Self::Newest) } else { text.parse().map(Self::Like) }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest => f.write_str("newest"),
            Self::Like(version) => version.fmt(f),
        }
    }
}

/// A kernel that a suite has.
#[derive(Clone)]
pub(super) struct Kernel<'a> {
    pub(super) version: Version,
    package: Package,
    suite: &'a Suite,
}

/// Every kernel that `suites` have.
pub(super) fn all(suites: &[Suite]) -> Result<Vec<Kernel<'_>>> {
    let mut kernels = Vec::new();
    for suite in suites {
        let packages = suite.packages(&PREFIXES, is_image)?;
        for package in with_images(&packages) {
            if let Some(version) = upstream(&package.version) {
                kernels.push(Kernel { version, package, suite });
            }
        }
    }
    Ok(kernels)
}

/// The newest of `kernels` that is what `choice` asks for.
pub(super) fn choose<'a>(kernels: &[Kernel<'a>], choice: &Choice) -> Result<Kernel<'a>> {
    let fits = |kernel: &&Kernel<'a>| match choice {
        Choice::Newest => true,
        Choice::Like(asked) => kernel.version.belongs_to(asked),
    };
    let newest = kernels.iter().filter(fits).max_by(|one, other| one.version.cmp(&other.version));
    newest.cloned().with_context(|| format!("no suite of Debian has a kernel {choice}"))
}

/// What a guest needs of a kernel.
pub(super) struct Files {
    pub(super) image: PathBuf,
    /// An archive, see [`modules`]
    pub(super) modules: PathBuf,
}

impl Kernel<'_> {
    /// Its files in `cache`, downloaded unless they are there as they were unpacked.
    pub(super) fn files(&self, cache: &Path, busybox: &Path) -> Result<Files> {
        let folder = cache.join(format!("{}_{}", self.package.name, self.package.version));
        let files = Files { image: folder.join(IMAGE), modules: folder.join(modules::archive_name()) };
        if kept::is_intact(&files.image) && kept::is_intact(&files.modules) {
            return Ok(files);
        }
        fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
        let unpacked = tempfile::tempdir_in(cache).context("a temporary folder")?;
        println!("unpacking {} {} ({})", self.package.name, self.package.version, self.suite.name);
        self.suite.unpack(&self.package, unpacked.path())?;
        for package in self.companions()? {
            self.suite.unpack(&package, unpacked.path())?;
        }
        kept::keep(&files.image, &fs::read(find_image(unpacked.path())?)?)?;
        kept::keep(&files.modules, &modules::archive(unpacked.path(), busybox)?)?;
        Ok(files)
    }

    /// The packages with the modules, where they are others.
    fn companions(&self) -> Result<Vec<Package>> {
        let Some(rest) = self.package.name.strip_prefix(PREFIXES[0]) else { return Ok(Vec::new()) };
        let names = COMPANIONS.map(|prefix| format!("{prefix}{rest}"));
        let mut packages = self.suite.packages(&names.each_ref().map(String::as_str), |listed| {
            names.iter().any(|name| name == listed)
        })?;
        packages.retain(|package| package.version == self.package.version);
        Ok(packages)
    }
}

/// The image in an unpacked package: `boot/vmlinuz-…`, or `usr/lib/modules/…/vmlinuz`.
fn find_image(unpacked: &Path) -> Result<PathBuf> {
    for folder in ["boot", "usr/lib/modules"] {
        let Ok(entries) = fs::read_dir(unpacked.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"));
            if named && path.is_file() {
                return Ok(path);
            }
            if path.join(IMAGE).is_file() {
                return Ok(path.join(IMAGE));
            }
        }
    }
    bail!("the package holds no kernel image")
}

/// Names of one build of one kernel; not of debug symbols, nor those that depend on whatever is newest.
fn is_image(name: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()) && rest.ends_with(SUFFIX))
}

/// Leaves out a `linux-image` whose image is in a `linux-binary`.
fn with_images(packages: &[Package]) -> Vec<Package> {
    let is_hollow = |package: &Package| {
        let Some(rest) = package.name.strip_prefix(PREFIXES[1]) else { return false };
        let binary = format!("{}{rest}", PREFIXES[0]);
        packages.iter().any(|other| other.name == binary && other.version == package.version)
    };
    packages.iter().filter(|package| !is_hollow(package)).cloned().collect()
}

/// The kernel's part of a Debian version; `None` for one that was not released yet.
fn upstream(version: &str) -> Option<Version> {
    let (upstream, _) = version.rsplit_once('-')?;
    upstream.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_compared_by_number() {
        assert!(version("6.12.5") > version("6.1.176") && version("7.3.4") > version("6.18.15"));
        assert!(version("6.1.176").belongs_to(&version("6.1")));
        assert!(!version("6.12.5").belongs_to(&version("6.1")));
        assert!(version("5.10.223").before(5, 11) && !version("5.11").before(5, 11));
        assert!("6.x".parse::<Version>().is_err() && "".parse::<Version>().is_err());
    }

    #[test]
    fn what_debian_says_of_a_kernel_is_understood() {
        assert_eq!(upstream("6.18.15-1~bpo13+1"), Some(version("6.18.15")));
        assert_eq!(upstream("7.4~rc2-1~exp1"), None);
        assert!(
            is_image("linux-image-5.10.0-32-cloud-amd64") && is_image("linux-binary-7.3.4+deb13-cloud-amd64")
        );
        for other in
            ["linux-image-cloud-amd64", "linux-image-6.1.0-50-cloud-amd64-dbg", "linux-image-6.1.0-50-amd64"]
        {
            assert!(!is_image(other), "{other}");
        }
    }

    #[test]
    fn an_image_of_its_own_package_is_preferred() {
        let package = |name: &str| Package { name: name.to_owned(), version: "7.3.4-1".to_owned() };
        let packages = ["linux-image-7.3.4-cloud-amd64", "linux-binary-7.3.4-cloud-amd64"].map(package);
        assert_eq!(with_images(&packages), packages[1..]);
        assert_eq!(with_images(&packages[..1]), packages[..1]);
    }

    #[test]
    fn an_image_is_found_in_both_places() {
        let folder = tempfile::tempdir().unwrap();
        let modules = folder.path().join("usr/lib/modules/7.3.4");
        fs::create_dir_all(&modules).unwrap();
        assert!(find_image(folder.path()).is_err());
        fs::write(modules.join(IMAGE), "image").unwrap();
        assert_eq!(find_image(folder.path()).unwrap(), modules.join(IMAGE));
        fs::create_dir_all(folder.path().join("boot")).unwrap();
        let old = folder.path().join("boot/vmlinuz-6.1");
        fs::write(&old, "").unwrap();
        assert_eq!(find_image(folder.path()).unwrap(), old);
    }
}
