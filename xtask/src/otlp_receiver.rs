//! The environment of `tracer/tests/otlp/receiver.py`: Python's packages of OpenTelemetry's protobuf definitions, in a folder of
//! their own under `target`. Nothing of the system's Python changes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{apt, process};

/// Exactly these, and nothing that they might draw in.
const PACKAGES: [&str; 2] = ["opentelemetry-proto==1.45.2", "protobuf==7.36.2"];
/// Where the tests look for it, below the root.
const FOLDER: &str = "target/otlp-receiver";
/// Names what was installed, once it is complete.
const MARK: &str = "installed";

/// Makes the environment, unless it is there, and returns its Python.
pub(crate) fn install(root: &Path) -> Result<PathBuf> {
    let folder = root.join(FOLDER);
    let python = folder.join("bin/python3");
    let mark = folder.join(MARK);
    let wanted = PACKAGES.join("\n");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) && works(&python) {
        println!("{} is there: {}", folder.display(), PACKAGES.join(", "));
        return Ok(python);
    }
    println!("installing {} into {}", PACKAGES.join(", "), folder.display());
    make_environment(&folder)?;
    let mut pip = process::command(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]).args(PACKAGES);
    process::output(&mut pip).context("Python's packages could not be installed")?;
    fs::write(&mark, wanted).with_context(|| mark.display().to_string())?;
    Ok(python)
}

/// A fresh environment, with the system's Python. Debian has the module for it in a package of its own.
fn make_environment(folder: &Path) -> Result<()> {
    let make = || {
        let mut python = process::command("python3");
        process::output(python.args(["-m", "venv", "--clear"]).arg(folder))
    };
    if make().is_err() {
        apt::install("python3-venv")?;
        make().context("python3 makes no environment")?;
    }
    Ok(())
}

/// The system's Python may have gone or changed since.
fn works(python: &Path) -> bool {
    let mut import = process::command(python);
    process::output(import.args(["-c", "import opentelemetry.proto, google.protobuf"])).is_ok()
}
