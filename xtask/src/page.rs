//! `cargo xtask page`: the web page in a real browser. Root, because the test observes live traffic.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{process, tracefs};

/// What drives the browser, and Debian's packages that bring both.
const DRIVER: &str = "/usr/bin/chromedriver";
const PACKAGES: [&str; 2] = ["chromium", "chromium-driver"];

/// Installs the browser where it is missing, then runs the tests. Their pictures are in `target/page-screenshots`.
pub(crate) fn run(root: &Path) -> Result<()> {
    if !Path::new(DRIVER).exists() {
        install()?;
    }
    let mut tests = process::cargo();
    tests.current_dir(root).args(["test", "--package", "tracer", "--features", "page", "--test", "page"]);
    process::run(&mut tracefs::seen_by(tests))
}

fn install() -> Result<()> {
    println!("{DRIVER} is missing: installing {}", PACKAGES.join(" and "));
    let apt = |arguments: &[&str]| {
        let mut apt = process::command("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        process::run(&mut apt)
    };
    let install = [&["install", "-y", "--no-install-recommends"][..], &PACKAGES].concat();
    if apt(&["update"]).and_then(|()| apt(&install)).is_err() {
        bail!("{} could not be installed with apt-get: install what brings {DRIVER}", PACKAGES.join(" and "));
    }
    Ok(())
}
