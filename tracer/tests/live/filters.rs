//! The kernel filter: what passes, what does not, and that nothing else changes.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener, TcpStream};

use anyhow::Result;
use finwait_core::observation::Stream;
use finwait_core::{Observation, StateChange, TcpState, TrackerConfig};
use tracer::probe::{KernelCounters, TierChoice};
use tracer::scenario::watch::{Reading, only, track_with};
use tracer::scenario::{Made, MadeConnection, MadeListener, MadeSide, Namespace, SideName, catalog};
use tracer_common::KernelFilter;

use crate::support::attach;

/// Below the ephemeral ports, so no client has one of them.
const WANTED: u16 = 7001;
const OTHER: u16 = 7002;

type Transition = (TcpState, TcpState);

/// Every transition that passes `filter` while `traffic` runs.
fn passing<T>(
    filter: KernelFilter,
    traffic: impl FnOnce() -> Result<T>,
) -> (T, Vec<StateChange>, KernelCounters) {
    let mut changes = Vec::new();
    let probe = attach(filter, TierChoice::TpBtf);
    let watched = track_with(probe, Reading::Always, TrackerConfig::default(), traffic, |observation| {
        if let Observation::StateChange(change) = observation {
            changes.push(StateChange::clone(change));
        }
    });
    let (made, seen) = watched.expect("watch");
    (made, changes, seen.counters)
}

/// One connection to `port` whose client closes first, and its listener.
fn connection_to(namespace: &Namespace, port: u16) -> Result<()> {
    let at = SocketAddr::new(namespace.fresh_address(), port);
    let listener = namespace.server().run(move || Ok(TcpListener::bind(at)?))?;
    let client = namespace.client().run(move || Ok(TcpStream::connect(at)?))?;
    let accepting = listener.try_clone()?;
    let server = namespace.server().run(move || Ok(accepting.accept()?.0))?;
    let answer = namespace.server().start(move || {
        std::io::Read::read(&mut &server, &mut [0])?;
        Ok(())
    });
    namespace.client().close(client)?;
    answer.wait()?;
    wait_until_gone(namespace, port)?;
    Ok(namespace.server().close(listener)?)
}

/// Nothing but listeners and mini-sockets is left at `port`.
fn wait_until_gone(namespace: &Namespace, port: u16) -> Result<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    loop {
        let table = namespace.client().run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/tcp")?))?;
        let port = format!(":{port:04X} ");
        let busy = table.lines().any(|line| {
            let state = line.split_ascii_whitespace().nth(3).unwrap_or_default();
            line.contains(&port) && !matches!(state, "0A" | "06")
        });
        if !busy {
            return Ok(());
        }
        anyhow::ensure!(std::time::Instant::now() < end, "a connection does not end:\n{table}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

fn counted(transitions: impl IntoIterator<Item = Transition>) -> BTreeMap<Transition, usize> {
    let mut counts = BTreeMap::new();
    for transition in transitions {
        *counts.entry(transition).or_insert(0) += 1;
    }
    counts
}

fn of(changes: &[StateChange]) -> BTreeMap<Transition, usize> {
    counted(changes.iter().map(|change| (change.old, change.new)))
}

fn from_closed_or_listening(transition: &Transition) -> bool {
    matches!(transition.0, TcpState::Close | TcpState::Listen)
}

/// What a connection's client makes, its server, and its listener.
fn parts() -> [Vec<Transition>; 3] {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent};
    let client = MadeSide::through(&[Close, SynSent, Established, FinWait1, FinWait2, Close]).transitions;
    let server = MadeSide::through(&[Listen, SynRecv, Established, CloseWait, LastAck, Close]).transitions;
    [client, server, MadeListener::TRANSITIONS.to_vec()]
}

/// Of two connections, what passes when one side of the first is wanted.
fn expected_for(wanted: &[Transition]) -> BTreeMap<Transition, usize> {
    let both = parts().into_iter().flatten().flat_map(|transition| [transition; 2]);
    let always = both.filter(from_closed_or_listening);
    counted(always.chain(wanted.iter().copied().filter(|transition| !from_closed_or_listening(transition))))
}

fn two_connections(namespace: &Namespace) -> Result<()> {
    connection_to(namespace, WANTED)?;
    connection_to(namespace, OTHER)
}

#[test]
fn local_port_passes_its_side_and_whatever_has_no_port_yet() {
    let namespace = Namespace::new().expect("namespace");
    let mut filter = only(namespace.inode());
    (filter.local_port_count, filter.local_ports[0]) = (1, WANTED);
    let ((), changes, _) = passing(filter, || two_connections(&namespace));
    assert_eq!(of(&changes), expected_for(&parts()[1]));
}

#[test]
fn remote_port_passes_the_other_side() {
    let namespace = Namespace::new().expect("namespace");
    let mut filter = only(namespace.inode());
    (filter.remote_port_count, filter.remote_ports[0]) = (1, WANTED);
    let ((), changes, _) = passing(filter, || two_connections(&namespace));
    assert_eq!(of(&changes), expected_for(&parts()[0]));
}

#[test]
fn namespace_passes_nothing_of_another() {
    let (ours, other) = (Namespace::new().expect("namespace"), Namespace::new().expect("namespace"));
    let (made, changes, counters) = passing(only(ours.inode()), || {
        catalog::CLIENT_CLOSES_FIRST.run(&other)?;
        let made = catalog::CLIENT_CLOSES_FIRST.run(&ours)?;
        catalog::CLIENT_CLOSES_FIRST.run(&other)?;
        Ok(made)
    });
    assert_eq!(changes.len(), made.transition_count());
    assert!(changes.iter().all(|change| change.netns == Some(ours.inode())));
    assert_eq!(counters.transitions(), changes.len() as u64);
}

#[test]
fn a_filtered_event_takes_no_sequence_number() {
    let (ours, other) = (Namespace::new().expect("namespace"), Namespace::new().expect("namespace"));
    let ((), changes, _) = passing(only(ours.inode()), || {
        for _ in 0..5 {
            catalog::LINGER_ZERO.run(&other)?;
            catalog::LINGER_ZERO.run(&ours)?;
        }
        Ok(())
    });
    let mut numbers: HashMap<Stream, Vec<u64>> = HashMap::new();
    for change in &changes {
        numbers.entry(change.stream).or_default().push(change.seq);
    }
    assert!(!numbers.is_empty());
    for (stream, mut numbers) in numbers {
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "{stream:?}");
    }
}

/// Native IPv6, IPv4-mapped IPv6 and IPv4, one connection each.
fn three_families(namespace: &Namespace) -> Result<Made> {
    let mut made = catalog::IPV6.run(namespace)?;
    made.extend(catalog::MAPPED.run(namespace)?);
    made.extend(catalog::CLIENT_CLOSES_FIRST.run(namespace)?);
    Ok(made)
}

/// Transitions of `connection` among `changes`, by its ports.
fn seen_of(connection: &MadeConnection, changes: &[StateChange]) -> BTreeMap<Transition, usize> {
    let ports = [SideName::Client, SideName::Server].map(|side| {
        let (local, remote) = connection.ends(side);
        (Some(local.port()), Some(remote.port()))
    });
    of(&changes
        .iter()
        .filter(|change| {
            ports.contains(&(change.inet_sport.map(|port| port.0), change.dport.map(|port| port.0)))
        })
        .cloned()
        .collect::<Vec<_>>())
}

/// Everything but what precedes the client's port.
fn known_by_ports(connection: &MadeConnection) -> BTreeMap<Transition, usize> {
    let sides = connection.sides().flat_map(|(_, side)| side.transitions.clone());
    counted(sides.filter(|transition| transition.0 != TcpState::Close))
}

#[test]
fn ipv4_alone_passes_mapped_addresses_too() {
    let namespace = Namespace::new().expect("namespace");
    let filter = KernelFilter { family: 2, ..only(namespace.inode()) };
    let (made, changes, _) = passing(filter, || three_families(&namespace));
    let [native, mapped, plain] = made.connections.as_slice() else { panic!("{made:?}") };
    assert_eq!(seen_of(mapped, &changes), known_by_ports(mapped));
    assert_eq!(seen_of(plain, &changes), known_by_ports(plain));
    let native: Vec<_> = seen_of(native, &changes).into_keys().collect();
    assert!(native.iter().all(from_closed_or_listening), "{native:?}");
}

#[test]
fn ipv6_alone_drops_ipv4_sockets() {
    let namespace = Namespace::new().expect("namespace");
    let filter = KernelFilter { family: 10, ..only(namespace.inode()) };
    let (made, changes, _) = passing(filter, || three_families(&namespace));
    let [native, _, plain] = made.connections.as_slice() else { panic!("{made:?}") };
    assert_eq!(seen_of(native, &changes), known_by_ports(native));
    let plain: Vec<_> = seen_of(plain, &changes).into_keys().collect();
    assert!(plain.iter().all(from_closed_or_listening), "{plain:?}");
}
