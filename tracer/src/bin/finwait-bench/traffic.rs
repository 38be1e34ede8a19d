//! Runs the loads of [`crate::load`] in a fresh namespace, and waits until every socket of it has ended.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tracer::scenario::{Actor, Namespace};

use crate::load::{PORT, TRANSITIONS_OF_LISTENER, TRANSITIONS_PER_CONNECTION};
use crate::truth::Witness;

/// The whole load must be over by then.
const LOAD_LIMIT: Duration = Duration::from_secs(120);
/// The last segments must be answered by then.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);

/// Where the load's programs run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cpus {
    pub(crate) client: usize,
    pub(crate) server: usize,
}

/// What a two-process load came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churned {
    /// Transitions made, the listener's own included
    pub(crate) transitions: u64,
    /// Transitions that ftrace saw; `None` where it cannot be asked
    pub(crate) witnessed: Option<u64>,
    /// How long the load took
    pub(crate) took: Duration,
}

/// `connections` connections between two processes.
pub(crate) fn churn(namespace: &Namespace, connections: u32, cpus: Cpus) -> Result<Churned> {
    let witness = Witness::of(PORT)?;
    let start = Instant::now();
    let (mut server, mut client) = namespace.client().run(move || Ok(start_pair(connections, cpus)))??;
    let outcome = await_both(&mut client, &mut server);
    end(&mut client);
    end(&mut server);
    outcome?;
    settle(namespace.client())?;
    let took = start.elapsed();
    let witnessed = witness.map(|witness| witness.count()).transpose()?;
    Ok(Churned { transitions: transitions_of(connections), witnessed, took })
}

/// Server and client, both inside the calling thread's namespace.
fn start_pair(connections: u32, cpus: Cpus) -> Result<(Child, Child)> {
    let mut server = load("load-server", connections, cpus.server)
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the server")?;
    let progress = server.stdout.take().context("the server has no output")?;
    match load("load-client", connections, cpus.client).stdin(progress).spawn() {
        Ok(client) => Ok((server, client)),
        Err(error) => {
            end(&mut server);
            Err(error).context("starting the client")
        }
    }
}

/// Nanoseconds per connection of the one-process load.
pub(crate) fn lone(namespace: &Namespace, connections: u32, cpu: usize) -> Result<u64> {
    let run = move || Ok(load("load-lone", connections, cpu).stderr(Stdio::inherit()).output());
    let output = namespace.client().run(run)?.context("starting the load")?;
    ensure!(output.status.success(), "the load failed: {}", output.status);
    settle(namespace.client())?;
    let printed = String::from_utf8(output.stdout).context("the load's output")?;
    printed.trim().parse().with_context(|| format!("the load printed {printed:?}"))
}

/// Transitions that a load of `connections` makes.
pub(crate) fn transitions_of(connections: u32) -> u64 {
    u64::from(connections) * TRANSITIONS_PER_CONNECTION + TRANSITIONS_OF_LISTENER
}

/// Lets the namespace's loopback hand packets to any of the first two CPUs.
pub(crate) fn steer_packets(namespace: &Namespace) -> Result<()> {
    // The namespace's own sysfs is needed, hence a mount; it ends with the thread.
    let job = || -> Result<()> {
        // SAFETY: a mount namespace of its own takes no memory and no descriptor from this thread.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.context("making a mount namespace")?;
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
            .context("keeping mounts to ourselves")?;
        mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None).context("mounting sysfs")?;
        std::fs::write("/sys/class/net/lo/queues/rx-0/rps_cpus", "3").context("steering packets")?;
        Ok(())
    };
    match namespace.client().run(move || Ok(std::thread::spawn(job).join()))? {
        Ok(outcome) => outcome,
        Err(_) => bail!("the thread that steers packets panicked"),
    }
}

fn load(which: &str, connections: u32, cpu: usize) -> Command {
    // The file may have been replaced by a newer build; this process's own is meant.
    let mut command = Command::new("/proc/self/exe");
    command.arg(which).args(["--connections", &connections.to_string(), "--cpu", &cpu.to_string()]);
    command.stdin(Stdio::null());
    command
}

fn await_both(client: &mut Child, server: &mut Child) -> Result<()> {
    let end = Instant::now() + LOAD_LIMIT;
    for (name, child) in [("client", client), ("server", server)] {
        let status = await_end(child, end).with_context(|| format!("the load's {name}"))?;
        ensure!(status.success(), "the load's {name} failed: {status}");
    }
    Ok(())
}

fn await_end(child: &mut Child, end: Instant) -> Result<ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ensure!(Instant::now() < end, "did not end in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Kills and reaps `child`, if it still runs.
fn end(child: &mut Child) {
    // Both fail only for a child that has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// Waits until the namespace has no socket but mini-sockets in TIME_WAIT.
fn settle(actor: &Actor) -> Result<()> {
    let end = Instant::now() + SETTLE_LIMIT;
    loop {
        let busy = actor.run(|| Ok(sockets_in_use()))??;
        if busy == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{busy} sockets have not ended");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sockets of the calling thread's namespace, mini-sockets left out.
fn sockets_in_use() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/net/sockstat").context("counting sockets")?;
    let line = stat.lines().find(|line| line.starts_with("TCP:")).context("sockstat has no TCP line")?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "inuse");
    words.nth(1).and_then(|value| value.parse().ok()).context("sockstat has no inuse")
}
