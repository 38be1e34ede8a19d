//! `cargo xtask verify-ebpf`: the committed eBPF objects are what their sources give, byte for byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::ebpf::{Kit, OBJECTS, Object, sha256};
use crate::sources;

/// A constant that every object carries, and what the self-test turns it into.
const LICENSE: [&str; 2] = ["Dual MIT/GPL", "Dual BSD/GPL"];

/// Arguments of `verify-ebpf`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Prove that the comparison passes on these sources and fails once a constant in them is changed
    #[arg(long)]
    self_test: bool,
}

/// Rebuilds in a clean copy and compares.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let kit = Kit::find(root)?;
    let copy = sources::copy(root)?;
    for object in &OBJECTS {
        compare(&kit, &copy.root, root, object)?;
    }
    if args.self_test { self_test(&kit, &copy.root, root) } else { Ok(()) }
}

/// Builds `object` from the sources in `clean` and holds it against the one committed in `root`.
fn compare(kit: &Kit, clean: &Path, root: &Path, object: &Object) -> Result<()> {
    let path = object.path(root);
    let committed = fs::read(&path)
        .with_context(|| format!("{} is not there: run `cargo xtask build-ebpf`", object.name))?;
    let rebuilt = kit.build(clean, object)?;
    println!("{}", object.name);
    println!("  committed {}", sha256(&committed));
    println!("  rebuilt   {}", sha256(&rebuilt));
    if committed != rebuilt {
        bail!("{} differs from what its sources give: run `cargo xtask build-ebpf`, commit it", object.name);
    }
    Ok(())
}

/// The comparison has passed; with another constant in the copy it must fail for every object.
fn self_test(kit: &Kit, clean: &Path, root: &Path) -> Result<()> {
    if change_constant(&clean.join("tracer-ebpf/src"))? == 0 {
        bail!("self-test: no source in tracer-ebpf/src says {:?}", LICENSE[0]);
    }
    println!("with another licence in the sources:");
    for object in &OBJECTS {
        match compare(kit, clean, root, object) {
            Err(error) if error.to_string().contains("differs") => println!("  refused, as it should be"),
            Err(error) => return Err(error.context("self-test")),
            Ok(()) => bail!("self-test: {} passed although its source was changed", object.name),
        }
    }
    println!("self-test passed");
    Ok(())
}

/// Changes the constant in every source under `folder`; how many files had it.
fn change_constant(folder: &Path) -> Result<usize> {
    let mut changed = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            changed += change_constant(&path)?;
            continue;
        }
        let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if source.contains(LICENSE[0]) {
            fs::write(&path, source.replace(LICENSE[0], LICENSE[1]))?;
            changed += 1;
        }
    }
    Ok(changed)
}
