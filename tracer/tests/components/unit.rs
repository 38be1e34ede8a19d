//! deploy/systemd/finwait.service: what systemd thinks of it, and whether finwait gets by with what it gives.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use tracer::scenario::{Namespace, catalog};

use crate::alone;
use crate::program::{NOBODY, folder, wait_for};
use crate::served::{FINWAIT, Served};

const UNIT: &str = include_str!("../../../deploy/systemd/finwait.service");
/// systemd's own measure, from 0 (nothing allowed) to 10; what it finds is what finwait is for: BPF, other
/// processes, the network.
const EXPOSURE: f64 = 3.5;

fn setting(name: &str) -> Result<&'static str> {
    let line = UNIT.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    line.with_context(|| name.to_owned())
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_closed() -> Result<()> {
    let folder = folder()?;
    let path = folder.path().join("finwait.service");
    // systemd also looks for the program.
    std::fs::write(&path, UNIT.replace("/usr/local/bin/finwait ", "/bin/true "))?;
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&path).output();
        output.context("systemd-analyze, of Debian's package systemd")
    };
    let verified = analyze(&["verify", "--man=no"])?;
    let said = String::from_utf8_lossy(&verified.stderr);
    ensure!(verified.status.success() && said.trim().is_empty(), "{said}");
    let security = String::from_utf8(analyze(&["security", "--offline=yes", "--no-pager"])?.stdout)?;
    let overall = security.lines().find(|line| line.contains("Overall exposure level"));
    let level =
        overall.and_then(|line| line.split(": ").nth(1)?.split(' ').next()).context(security.clone())?;
    ensure!(level.parse::<f64>()? < EXPOSURE, "{security}");
    Ok(())
}

#[test]
fn finwait_needs_no_more_than_the_unit_gives_and_gives_it_up() -> Result<()> {
    let _alone = alone();
    let namespace = Namespace::new()?;
    // An unprivileged user cannot look into the folder of this checkout.
    let folder = folder()?;
    let program = folder.path().join("finwait");
    std::fs::copy(FINWAIT, &program)?;
    let capabilities = setting("AmbientCapabilities")?.split(' ');
    let capabilities: Vec<_> =
        capabilities.map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase())).collect();
    let capabilities = format!("-all,{}", capabilities.join(","));
    let nobody = NOBODY.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--no-new-privs"]);
    for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
        command.args([set, &capabilities]);
    }
    command.arg("--").arg(&program).args([
        "serve",
        "--web.listen-address",
        "127.0.0.1:0",
        "--group-by",
        "role",
    ]);
    command.args(["--netns", &namespace.inode().0.to_string()]);
    let served = Served::started(&mut command)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", served.pid()))?;
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        let held = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':')).context(set)?;
        let held = u64::from_str_radix(held.trim(), 16)?;
        // Before 5.19 CAP_BPF may have to stay.
        ensure!(held & !(1 << 39) == 0, "{set} is {held:#x}");
    }
    catalog::run(&[catalog::CLIENT_CLOSES_FIRST], &namespace)?;
    let metrics = wait_for("the closes of both ends", || {
        let metrics = served.metrics()?;
        let closed = |role| metrics.closes(&[("role", role)]);
        Ok((closed("opened") >= 1 && closed("accepted") >= 1).then_some(metrics))
    })?;
    ensure!(metrics.text.contains("tier=\"tp_btf\""), "{}", metrics.text);
    served.stop().map(drop)
}
