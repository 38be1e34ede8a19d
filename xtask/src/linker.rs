//! bpf-linker, built against the LLVM inside rustc, so that the two can never disagree.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::toolchain::{LINKER_VERSION, Toolchain};

/// Builds the linker unless one for this rustc is there and runs.
pub(crate) fn install(root: &Path, toolchain: &Toolchain) -> Result<()> {
    if works(root, toolchain) {
        println!("bpf-linker {LINKER_VERSION} for rustc {}: there", toolchain.release);
        return Ok(());
    }
    println!("bpf-linker {LINKER_VERSION} for rustc {}: building, a minute or two", toolchain.release);
    build(root, toolchain)?;
    if !works(root, toolchain) {
        bail!("bpf-linker was built but does not run: {}", toolchain.linker(root).display());
    }
    println!("bpf-linker {LINKER_VERSION} for rustc {}: built", toolchain.release);
    Ok(())
}

/// The linker answers with the version wanted, so it also finds its LLVM.
fn works(root: &Path, toolchain: &Toolchain) -> bool {
    let mut linker = process::command(toolchain.linker(root));
    linker.arg("--version").env("LD_LIBRARY_PATH", toolchain.libraries());
    process::output(&mut linker).is_ok_and(|said| said.trim().ends_with(LINKER_VERSION))
}

fn build(root: &Path, toolchain: &Toolchain) -> Result<()> {
    let tools = toolchain.tools(root);
    if tools.exists() {
        fs::remove_dir_all(&tools).with_context(|| tools.display().to_string())?;
    }
    let prefix = tools.join("llvm");
    link_llvm(&prefix.join("lib"), &toolchain.llvm()?)?;
    let mut cargo = process::isolated_cargo();
    cargo.args(["install", "bpf-linker", "--quiet", "--force", "--locked", "--version", LINKER_VERSION]);
    cargo.args(["--no-default-features", "--features", "llvm-22", "--root"]).arg(&tools);
    cargo.env("LLVM_PREFIX", &prefix).env("RUSTC", &toolchain.rustc);
    process::run(&mut cargo)
}

/// A folder where the linker's build finds `libLLVM.so`, and the linker itself the name that it was linked with.
fn link_llvm(folder: &Path, llvm: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let name = llvm.file_name().context("the LLVM library has no name")?;
    symlink(llvm, folder.join("libLLVM.so"))?;
    symlink(llvm, folder.join(name))?;
    Ok(())
}
