//! Under load every transition is received: made = counted by the kernel programs = received.

use std::collections::HashMap;

use anyhow::{Result, bail};
use clap::Args;
use finwait_core::record::{CloseKind, CloseRecord, FirstCloser, Role, SeenFrom, Successor};
use finwait_core::{Port, TcpState, TrackerConfig};
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer::scenario::check::{Depth, false_claims, shortfalls};
use tracer::scenario::watch::{Reading, Seen, only, track};
use tracer::scenario::{Fact, MadeSide, Namespace};

use crate::traffic::{self, Churned, Cpus};

/// Room for all that comes while the reader waits for its turn.
const RING_BYTES: u32 = 64 << 20;

/// Flags of `churn`.
#[derive(Args, Clone, Debug)]
pub(crate) struct ChurnArgs {
    /// Runs
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Connections a run
    #[arg(long, default_value_t = 40_000)]
    connections: u32,
    /// CPU of the process that connects
    #[arg(long, default_value_t = 0)]
    client_cpu: usize,
    /// CPU of the process that accepts
    #[arg(long, default_value_t = 1)]
    server_cpu: usize,
    /// Let packets be received on both CPUs. Some kernels then hide transitions from every program and counter, so
    /// instead of equality this asks for honesty: what is missing is marked, and nothing false is said
    #[arg(long)]
    rps: bool,
    /// Repeat a run, at most as often as there are runs, in which ftrace saw transitions for which the kernel called no
    /// BPF program
    #[arg(long)]
    repeat_hidden: bool,
}

/// Runs the bench; fails when a transition is missing, or with `--rps` when a claim is false.
pub(crate) fn run(args: &ChurnArgs) -> Result<()> {
    let cpus = Cpus { client: args.client_cpu, server: args.server_cpu };
    let (mut good, mut run, mut hidden) = (0, 1, 0);
    while run <= args.runs {
        let namespace = Namespace::new()?;
        if args.rps {
            traffic::steer_packets(&namespace)?;
        }
        let (made, seen) = observe(&namespace, args.connections, cpus)?;
        print_counts(run, &made, &seen);
        let kept = if args.rps {
            honest(args.connections, &seen)
        } else {
            print_uncounted(args.connections, &seen);
            complete(&made, &seen)
        };
        if !kept && args.repeat_hidden && hidden < args.runs && was_hidden(&made, &seen) {
            hidden += 1;
            continue;
        }
        good += u32::from(kept);
        run += 1;
    }
    if hidden > 0 {
        println!("runs repeated because the kernel made transitions and called no BPF program: {hidden}");
    }
    let wanted = if args.rps { "honest" } else { "complete" };
    println!("{good} of {} runs {wanted}", args.runs);
    if good == args.runs { Ok(()) } else { bail!("not every run was {wanted}") }
}

fn observe(namespace: &Namespace, connections: u32, cpus: Cpus) -> Result<(Churned, Seen)> {
    let filter = only(namespace.inode());
    let probe = Probe::attach(&ProbeConfig {
        ring_bytes: RING_BYTES,
        filter,
        tier: TierChoice::TpBtf,
        ..ProbeConfig::default()
    })?;
    let config = TrackerConfig { transitions: false, ..TrackerConfig::default() };
    track(probe, Reading::Always, config, || traffic::churn(namespace, connections, cpus))
}

fn print_counts(run: u32, made: &Churned, seen: &Seen) {
    let books = &seen.accounting;
    println!(
        "run {run}: made {}, seen by ftrace {}, counted {}, received {}; lost in the ring {}, recursion misses {}, rescued {}, \
         repeated {}; {:.0} connections a second",
        made.transitions,
        show(made.witnessed),
        books.counted,
        books.received,
        books.lost_ring,
        show(books.recursion_missed),
        show(books.rescued),
        books.duplicates,
        made.transitions as f64 / 10.0 / made.took.as_secs_f64(),
    );
}

pub(crate) fn show(count: Option<u64>) -> String {
    count.map_or_else(|| "not counted".to_owned(), |count| count.to_string())
}

/// Names the transitions for which the kernel called neither program.
fn print_uncounted(connections: u32, seen: &Seen) {
    for side in [client_side(), server_side()] {
        for (old, new) in side.transitions {
            let counted = seen.counters.pair(old, new);
            if counted < u64::from(connections) {
                let missing = u64::from(connections) - counted;
                println!("       {missing} times {} → {} was made and not counted", old.name(), new.name());
            }
        }
    }
}

/// ftrace saw all that was made; what the programs were called for was counted and received. Only the rest is missing.
fn was_hidden(made: &Churned, seen: &Seen) -> bool {
    let books = &seen.accounting;
    let all_of_the_called = books.counted == books.received && books.unrescued().unwrap_or(0) == 0;
    made.witnessed == Some(made.transitions) && books.counted < made.transitions && all_of_the_called
}

fn complete(made: &Churned, seen: &Seen) -> bool {
    let books = &seen.accounting;
    let equal = made.transitions == books.counted && made.transitions == books.received;
    equal && books.lost_ring == 0 && books.unrescued().unwrap_or(0) == 0
}

/// Every side of every connection is whole, or marked, or has not ended for the tracker; nothing false is said.
fn honest(connections: u32, seen: &Seen) -> bool {
    let (client, server) = (client_side(), server_side());
    let mut tally: HashMap<&str, u64> = HashMap::new();
    let mut lies = Vec::new();
    for record in &seen.closes {
        let made = if is_server(record) { &server } else { &client };
        lies.extend(false_claims(record, made).into_iter().map(|lie| format!("{}: {lie}", record.conn_id)));
        let standing = match (shortfalls(record, made, Depth::Transitions).is_empty(), is_marked(record)) {
            (true, _) => "whole",
            (false, true) => "marked",
            (false, false) => "neither",
        };
        *tally.entry(standing).or_default() += 1;
    }
    let count = |standing| tally.get(standing).copied().unwrap_or(0);
    let unreported = (2 * u64::from(connections)).saturating_sub(seen.closes.len() as u64);
    println!(
        "       sides: {} whole, {} with something missing and marked, {} missing and not marked, {unreported} \
         not reported of which {} are open to the tracker; false claims {}",
        count("whole"),
        count("marked"),
        count("neither"),
        seen.fates.open,
        lies.len(),
    );
    for lie in lies.iter().take(10) {
        println!("       false: {lie}");
    }
    lies.is_empty() && count("neither") == 0 && unreported <= seen.fates.open
}

/// The record itself says that something is missing.
fn is_marked(record: &CloseRecord) -> bool {
    record.chain_breaks > 0 || record.seen_from != SeenFrom::Handshake || record.kind.value().is_none()
}

/// The load listens at one port, and connects from ephemeral ones; its server never connects.
fn is_server(record: &CloseRecord) -> bool {
    let first = record.steps.first().map(|step| step.old);
    let passive = record.steps.iter().any(|step| {
        matches!(step.new, TcpState::CloseWait | TcpState::LastAck)
            || matches!(step.old, TcpState::CloseWait | TcpState::LastAck)
    });
    first == Some(TcpState::Listen) || passive || listens(record.local.port, record.remote.addr)
}

/// A client's peer is a spread destination, a server's is 127.0.0.1, where the kernel lets clients start.
fn listens(local: Option<Port>, remote: Option<std::net::IpAddr>) -> bool {
    local.is_some() && remote == Some(std::net::IpAddr::from([127, 0, 0, 1]))
}

fn client_side() -> MadeSide {
    use TcpState::{Close, Established, FinWait1, FinWait2, SynSent};
    MadeSide {
        role: Fact::True(Role::Opened),
        first_closer: Fact::True(FirstCloser::Local),
        kind: Fact::True(CloseKind::Active),
        successor: Fact::True(Successor::TimeWait),
        ..no_payload(&[Close, SynSent, Established, FinWait1, FinWait2, Close])
    }
}

fn server_side() -> MadeSide {
    use TcpState::{Close, CloseWait, Established, LastAck, Listen, SynRecv};
    MadeSide {
        role: Fact::True(Role::Accepted),
        first_closer: Fact::True(FirstCloser::Peer),
        kind: Fact::True(CloseKind::Passive),
        successor: Fact::True(Successor::Nothing),
        opener: Fact::Never,
        ..no_payload(&[Listen, SynRecv, Established, CloseWait, LastAck, Close])
    }
}

fn no_payload(states: &[TcpState]) -> MadeSide {
    let (bytes_sent, bytes_received) = (Fact::True(0), Fact::True(0));
    MadeSide { bytes_sent, bytes_received, ..MadeSide::through(states) }
}
