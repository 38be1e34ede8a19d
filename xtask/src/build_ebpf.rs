//! `cargo xtask build-ebpf`: builds the eBPF objects in this checkout.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::ebpf::{Kit, OBJECTS, Object, sha256};

/// Arguments of `build-ebpf`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail when a committed object is not what these sources give
    #[arg(long)]
    check: bool,
}

/// Builds each object, then writes it or compares it.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let kit = Kit::find(root)?;
    for object in &OBJECTS {
        let bytes = kit.build(root, object)?;
        if args.check { check(root, object, &bytes)? } else { write(root, object, &bytes)? }
    }
    Ok(())
}

fn write(root: &Path, object: &Object, bytes: &[u8]) -> Result<()> {
    let path = object.path(root);
    let news = if fs::read(&path).is_ok_and(|old| old == bytes) { "unchanged" } else { "written" };
    if news == "written" {
        let folder = path.parent().context("an object has a folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    }
    println!("{}: {news}, {} bytes, sha256 {}", object.name, bytes.len(), sha256(bytes));
    Ok(())
}

fn check(root: &Path, object: &Object, bytes: &[u8]) -> Result<()> {
    let path = object.path(root);
    let committed = fs::read(&path).with_context(|| path.display().to_string())?;
    if committed != bytes {
        bail!("{} is not what these sources give: run `cargo xtask build-ebpf`", object.name);
    }
    println!("{}: up to date, sha256 {}", object.name, sha256(bytes));
    Ok(())
}
