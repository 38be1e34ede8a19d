//! `finwait stuck`: who holds what stays, and ages that are true.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use finwait_core::{Pid, TcpState};
use serde_json::Value;
use tracer::enrich::{Cgroups, KernelSymbols};
use tracer::scenario::Namespace;
use tracer::snapshot::Namespaces;
use tracer::stuck::{Lookups, Memory, Owner, Picture, StuckSocket, gather};

use crate::process::{FINWAIT, wait_for};
use crate::snapshot::{Connection, only};

struct Looking {
    namespaces: Namespaces,
    memory: Memory,
    lookups: Lookups,
}

impl Looking {
    fn at(namespace: &Namespace) -> Self {
        let lookups = Lookups { cgroups: Cgroups::find().ok() };
        Self { namespaces: only(namespace), memory: Memory::default(), lookups }
    }

    fn look(&mut self) -> Picture {
        gather(&mut self.namespaces, &mut self.memory, &mut self.lookups, 0)
    }

    /// Looks until something in `state` has been seen twice.
    fn stuck_in(&mut self, state: TcpState) -> StuckSocket {
        wait_for(state.name(), || self.look().sockets.into_iter().find(|socket| socket.row.state == state))
    }
}

fn inode(socket: &impl AsFd) -> Option<u64> {
    Some(rustix::fs::fstat(socket).expect("fstat").st_ino)
}

#[test]
fn a_close_wait_names_the_process_that_has_not_closed() {
    let namespace = Namespace::new().expect("namespace");
    let (socket, _listener) = Connection::new(&namespace).close_client();
    let mut looking = Looking::at(&namespace);
    let stuck = looking.stuck_in(TcpState::CloseWait);
    assert_eq!(stuck.row.inode, inode(&socket));
    let Owner::Processes(holders) = &stuck.owner else { panic!("{stuck:#?}") };
    assert_eq!(holders.iter().map(|holder| holder.pid).collect::<Vec<_>>(), [Pid(std::process::id())]);
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let own = own.lines().find_map(|line| line.strip_prefix("0::"));
    assert_eq!(stuck.cgroup.as_ref().map(|cgroup| cgroup.path.as_str()), own);
    // Its other end was closed by us: nobody holds a mini-socket.
    let orphan = looking.stuck_in(TcpState::FinWait2);
    assert_eq!((orphan.owner, orphan.row.inode), (Owner::Nobody, None));
}

#[test]
fn a_connection_closed_before_it_was_accepted_is_nobodys_yet() {
    let namespace = Namespace::new().expect("namespace");
    let address = namespace.fresh_address();
    let listener = namespace.server().run(move || Ok(TcpListener::bind((address, 0))?)).expect("listen");
    let to = listener.local_addr().expect("address");
    drop(namespace.client().run(move || Ok(TcpStream::connect(to)?)).expect("connect"));
    let stuck = Looking::at(&namespace).stuck_in(TcpState::CloseWait);
    assert_eq!((stuck.row.inode, stuck.owner), (None, Owner::NotAccepted));
}

#[test]
fn an_age_never_claims_more_than_has_passed() {
    let namespace = Namespace::new().expect("namespace");
    let mut looking = Looking::at(&namespace);
    // A first look with nothing in it: what comes later was not there.
    assert!(looking.look().sockets.is_empty());
    let connection = Connection::new(&namespace);
    let before = Instant::now();
    let (_socket, _listener) = connection.close_client();
    let after = Instant::now();
    let first = looking.stuck_in(TcpState::CloseWait);
    sleep(Duration::from_millis(300));
    let asked = Instant::now();
    let later = looking.stuck_in(TcpState::CloseWait);
    let ns = |span: Duration| u64::try_from(span.as_nanos()).expect("short");
    for stuck in [&first, &later] {
        assert!(stuck.age.at_least_ns <= ns(before.elapsed()), "{stuck:#?}");
        assert!(stuck.age.at_most_ns.is_some(), "its beginning was watched: {stuck:#?}");
    }
    assert!(later.age.at_least_ns >= first.age.at_least_ns + 250_000_000, "{first:#?} {later:#?}");
    assert!(later.age.at_most_ns >= Some(ns(asked - after)), "{later:#?}");
}

#[test]
fn the_kernels_own_times_prove_the_age_of_a_half_closed_socket_at_the_first_look() {
    let namespace = Namespace::new().expect("namespace");
    let connection = Connection::new(&namespace);
    let before = Instant::now();
    connection.client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert_eq!((&connection.server).read(&mut [0]).expect("end"), 0);
    // The acknowledgement of the FIN may be delayed by 40 ms.
    sleep(Duration::from_millis(400));
    let look = Looking::at(&namespace).look();
    let [half_closed] = look.sockets.as_slice() else { panic!("{look:#?}") };
    assert_eq!(half_closed.row.state, TcpState::FinWait2);
    assert!(matches!(half_closed.owner, Owner::Processes(_)), "{half_closed:#?}");
    let passed = u64::try_from(before.elapsed().as_nanos()).expect("short");
    let proven = half_closed.age.at_least_ns;
    assert!((200_000_000..=passed).contains(&proven), "{proven} of {passed}");
    assert_eq!(half_closed.age.at_most_ns, None, "its beginning was not watched");
    assert_eq!(look.younger, 1, "CLOSE_WAIT was seen but once");
}

/// A running `finwait stuck`. Dropped, it is killed.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> (Self, impl Iterator<Item = Value> + use<>) {
        let mut command = Command::new(FINWAIT);
        command
            .arg("stuck")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = crate::support::spawn(&mut command);
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        (Self(child), lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watching_counts_the_age_of_what_appears() {
    let namespace = Namespace::new().expect("namespace");
    let netns = namespace.inode().to_string();
    let began = Instant::now();
    let (_running, mut lines) = Running::start(&["--watch", "1s", "--json", "--netns", &netns]);
    let summary = lines.next().expect("a summary");
    assert_eq!((&summary["schema"], &summary["sockets"]), (&"finwait.stuck_summary/1".into(), &0.into()));
    assert_eq!((&summary["namespaces"], &summary["failures"]), (&1.into(), &serde_json::json!([])));
    let (_socket, _listener) = Connection::new(&namespace).close_client();
    let start = Instant::now();
    let stuck = lines.find(|line| line["state"] == "CLOSE_WAIT").expect("a socket");
    let age = |name: &str| stuck[name].as_u64().map(Duration::from_nanos);
    assert!(age("age_at_least_ns").is_some_and(|age| age <= start.elapsed()), "{stuck:#}");
    assert!(age("age_at_most_ns").is_some_and(|age| age <= began.elapsed()), "{stuck:#}");
    assert_eq!(stuck["holders"][0]["pid"], std::process::id());
}

#[test]
fn one_look_is_a_table_and_older_keeps_what_is_proven() {
    let namespace = Namespace::new().expect("namespace");
    let netns = namespace.inode().to_string();
    let connection = Connection::new(&namespace);
    connection.client.shutdown(std::net::Shutdown::Write).expect("shutdown");
    assert_eq!((&connection.server).read(&mut [0]).expect("end"), 0);
    sleep(Duration::from_secs(2));
    let stuck = |arguments: &[&str]| {
        let mut command = Command::new(FINWAIT);
        let output = crate::support::output(command.args(["stuck", "--netns", &netns]).args(arguments));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        (String::from_utf8(output.stdout).expect("text"), String::from_utf8(output.stderr).expect("text"))
    };
    let (table, _) = stuck(&[]);
    let states: BTreeSet<&str> = table.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(states, BTreeSet::from(["CLOSE_WAIT", "FIN_WAIT2"]), "{table}");
    assert!(table.lines().skip(1).all(|line| line.contains(&format!("/{}", std::process::id()))), "{table}");
    // What the kernel states proves FIN_WAIT2 to be older than two looks could; nothing proves it of CLOSE_WAIT.
    let (table, notes) = stuck(&["--older", "1500ms"]);
    assert!(table.contains("FIN_WAIT2") && !table.contains("CLOSE_WAIT"), "{table}");
    assert!(notes.contains("1 more connection is closing"), "{notes}");
    let (table, _) = stuck(&["--older", "1h"]);
    assert_eq!(table, "nothing is stuck\n");
}

#[test]
fn kernel_functions_of_the_close_have_addresses() {
    let symbols = KernelSymbols::read(&["tcp_fin", "tcp_v4_rcv", "no_such_function"]).expect("kallsyms");
    let range = symbols.ranges_of("tcp_v4_rcv").next().expect("tcp_v4_rcv");
    assert!(range.end > range.start && range.end - range.start < 1 << 20, "{range:x?}");
    assert_eq!(symbols.resolve(range.start), Some("tcp_v4_rcv"));
    assert_eq!(symbols.resolve(range.end - 1), Some("tcp_v4_rcv"));
    assert_ne!(symbols.resolve(range.end), Some("tcp_v4_rcv"));
    assert_eq!(symbols.absent().collect::<Vec<_>>(), ["no_such_function"]);
}
