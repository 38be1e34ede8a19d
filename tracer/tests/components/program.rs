//! Other people's programs as children: they end with the test, however it ends.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;
use tracer::scenario::{Actor, ScenarioError};

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Owns nothing; PostgreSQL refuses to run as root.
pub(crate) const NOBODY: u32 = 65534;

/// A program that runs until it is dropped, and then its whole process group goes.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// What it wrote
    pub(crate) log: PathBuf,
}

impl Program {
    /// Starts it on `actor`'s thread, and so in its network namespace, or else on this one; output goes to `log`.
    ///
    /// The kernel kills it too, when that thread ends without having dropped this: setpriv asks for that.
    pub(crate) fn start(actor: Option<&Actor>, command: &[&str], log: &Path) -> Result<Self> {
        let output = std::fs::File::create(log).with_context(|| log.display().to_string())?;
        let errors = output.try_clone()?;
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]).args(command);
        bound.stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = match actor {
            Some(actor) => actor.run(move || bound.spawn().map_err(unexpected))?,
            None => bound.spawn()?,
        };
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// What it wrote so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only for one that has ended already.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs a program to its end on `actor`'s thread, and so in its network namespace.
pub(crate) fn run<S: AsRef<OsStr>>(actor: &Actor, command: &[S]) -> Result<Output> {
    let [program, arguments @ ..] = command else { bail!("no program") };
    let mut run = Command::new(program);
    run.args(arguments).stdin(Stdio::null());
    let name = format!("{:?}", program.as_ref());
    let output = actor.run(move || run.output().map_err(unexpected)).context(name.clone())?;
    if !output.status.success() {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("{name} failed ({}): {out}{err}", output.status);
    }
    Ok(output)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unexpected(error: std::io::Error) -> ScenarioError {
    ScenarioError::unexpected(error.to_string())
}

/// A folder that goes with the test, and that anyone may look into.
pub(crate) fn folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("finwait-components-").tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// A port of the loopback that nobody has.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Looks until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The body of what is served at `path`; HTTP/1.0, so that it comes in one piece.
pub(crate) fn get(address: SocketAddr, path: &str, headers: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{path}: {head}\n{body}");
    }
    Ok(body.to_owned())
}

/// The newest version of PostgreSQL's programs, which Debian keeps apart from the rest.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").context(INSTALL)?;
    let folders = versions.flatten().map(|entry| entry.path().join("bin"));
    folders.filter(|folder| folder.join("pgbench").exists()).max().context(INSTALL)
}

pub(crate) const INSTALL: &str = "`cargo xtask components` installs what this takes";
