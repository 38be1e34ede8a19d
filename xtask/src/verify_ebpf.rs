//! `cargo xtask verify-ebpf`: the committed eBPF objects are what their sources give, byte for byte.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::ebpf::{Kit, OBJECTS, sha256};
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
    let different = different(&kit, &copy.root, root)?;
    if !different.is_empty() {
        let names = different.join(" and ");
        bail!("not what the sources give: {names}; run `cargo xtask build-ebpf` and commit the result");
    }
    if args.self_test { self_test(&kit, &copy.root, root) } else { Ok(()) }
}

/// Names of the objects committed in `root` that differ from what the sources in `clean` give.
fn different(kit: &Kit, clean: &Path, root: &Path) -> Result<Vec<&'static str>> {
    let mut different = Vec::new();
    for object in &OBJECTS {
        let committed = fs::read(object.path(root))
            .with_context(|| format!("{} is not there: run `cargo xtask build-ebpf`", object.name))?;
        let rebuilt = kit.build(clean, object)?;
        println!("{}", object.name);
        println!("  committed {}", sha256(&committed));
        println!("  rebuilt   {}", sha256(&rebuilt));
        if committed != rebuilt {
            different.push(object.name);
        }
    }
    Ok(different)
}

/// The comparison has passed; with another constant in the copy it must fail for every object.
fn self_test(kit: &Kit, clean: &Path, root: &Path) -> Result<()> {
    if change_constant(&clean.join("tracer-ebpf/src"))? == 0 {
        bail!("self-test: no source in tracer-ebpf/src says {:?}", LICENSE[0]);
    }
    println!("self-test: the same with another licence in the sources");
    let different = different(kit, clean, root)?;
    if let Some(object) = OBJECTS.iter().find(|object| !different.contains(&object.name)) {
        bail!("self-test: {} passed although its source was changed", object.name);
    }
    println!("self-test passed: unchanged sources were accepted, changed ones refused");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_changes_wherever_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("hooks/license.rs");
        fs::create_dir(folder.path().join("hooks")).unwrap();
        fs::write(&nested, "*b\"Dual MIT/GPL\\0\"").unwrap();
        fs::write(folder.path().join("main.rs"), "//! nothing").unwrap();
        assert_eq!(change_constant(folder.path()).unwrap(), 1);
        assert_eq!(fs::read_to_string(nested).unwrap(), "*b\"Dual BSD/GPL\\0\"");
        assert_eq!(change_constant(folder.path()).unwrap(), 0);
    }
}
