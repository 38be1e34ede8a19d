//! The running Rust toolchain and the tools that belong to exactly it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::process;

/// The bpf-linker that is built against rustc's own LLVM.
pub(crate) const LINKER_VERSION: &str = "0.13.0";

/// The rustc that cargo would call here.
pub(crate) struct Toolchain {
    /// How to call it
    pub(crate) rustc: OsString,
    /// Such as 1.95.0
    pub(crate) release: String,
    /// Such as x86_64-unknown-linux-gnu
    pub(crate) host: String,
    /// Where it is installed
    pub(crate) sysroot: PathBuf,
}

impl Toolchain {
    /// Asks rustc what it is.
    pub(crate) fn detect() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = process::output(process::command(&rustc).arg("-vV"))?;
        let said = |what| version.lines().find_map(|line| line.strip_prefix(what)).map(str::to_owned);
        let release = said("release: ").context("`rustc -vV` names no release")?;
        let host = said("host: ").context("`rustc -vV` names no host")?;
        let sysroot = process::output(process::command(&rustc).args(["--print", "sysroot"]))?;
        Ok(Self { rustc, release, host, sysroot: PathBuf::from(sysroot.trim()) })
    }

    /// Folder that holds `library/`, the standard library's source.
    pub(crate) fn source(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib/src/rust")
    }

    /// Is the source of `core` there?
    pub(crate) fn has_source(&self) -> bool {
        self.source().join("library/core/src/lib.rs").is_file()
    }

    /// Folder of rustc's own shared libraries.
    pub(crate) fn libraries(&self) -> PathBuf {
        self.sysroot.join("lib")
    }

    /// The LLVM inside rustc, such as `lib/libLLVM.so.22.1-rust-1.95.0-stable`.
    pub(crate) fn llvm(&self) -> Result<PathBuf> {
        let folder = self.libraries();
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let name = entry?.file_name();
            let text = name.to_string_lossy();
            if text.starts_with("libLLVM.so.") && text.contains("-rust-") {
                return Ok(folder.join(name));
            }
        }
        bail!("{} holds no LLVM of rustc's own", folder.display())
    }

    /// One of the tools that rustup's component llvm-tools brings; it may not be there.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.sysroot.join("lib/rustlib").join(&self.host).join("bin").join(name)
    }

    /// Where the tools of this toolchain go; another rustc gets another folder.
    pub(crate) fn tools(&self, root: &Path) -> PathBuf {
        root.join("target/tools").join(format!("bpf-linker-{LINKER_VERSION}-rustc-{}", self.release))
    }

    /// The linker itself, which may not be there yet.
    pub(crate) fn linker(&self, root: &Path) -> PathBuf {
        self.tools(root).join("bin/bpf-linker")
    }
}
