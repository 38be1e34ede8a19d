//! How many connections of each group are open, in which state and for how long.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod script;

use finwait_core::TcpState::{self, Close, CloseWait, Established, FinWait1, FinWait2, LastAck, SynSent};
use finwait_core::observation::{
    AcceptEvent, DumpScope, Hooks, Program, SocketKind, SocketRow, Stream, Subject, TimeWaitSource,
};
use finwait_core::record::Role;
use finwait_core::{
    Cookie, GroupId, GroupPopulation, Grouping, MonoNs, Observation, OpenConnection, Port, PortsTaken,
    SockAddr, Tracker, TrackerConfig,
};
use script::time_wait::TimeWaits;
use script::{MILLI, SECOND, Script, Sock};

const UNKNOWN: GroupId = GroupId(0);
const OPENED: GroupId = GroupId(1);
const ACCEPTED: GroupId = GroupId(2);
const OWNED: GroupId = GroupId(3);

/// Accepted connections are apart once it is known who accepted them.
#[derive(Debug)]
struct ByRole;

impl Grouping for ByRole {
    fn group(&mut self, connection: &OpenConnection<'_>) -> GroupId {
        match (connection.role(), connection.owner()) {
            (Some(Role::Opened), _) => OPENED,
            (Some(Role::Accepted), Some(_)) => OWNED,
            (Some(Role::Accepted), None) => ACCEPTED,
            _ => UNKNOWN,
        }
    }
}

/// The groups after `script`, `at` some time.
fn population(script: &Script, at: u64) -> Vec<GroupPopulation> {
    let mut tracker = Tracker::with_grouping(TrackerConfig::default(), Box::new(ByRole));
    script.observations.iter().for_each(|observation| tracker.observe(observation));
    let mut groups = tracker.population(MonoNs(at));
    groups.resize(4, GroupPopulation::default());
    groups
}

fn sockets(groups: &[GroupPopulation], group: GroupId, state: TcpState) -> u64 {
    let place = TcpState::ALL.iter().position(|each| *each == state).unwrap();
    groups[group.0 as usize].sockets[place]
}

fn state_ns(groups: &[GroupPopulation], group: GroupId, state: TcpState) -> u128 {
    let place = TcpState::ALL.iter().position(|each| *each == state).unwrap();
    groups[group.0 as usize].state_ns[place]
}

fn opened(groups: &[GroupPopulation]) -> [u64; 4] {
    std::array::from_fn(|group| groups[group].opened)
}

fn accept(at: u64, cookie: u64) -> Observation {
    let subject = Subject {
        kind: SocketKind::Full,
        cookie: Some(Cookie(cookie)),
        sock_addr: None::<SockAddr>,
        netns: None,
        local_addr: None,
        local_port: None,
        remote_addr: None,
        remote_port: None,
    };
    Observation::Accept(Box::new(AcceptEvent {
        at: MonoNs(at),
        stream: Stream { cpu: 0, program: Program::Accept, depth: 0 },
        seq: 1,
        subject,
        task: Some(script::task(300, "nginx")),
    }))
}

#[test]
fn each_is_counted_in_the_state_it_is_in_and_the_time_there_adds_up() {
    let mut script = Script::new();
    let mut sock = script::opened(&mut script, 1);
    let open = population(&script, 2 * MILLI);
    assert_eq!((sockets(&open, OPENED, Established), opened(&open)), (1, [0, 1, 0, 0]));
    assert_eq!(state_ns(&open, OPENED, SynSent), 300_000);
    assert_eq!(state_ns(&open, OPENED, Established), 700_000);
    sock.received(1);
    script.step(&mut sock, 10 * MILLI, Established, CloseWait);
    let waiting = population(&script, 30 * MILLI);
    assert_eq!(state_ns(&waiting, OPENED, Established), 8_700_000);
    assert_eq!(state_ns(&waiting, OPENED, CloseWait), 20_000_000);
    assert_eq!(waiting[1].oldest_close_wait, Some(MonoNs(10 * MILLI)));
    script.step(&mut sock, 40 * MILLI, CloseWait, LastAck).step(&mut sock, 41 * MILLI, LastAck, Close);
    let closed = population(&script, 5 * SECOND);
    assert!(closed.iter().all(|group| group.sockets.iter().all(|sockets| *sockets == 0)), "{closed:?}");
    assert_eq!(state_ns(&closed, OPENED, CloseWait), 30_000_000, "time stands still after the end");
    assert_eq!((closed[1].opened, closed[1].oldest_close_wait), (1, None));
}

#[test]
fn an_accepted_one_counts_as_opened_when_it_is_accepted_and_its_owner_known() {
    let hooks = Hooks { accepts: true, ..Hooks::default() };
    let mut script = Script::new().hooks(hooks);
    script::accepted(&mut script, 2);
    let before = population(&script, 2 * MILLI);
    assert_eq!((sockets(&before, ACCEPTED, Established), opened(&before)), (1, [0, 0, 0, 0]));
    script.observations.push(accept(3 * MILLI, 2));
    let after = population(&script, 4 * MILLI);
    assert_eq!(sockets(&after, ACCEPTED, Established), 0);
    assert_eq!((sockets(&after, OWNED, Established), opened(&after)), (1, [0, 0, 0, 1]));
    assert_eq!(
        state_ns(&after, ACCEPTED, Established) + state_ns(&after, OWNED, Established),
        2_800_000,
        "no time is lost between groups"
    );
}

#[test]
fn one_whose_accept_escaped_counts_with_its_next_step_and_without_the_hook_at_once() {
    let mut script = Script::new().hooks(Hooks { accepts: true, ..Hooks::default() });
    let mut sock = script::accepted(&mut script, 2);
    sock.by(300, "nginx");
    script.step(&mut sock, 9 * MILLI, Established, FinWait1);
    assert_eq!(opened(&population(&script, 10 * MILLI)).iter().sum::<u64>(), 1);
    let mut script = Script::new();
    script::accepted(&mut script, 2);
    assert_eq!(opened(&population(&script, 2 * MILLI)), [0, 0, 1, 0]);
}

#[test]
fn the_oldest_close_wait_is_each_groups_own() {
    let mut script = Script::new();
    let mut opener = script::opened(&mut script, 1);
    let mut child = script::accepted(&mut script, 2);
    script.step(&mut opener, 20 * MILLI, Established, CloseWait);
    script.step(&mut child, 30 * MILLI, Established, CloseWait);
    let groups = population(&script, 40 * MILLI);
    assert_eq!(groups[1].oldest_close_wait, Some(MonoNs(20 * MILLI)));
    assert_eq!(groups[2].oldest_close_wait, Some(MonoNs(30 * MILLI)));
    assert_eq!(groups[0].oldest_close_wait, None);
}

/// Where the script's client goes to, and how many ports are taken there.
fn taken(script: &Script) -> Option<PortsTaken> {
    let mut tracker = Tracker::new(TrackerConfig::default());
    script.observations.iter().for_each(|observation| tracker.observe(observation));
    let ports = tracker.ports();
    assert!(ports.len() <= 1, "{ports:?}");
    ports.into_values().next()
}

#[test]
fn a_connection_holds_its_port_until_its_time_wait_socket_is_over() {
    let hooks = Hooks { time_wait: TimeWaitSource::Sweep, ..Hooks::default() };
    let mut script = Script::new().hooks(hooks);
    let mut sock = script::opened(&mut script, 1);
    assert_eq!(taken(&script), Some(PortsTaken { connections: 1, time_wait: 0 }));
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq().acked(1);
    script.step(&mut sock, 11 * MILLI, FinWait1, FinWait2);
    sock.flags(true, true).received(1);
    script.step(&mut sock, 12 * MILLI, FinWait2, Close);
    assert_eq!(taken(&script), Some(PortsTaken { connections: 0, time_wait: 1 }));
    // Without anything that watches time-wait sockets nothing is said of them.
    let mut blind = Script::new();
    blind.observations.extend(script.observations.iter().skip(1).cloned());
    assert_eq!(taken(&blind), None);
}

#[test]
fn an_accepted_connection_holds_no_ephemeral_port() {
    let mut script = Script::new();
    script::accepted(&mut script, 2);
    assert_eq!(taken(&script), None);
}

/// A listed connection of 10.0.0.1 with these ports.
fn listed(cookie: u64, local: u16, remote: u16) -> SocketRow {
    let sock = Sock::new(cookie, 100, 200);
    let ports = (Port::new(local), Port::new(remote));
    SocketRow {
        mini: false,
        inode: Some(5),
        timer_ns: None,
        local_port: ports.0,
        remote_port: ports.1,
        ..script::time_wait::row(&sock, Established, 0)
    }
}

#[test]
fn what_was_there_before_counts_where_it_looks_opened_here_and_another_shows_the_way() {
    let mut script = Script::new();
    let sock = Sock::new(1, 1000, 9000);
    let (client, service) = (sock.now.inet_sport.unwrap().0, sock.now.dport.unwrap().0);
    assert!(client >= 32_768 && service < 32_768, "{client} {service}");
    let rows = vec![listed(11, client + 1, service), listed(12, 443, 50_000), listed(13, client + 2, 40_000)];
    script.dump(MILLI / 2, MILLI / 2 + 1000, DumpScope::Connections, rows);
    assert_eq!(taken(&script), None, "nobody was seen to open a connection");
    script::opened(&mut script, 1);
    assert_eq!(taken(&script), Some(PortsTaken { connections: 2, time_wait: 0 }));
}
