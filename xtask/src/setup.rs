//! `cargo xtask setup`: installs what building the eBPF objects takes beyond the stable toolchain.

use std::path::Path;

use anyhow::Result;

use crate::rust_src::Choice;
use crate::toolchain::Toolchain;
use crate::{linker, rust_src};

/// Arguments of `setup`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to take the standard library's source from; auto tries rustup first
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    rust_src: Choice,
}

/// Installs what is missing and says what that was.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let toolchain = Toolchain::detect()?;
    println!("rustc {} in {}", toolchain.release, toolchain.sysroot.display());
    rust_src::install(&toolchain, args.rust_src)?;
    linker::install(root, &toolchain)
}
