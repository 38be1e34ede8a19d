//! A guest's only file system: busybox, the programs under test, kernel modules, and what starts them all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::apt::Suite;
use crate::vm::binaries::Binaries;
use crate::vm::cpio::Archive;
use crate::vm::kept;

const INIT: &str = include_str!("init.sh");
const BUSYBOX: &str = "busybox-static";

/// Folders that something is mounted on or written to.
const FOLDERS: [&str; 5] = ["/proc", "/sys", "/dev", "/tmp", "/etc"];

/// Which live tests are run, and how many at once.
pub(super) struct Tests<'a> {
    /// Parts of their names; all if there is none
    pub(super) filters: &'a [String],
    /// Those that have the guest to themselves, after the others; chosen by the same filters
    pub(super) alone: Vec<String>,
    pub(super) threads: u32,
}

impl Tests<'_> {
    /// Arguments as a shell takes them: names have no character that means anything to it.
    fn arguments(&self) -> String {
        let skipped: String = self.alone.iter().map(|name| format!(" --skip {name}")).collect();
        format!("--test-threads={}{skipped} {}", self.threads, self.filters.join(" "))
    }
}

/// Writes it to `path`; `modules` is an archive that comes behind it.
pub(super) fn write(
    path: &Path,
    busybox: &Path,
    binaries: &Binaries,
    modules: &Path,
    tests: &Tests<'_>,
) -> Result<()> {
    let mut archive = Archive::default();
    for folder in FOLDERS {
        archive.folder(folder)?;
    }
    // The kernel wants it before anything is mounted.
    archive.device("/dev/console", 5, 1)?;
    archive.program("/bin/busybox", &read(busybox)?)?;
    for program in [&binaries.finwait, &binaries.bench, &binaries.live] {
        archive.program(text(program)?, &read(program)?)?;
    }
    let init = INIT.replace("@FINWAIT@", text(&binaries.finwait)?).replace("@LIVE@", text(&binaries.live)?);
    let init = init.replace("@TESTS@", &tests.arguments()).replace("@ALONE@", &tests.alone.join(" "));
    archive.program("/init", init.as_bytes())?;
    let mut bytes = archive.finish()?;
    bytes.extend_from_slice(&read(modules)?);
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

/// A busybox that needs no library and can be run here, of the newest suite that has one; kept in `cache`.
pub(super) fn busybox(suites: &[Suite], cache: &Path) -> Result<PathBuf> {
    let busybox = cache.join("busybox");
    if !kept::is_intact(&busybox) {
        unpack_busybox(suites, cache, &busybox)?;
    }
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755))
        .with_context(|| busybox.display().to_string())?;
    Ok(busybox)
}

fn unpack_busybox(suites: &[Suite], cache: &Path, busybox: &Path) -> Result<()> {
    for suite in suites.iter().rev() {
        let Some(package) = suite.packages(&[BUSYBOX], |name| name == BUSYBOX)?.into_iter().next() else {
            continue;
        };
        println!("unpacking {} {} ({})", package.name, package.version, suite.name);
        let unpacked = tempfile::tempdir_in(cache).context("a temporary folder")?;
        suite.unpack(&package, unpacked.path())?;
        let program = ["bin/busybox", "usr/bin/busybox"].map(|place| unpacked.path().join(place));
        let program = program.into_iter().find(|place| place.is_file()).context("it holds no busybox")?;
        return kept::keep(busybox, &read(&program)?);
    }
    bail!("no suite of Debian has {BUSYBOX}")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| path.display().to_string())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not text", path.display()))
}
