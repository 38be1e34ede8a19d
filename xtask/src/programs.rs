//! Other people's programs from Debian's packages, for the tests that use them. Installing one starts no service and
//! enables none: the tests start their own, with folders of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{apt, process};

/// A package, a program by which it is known to be there, and the service that it brings.
struct Program {
    package: &'static str,
    /// A folder named `*` stands for any
    path: &'static str,
    service: Option<&'static str>,
}

const PROGRAMS: [Program; 7] = [
    Program { package: "prometheus", path: "/usr/bin/promtool", service: Some("prometheus.service") },
    Program { package: "nginx-light", path: "/usr/sbin/nginx", service: Some("nginx.service") },
    Program { package: "wrk", path: "/usr/bin/wrk", service: None },
    Program { package: "tshark", path: "/usr/bin/tshark", service: None },
    Program { package: "zstd", path: "/usr/bin/zstd", service: None },
    // Before the server, which would make a cluster as soon as it is installed.
    Program {
        package: "postgresql-common",
        path: "/usr/bin/pg_createcluster",
        service: Some("postgresql.service"),
    },
    Program { package: "postgresql", path: "/usr/lib/postgresql/*/bin/pgbench", service: None },
];

/// What captures beside the live tests.
const TCPDUMP: Program = Program { package: "tcpdump", path: "/usr/bin/tcpdump", service: None };

/// What Debian asks before it starts a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";
const NO_SERVICE: &str = "#!/bin/sh\nexit 101\n";
/// What the server's package asks before it makes a cluster.
const CLUSTERS: &str = "/etc/postgresql-common/createcluster.conf";
const NO_CLUSTER: &str = "create_main_cluster = false\n";

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    install_missing(&PROGRAMS)
}

/// Installs tcpdump where it is missing.
pub(crate) fn install_tcpdump() -> Result<()> {
    install_missing(&[TCPDUMP])
}

fn install_missing(programs: &[Program]) -> Result<()> {
    let missing: Vec<_> = programs.iter().filter(|program| !is_there(Path::new(program.path))).collect();
    if missing.is_empty() {
        let names: Vec<_> = programs.iter().map(|program| program.package).collect();
        println!("there: {}", names.join(", "));
        return Ok(());
    }
    process::output(process::command("apt-get").args(["update", "-qq"])).context("apt has no lists")?;
    let _policy = Replaced::file(POLICY, NO_SERVICE, 0o755)?;
    for program in missing {
        let _clusters = match program.package {
            "postgresql" => Some(Replaced::file(CLUSTERS, NO_CLUSTER, 0o644)?),
            _ => None,
        };
        apt::install(program.package)?;
        if let Some(service) = program.service {
            // Where there is no systemd there is nothing to disable.
            let _ = process::output(process::command("systemctl").args(["disable", "--quiet", service]));
        }
    }
    Ok(())
}

/// Whether there is a file at `path`, where `*` is a folder of any name.
fn is_there(path: &Path) -> bool {
    let parts: Vec<_> = path.iter().collect();
    let Some(star) = parts.iter().position(|part| *part == "*") else { return path.exists() };
    let above: PathBuf = parts[..star].iter().collect();
    let below: PathBuf = parts[star + 1..].iter().collect();
    let Ok(entries) = fs::read_dir(above) else { return false };
    entries.flatten().any(|entry| entry.path().join(&below).exists())
}

/// A file of the system with other content; dropped, it is as it was.
struct Replaced {
    path: PathBuf,
    /// Where the original waits
    kept: Option<PathBuf>,
}

impl Replaced {
    fn file(path: impl Into<PathBuf>, content: &str, mode: u32) -> Result<Self> {
        let path = path.into();
        let aside = path.with_extension("finwait-kept");
        let kept = if path.exists() {
            fs::rename(&path, &aside).with_context(|| path.display().to_string())?;
            Some(aside)
        } else {
            None
        };
        // From here on the original comes back, whatever fails.
        let replaced = Self { path, kept };
        fs::write(&replaced.path, content).with_context(|| replaced.path.display().to_string())?;
        fs::set_permissions(&replaced.path, fs::Permissions::from_mode(mode))?;
        Ok(replaced)
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        let restored = match &self.kept {
            Some(kept) => fs::rename(kept, &self.path),
            None => fs::remove_file(&self.path),
        };
        if let Err(error) = restored {
            eprintln!("{} could not be restored: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_comes_back_and_one_that_was_not_there_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "as it was").unwrap();
        {
            let _old = Replaced::file(&old, "other", 0o644).unwrap();
            let _new = Replaced::file(&new, "other", 0o755).unwrap();
            assert_eq!(fs::read_to_string(&old).unwrap(), "other");
            assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o755);
        }
        assert_eq!(fs::read_to_string(&old).unwrap(), "as it was");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_star_stands_for_a_folder_of_any_name() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("15/bin")).unwrap();
        fs::write(folder.path().join("15/bin/pgbench"), "").unwrap();
        assert!(is_there(&folder.path().join("*/bin/pgbench")));
        assert!(!is_there(&folder.path().join("*/bin/initdb")));
        assert!(!is_there(&folder.path().join("16/bin/pgbench")));
    }
}
