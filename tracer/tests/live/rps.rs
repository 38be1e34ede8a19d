//! Packets steered to another CPU: softirqs interrupt the programs all the time, and from 7.0 on tasks are preempted inside
//! them. Still every transition is received.
//!
//! Only in the guests of `cargo xtask vm` (feature `vm`): a kernel that hides transitions from every program and counter
//! when packets are steered cannot pass, and there are such. LIST.vm names what has to run there.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use finwait_core::TrackerConfig;
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer::scenario::watch::{Reading, Seen, only, track};
use tracer::scenario::{Actor, Namespace};

const RUNS: u32 = 3;
const CONNECTIONS: u64 = 5000;
/// CLOSE → SYN_SENT → ESTABLISHED → FIN_WAIT1 → FIN_WAIT2 → CLOSE, LISTEN → SYN_RECV → ESTABLISHED → CLOSE_WAIT → LAST_ACK
/// → CLOSE
const PER_CONNECTION: u64 = 10;
/// CLOSE → LISTEN → CLOSE
const OF_LISTENER: u64 = 2;
const MADE: u64 = CONNECTIONS * PER_CONNECTION + OF_LISTENER;

/// Room for every record, should the reader not get its turn.
const RING_BYTES: u32 = 16 << 20;
/// An emulated machine is slow.
const LIMIT: Duration = Duration::from_secs(300);

#[test]
fn with_steered_packets_every_transition_is_received_three_times_of_three() {
    for run in 1..=RUNS {
        let seen = steered().expect("run");
        let books = &seen.accounting;
        println!("run {run}: made {MADE}; {books:?}");
        assert_eq!(books.received, MADE, "{books:?}");
        assert_eq!((books.counted, books.lost()), (MADE, 0), "{books:?}");
        assert_eq!((books.lost_ring, books.gaps, books.chain_breaks), (0, 0, 0), "{books:?}");
        assert_eq!(books.decode_errors, 0, "{books:?}");
        assert_ne!(books.recursion_missed, Some(0), "nothing nested, so nothing was tried");
    }
}

/// What is seen of two processes that make the connections.
fn steered() -> Result<Seen> {
    let namespace = Namespace::new()?;
    namespace.client().run(|| Ok(steer_packets()))??;
    let filter = only(namespace.inode());
    let probe = Probe::attach(&ProbeConfig {
        ring_bytes: RING_BYTES,
        filter,
        tier: TierChoice::TpBtf,
        ..ProbeConfig::default()
    })?;
    let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
    Ok(track(probe, Reading::Always, config, || make(&namespace))?.1)
}

/// Lets the calling thread's loopback hand packets to any of the first two CPUs. It takes this namespace's own sysfs.
fn steer_packets() -> Result<()> {
    let steer = "mount -t sysfs sysfs /sys && echo 3 > /sys/class/net/lo/queues/rx-0/rps_cpus";
    let status = Command::new("unshare").args(["--mount", "sh", "-c", steer]).status().context("unshare")?;
    ensure!(status.success(), "steering packets: {status}");
    Ok(())
}

fn make(namespace: &Namespace) -> Result<()> {
    let (mut server, mut client) = namespace.client().run(|| Ok(start()))??;
    let end = Instant::now() + LIMIT;
    let outcome = await_end(&mut client, end).and_then(|()| await_end(&mut server, end));
    for child in [&mut client, &mut server] {
        // Both fail only for a child that has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
    outcome?;
    settle(namespace.client(), end)
}

/// Server and client, in the calling thread's namespace. The client learns from the server how far it is.
fn start() -> Result<(Child, Child)> {
    let mut server = load("load-server", 1).stdout(Stdio::piped()).spawn().context("the server")?;
    let progress = server.stdout.take().context("the server's output")?;
    let client = load("load-client", 0).stdin(progress).spawn().context("the client")?;
    Ok((server, client))
}

fn load(which: &str, cpu: usize) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait-bench"));
    command.arg(which).args(["--connections", &CONNECTIONS.to_string(), "--cpu", &cpu.to_string()]);
    command.stdin(Stdio::null());
    command
}

fn await_end(child: &mut Child, end: Instant) -> Result<()> {
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the load failed: {status}");
            return Ok(());
        }
        ensure!(Instant::now() < end, "the load did not end in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the namespace has no socket but mini-sockets in TIME_WAIT.
fn settle(actor: &Actor, end: Instant) -> Result<()> {
    while actor.run(|| Ok(sockets_in_use()))?? != 0 {
        ensure!(Instant::now() < end, "sockets have not ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn sockets_in_use() -> Result<u64> {
    let stat = std::fs::read_to_string("/proc/thread-self/net/sockstat").context("sockstat")?;
    let line = stat.lines().find(|line| line.starts_with("TCP:")).context("sockstat has no TCP line")?;
    let mut words = line.split_ascii_whitespace().skip_while(|word| *word != "inuse");
    words.nth(1).and_then(|value| value.parse().ok()).context("sockstat has no inuse")
}
