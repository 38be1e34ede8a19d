//! The standard library's source of exactly the running rustc: rustup's component, or Debian's package.

mod debian;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::toolchain::Toolchain;

/// Put beside the source that came from Debian: `RELEASE PACKAGE-VERSION`.
const MARK: &str = ".rust-src-package";

/// Where to take the source from.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Choice {
    /// rustup, else Debian; whatever is there is good
    Auto,
    /// The rustup component
    Rustup,
    /// The Debian package
    Debian,
}

/// Where the source that is there came from.
#[derive(Debug, PartialEq, Eq)]
enum Origin {
    Missing,
    Rustup,
    Debian,
    /// Debian's package for another release: rustc was updated since
    Stale,
    /// Put there by other hands
    Unknown,
}

/// Installs the source unless `choice` is content with what is there.
pub(crate) fn install(toolchain: &Toolchain, choice: Choice) -> Result<()> {
    let origin = origin(toolchain);
    if content(choice, &origin) {
        println!("standard library source: there ({})", describe(&origin));
        return Ok(());
    }
    match choice {
        Choice::Rustup => from_rustup(toolchain)?,
        Choice::Debian => from_debian(toolchain, &origin)?,
        Choice::Auto => {
            if let Err(error) = from_rustup(toolchain) {
                println!("standard library source: not from rustup: {error:#}");
                from_debian(toolchain, &origin)?;
            }
        }
    }
    if !toolchain.has_source() {
        bail!("no standard library source in {} after its installation", toolchain.source().display());
    }
    Ok(())
}

fn content(choice: Choice, origin: &Origin) -> bool {
    match choice {
        Choice::Auto => !matches!(origin, Origin::Missing | Origin::Stale),
        Choice::Rustup => *origin == Origin::Rustup,
        Choice::Debian => *origin == Origin::Debian,
    }
}

fn describe(origin: &Origin) -> &'static str {
    match origin {
        Origin::Missing => "missing",
        Origin::Rustup => "rustup's component",
        Origin::Debian => "Debian's package",
        Origin::Stale => "of another rustc",
        Origin::Unknown => "of unknown origin, taken as it is",
    }
}

fn origin(toolchain: &Toolchain) -> Origin {
    if !toolchain.has_source() {
        return Origin::Missing;
    }
    if let Ok(mark) = fs::read_to_string(toolchain.source().join("library").join(MARK)) {
        let current = mark.split_whitespace().next() == Some(&toolchain.release);
        return if current { Origin::Debian } else { Origin::Stale };
    }
    if has_component(toolchain) { Origin::Rustup } else { Origin::Unknown }
}

/// rustup keeps a list of files for each component.
fn has_component(toolchain: &Toolchain) -> bool {
    toolchain.sysroot.join("lib/rustlib/manifest-rust-src").is_file()
}

fn from_rustup(toolchain: &Toolchain) -> Result<()> {
    let library = toolchain.source().join("library");
    replacing(&library, || {
        process::output(process::command("rustup").args(["component", "add", "rust-src"]))?;
        if !toolchain.has_source() {
            bail!("rustup's toolchain is not the one in {}", toolchain.sysroot.display());
        }
        Ok(())
    })?;
    println!("standard library source: installed rustup's component rust-src");
    Ok(())
}

fn from_debian(toolchain: &Toolchain, origin: &Origin) -> Result<()> {
    let package = debian::unpack(&toolchain.release)?;
    if *origin == Origin::Rustup {
        process::output(process::command("rustup").args(["component", "remove", "rust-src"]))?;
    }
    let source = toolchain.source();
    fs::create_dir_all(&source).with_context(|| source.display().to_string())?;
    let library = source.join("library");
    replacing(&library, || {
        process::output(process::command("cp").arg("-R").arg(package.library()).arg(&library))?;
        fs::write(library.join(MARK), format!("{} {}\n", toolchain.release, package.version))?;
        Ok(())
    })?;
    println!("standard library source: installed Debian's rust-src {} ({})", package.version, package.suite);
    Ok(())
}

/// Runs `make` with `folder` out of the way; puts it back when that fails.
fn replacing(folder: &Path, make: impl FnOnce() -> Result<()>) -> Result<()> {
    if !folder.exists() {
        return make();
    }
    let aside = folder.with_extension("old");
    fs::rename(folder, &aside).with_context(|| format!("cannot move {}", folder.display()))?;
    if let Err(error) = make() {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::rename(&aside, folder)?;
        return Err(error);
    }
    fs::remove_dir_all(&aside).with_context(|| aside.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(sysroot: &Path) -> Toolchain {
        Toolchain {
            rustc: "rustc".into(),
            release: "1.95.0".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            sysroot: sysroot.into(),
        }
    }

    #[test]
    fn origin_follows_the_mark_and_the_release() {
        let folder = tempfile::tempdir().unwrap();
        let toolchain = toolchain(folder.path());
        assert_eq!(origin(&toolchain), Origin::Missing);
        let library = toolchain.source().join("library");
        fs::create_dir_all(library.join("core/src")).unwrap();
        fs::write(library.join("core/src/lib.rs"), "").unwrap();
        assert_eq!(origin(&toolchain), Origin::Unknown);
        fs::write(toolchain.sysroot.join("lib/rustlib/manifest-rust-src"), "").unwrap();
        assert_eq!(origin(&toolchain), Origin::Rustup);
        fs::write(library.join(MARK), "1.95.0 1.95.0+dfsg1-2\n").unwrap();
        assert_eq!(origin(&toolchain), Origin::Debian);
        fs::write(library.join(MARK), "1.94.1 1.94.1+dfsg1-1\n").unwrap();
        assert_eq!(origin(&toolchain), Origin::Stale);
    }

    #[test]
    fn auto_replaces_only_what_is_missing_or_stale() {
        assert!(content(Choice::Auto, &Origin::Unknown) && content(Choice::Auto, &Origin::Debian));
        assert!(!content(Choice::Auto, &Origin::Missing) && !content(Choice::Auto, &Origin::Stale));
        assert!(!content(Choice::Debian, &Origin::Rustup) && !content(Choice::Rustup, &Origin::Debian));
    }

    #[test]
    fn a_failed_replacement_restores() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("library");
        fs::create_dir(&library).unwrap();
        fs::write(library.join("old"), "").unwrap();
        let failed = replacing(&library, || {
            fs::create_dir(&library)?;
            bail!("no network")
        });
        assert!(failed.is_err() && library.join("old").is_file());
        replacing(&library, || Ok(fs::create_dir(&library)?)).unwrap();
        assert!(library.is_dir() && !library.join("old").exists());
    }
}
