//! The kernel modules that live tests need, with all those that they depend on, as an archive for the guest. A
//! distribution's kernel has some of them built in; what a kernel lacks is told, not an error: its tests will say more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::ebpf::sha256;
use crate::process;
use crate::vm::cpio::Archive;

/// Links and tunnels, packets, IPv6, sockets told by the kernel, packets dropped or delayed.
const WANTED: [&str; 12] = [
    "ipv6",
    "tun",
    "veth",
    "dummy",
    "af_packet",
    "inet_diag",
    "tcp_diag",
    "nf_tables",
    "nft_limit",
    "nft_reject",
    "nft_reject_inet",
    "sch_netem",
];

/// Where the guest finds them, and what to do in which order: `load NAME`, `builtin NAME` or `missing NAME`
const FOLDER: &str = "/lib/modules";
const PLAN: &str = "/etc/modules";

/// The modules of one kernel.
struct Tree {
    /// By name, underscores for dashes
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// What is loaded, each after what it depends on, and with its content.
#[derive(Default)]
struct Plan {
    lines: Vec<String>,
    loaded: Vec<(String, Vec<u8>)>,
}

/// Name of the archive in a cache: it changes with what it is to hold.
pub(super) fn archive_name() -> String {
    format!("modules-{}.cpio", &sha256(WANTED.join(" ").as_bytes())[..8])
}

/// The archive for the kernel whose packages lie in `unpacked`; `busybox` decompresses.
pub(super) fn archive(unpacked: &Path, busybox: &Path) -> Result<Vec<u8>> {
    let tree = Tree::read(&find_tree(unpacked)?)?;
    let mut plan = Plan::default();
    for name in WANTED {
        if !plan.add(&tree, name, busybox)? {
            plan.lines.push(format!("missing {name}"));
        }
    }
    let mut archive = Archive::default();
    for (name, content) in &plan.loaded {
        archive.program(&format!("{FOLDER}/{name}.ko"), content)?;
    }
    archive.program(PLAN, format!("{}\n", plan.lines.join("\n")).as_bytes())?;
    archive.finish()
}

/// `lib/modules/VERSION`, or the same below `usr`.
fn find_tree(unpacked: &Path) -> Result<PathBuf> {
    for folder in ["lib/modules", "usr/lib/modules"] {
        let Ok(entries) = fs::read_dir(unpacked.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            if path.join("kernel").is_dir() {
                return Ok(path);
            }
        }
    }
    bail!("the packages hold no kernel modules")
}

impl Tree {
    fn read(folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        let listed = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let builtin = listed.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(Self { files, builtin })
    }
}

/// Finds the modules below `folder`.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if let Some(name) = name_of(&path) {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// `nft_limit` of `…/nft_limit.ko.xz`; `None` where it is no module.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, rest) = file.split_once('.')?;
    matches!(rest, "ko" | "ko.xz").then(|| name.replace('-', "_"))
}

impl Plan {
    /// Loads `name` after what it depends on; false if this kernel lacks any of them.
    fn add(&mut self, tree: &Tree, name: &str, busybox: &Path) -> Result<bool> {
        if self.loaded.iter().any(|(loaded, _)| loaded == name) {
            return Ok(true);
        }
        if tree.builtin.contains(name) {
            self.lines.push(format!("builtin {name}"));
            return Ok(true);
        }
        let Some(path) = tree.files.get(name) else { return Ok(false) };
        let content = content(path, busybox)?;
        for needed in depends(&content) {
            if !self.add(tree, &needed, busybox)? {
                return Ok(false);
            }
        }
        self.lines.push(format!("load {name}"));
        self.loaded.push((name.to_owned(), content));
        Ok(true)
    }
}

fn content(path: &Path, busybox: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let output = process::command(busybox).args(["xz", "-dc"]).arg(path).output().context("busybox")?;
    if !output.status.success() {
        bail!("{} could not be decompressed: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// The module's own list of what it depends on: `depends=a,b` in its section `.modinfo`, between zeros.
fn depends(module: &[u8]) -> Vec<String> {
    let entry = module.split(|byte| *byte == 0).find_map(|entry| entry.strip_prefix(b"depends="));
    let list = String::from_utf8_lossy(entry.unwrap_or_default()).into_owned();
    list.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_depends_on() {
        assert_eq!(
            depends(b"\x7fELF\0license=GPL\0depends=nf-tables,libcrc32c\0retpoline=Y\0"),
            ["nf_tables", "libcrc32c"]
        );
        assert!(depends(b"license=GPL\0depends=\0").is_empty() && depends(b"").is_empty());
    }

    #[test]
    fn modules_are_told_from_other_files() {
        assert_eq!(name_of(Path::new("kernel/net/nft-limit.ko.xz")).as_deref(), Some("nft_limit"));
        assert_eq!(name_of(Path::new("tun.ko")).as_deref(), Some("tun"));
        assert_eq!(name_of(Path::new("modules.builtin")), None);
    }

    #[test]
    fn what_a_module_depends_on_is_loaded_first() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("lib/modules/6.1");
        fs::create_dir_all(tree.join("kernel/net")).unwrap();
        let write = |name: &str, text: &str| fs::write(tree.join("kernel/net").join(name), text).unwrap();
        write("tcp_diag.ko", "x\0depends=inet_diag\0");
        write("inet_diag.ko", "x\0depends=\0");
        write("sch_netem.ko", "x\0depends=gone\0");
        fs::write(tree.join("modules.builtin"), "kernel/net/ipv6/ipv6.ko\n").unwrap();
        let tree = Tree::read(&find_tree(folder.path()).unwrap()).unwrap();
        let mut plan = Plan::default();
        let mut add = |name| plan.add(&tree, name, Path::new("none")).unwrap();
        assert!(add("tcp_diag") && add("inet_diag") && add("ipv6"));
        assert!(!add("sch_netem") && !add("tun"), "one lacks what it needs, one is not there");
        assert_eq!(plan.lines, ["load inet_diag", "load tcp_diag", "builtin ipv6"]);
    }
}
