//! The nested build of the kernel programs: the same bytes from any checkout and any cargo home.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process;
use crate::strip;
use crate::toolchain::Toolchain;

const TARGET: &str = "bpfel-unknown-none";

/// One of the objects that user space embeds.
pub(crate) struct Object {
    /// File name in `tracer/ebpf`
    pub(crate) name: &'static str,
    features: &'static [&'static str],
}

/// Every object that is committed.
pub(crate) const OBJECTS: [Object; 2] = [
    Object { name: "finwait.bpf.o", features: &[] },
    Object { name: "finwait-kernel-log.bpf.o", features: &["kernel-log"] },
];

impl Object {
    /// Where it is committed.
    pub(crate) fn path(&self, root: &Path) -> PathBuf {
        root.join("tracer/ebpf").join(self.name)
    }
}

/// What a build needs beyond the sources.
pub(crate) struct Kit {
    toolchain: Toolchain,
    linker: PathBuf,
    cargo_home: PathBuf,
}

impl Kit {
    /// The kit that `cargo xtask setup` installed for the checkout in `root`.
    pub(crate) fn find(root: &Path) -> Result<Self> {
        let toolchain = Toolchain::detect()?;
        let linker = toolchain.linker(root);
        if !toolchain.has_source() {
            bail!("the standard library's source is missing: run `cargo xtask setup` first");
        }
        if !linker.is_file() {
            bail!("bpf-linker for rustc {} is missing: run `cargo xtask setup` first", toolchain.release);
        }
        Ok(Self { toolchain, linker, cargo_home: cargo_home()? })
    }

    /// Builds `object` from the sources in `root`, which has no symbolic link in it, and hands out its bytes.
    pub(crate) fn build(&self, root: &Path, object: &Object) -> Result<Vec<u8>> {
        self.fetch(root)?;
        let places = self.places(root)?;
        let mut cargo = self.cargo(root);
        cargo.args(["build", "--quiet", "--locked", "--package", "tracer-ebpf", "--profile", "ebpf"]);
        cargo.args(["--target", TARGET, "-Z", "build-std=core"]);
        cargo.arg("--target-dir").arg(target_folder(root));
        for feature in object.features {
            cargo.args(["--features", feature]);
        }
        cargo.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", self.flags(&places));
        process::run(&mut cargo).with_context(|| format!("{} was not built", object.name))?;
        let built = target_folder(root).join(TARGET).join("ebpf/finwait-ebpf");
        let bytes = fs::read(&built).with_context(|| built.display().to_string())?;
        self.refuse_traces(object, &bytes, &places)?;
        strip::without_dwarf(&bytes)
    }

    /// The registry's source folder has to exist before its name can be mapped away.
    fn fetch(&self, root: &Path) -> Result<()> {
        let mut cargo = self.cargo(root);
        process::run(cargo.args(["fetch", "--quiet", "--locked", "--target", TARGET]))
    }

    fn cargo(&self, root: &Path) -> Command {
        let mut cargo = process::isolated_cargo();
        cargo.current_dir(root).env("RUSTC", &self.toolchain.rustc).env("CARGO_HOME", &self.cargo_home);
        cargo.env("LD_LIBRARY_PATH", self.toolchain.libraries());
        cargo
    }

    /// Folders of this machine that rustc reads sources from, and the names that the object gives them.
    /// Where several match, rustc takes the last.
    fn places(&self, root: &Path) -> Result<Vec<(PathBuf, &'static str)>> {
        let mut places = vec![(root.to_path_buf(), "/finwait"), (self.toolchain.source(), "/rust")];
        let registries = self.cargo_home.join("registry/src");
        if registries.is_dir() {
            for entry in fs::read_dir(&registries)? {
                places.push((entry?.path(), "/registry"));
            }
        }
        Ok(places)
    }

    fn flags(&self, places: &[(PathBuf, &'static str)]) -> OsString {
        let mut linker = OsString::from("linker=");
        linker.push(&self.linker);
        let mut flags: Vec<OsString> = vec!["-C".into(), linker];
        for option in ["link-arg=--btf", "debuginfo=2"] {
            flags.extend(["-C".into(), option.into()]);
        }
        for (place, name) in places {
            let mut remap = OsString::from("--remap-path-prefix=");
            remap.push(place);
            remap.push("=");
            remap.push(name);
            flags.push(remap);
        }
        flags.join("\x1f".as_ref())
    }

    /// A folder's name that survived in the object would tie it to this machine.
    fn refuse_traces(&self, object: &Object, bytes: &[u8], places: &[(PathBuf, &'static str)]) -> Result<()> {
        let homes = [&self.cargo_home, &self.toolchain.sysroot];
        for trace in places.iter().map(|(place, _)| place).chain(homes) {
            let needle = trace.as_os_str().as_encoded_bytes();
            if bytes.windows(needle.len()).any(|window| window == needle) {
                bail!("{} names a folder of this machine: {}", object.name, trace.display());
            }
        }
        Ok(())
    }
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn target_folder(root: &Path) -> PathBuf {
    root.join("target/ebpf")
}

/// Cargo's own rule, made absolute.
fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty()) {
        return Ok(std::path::absolute(home)?);
    }
    let home = std::env::home_dir().context("neither CARGO_HOME nor a home directory is known")?;
    Ok(home.join(".cargo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kit() -> Kit {
        let toolchain = Toolchain {
            rustc: "rustc".into(),
            release: "1.95.0".into(),
            host: "x86_64-unknown-linux-gnu".into(),
            sysroot: "/somewhere/rust".into(),
        };
        Kit { toolchain, linker: "/tools/bpf-linker".into(), cargo_home: "/nowhere/home".into() }
    }

    #[test]
    fn a_trace_of_the_machine_is_refused() {
        let places = kit().places(Path::new("/checkout/here")).unwrap();
        let refused = |bytes: &[u8]| kit().refuse_traces(&OBJECTS[0], bytes, &places).is_err();
        assert!(refused(b"\x7fELF /checkout/here/tracer-ebpf"));
        assert!(refused(b"/nowhere/home/registry"));
        assert!(!refused(b"/finwait/tracer-ebpf/src/main.rs"));
    }

    #[test]
    fn flags_hold_the_linker_and_each_mapping() {
        let flags = kit().flags(&kit().places(Path::new("/checkout/here")).unwrap());
        let flags = flags.to_string_lossy();
        let flags: Vec<_> = flags.split('\x1f').collect();
        assert!(flags.contains(&"linker=/tools/bpf-linker"));
        assert!(flags.contains(&"--remap-path-prefix=/checkout/here=/finwait"));
        assert!(flags.contains(&"--remap-path-prefix=/somewhere/rust/lib/rustlib/src/rust=/rust"));
    }

    #[test]
    fn sha256_of_nothing() {
        assert_eq!(sha256(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
