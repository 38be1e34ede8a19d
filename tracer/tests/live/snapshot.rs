//! sock_diag: what dumps show of sockets of known state, in namespaces of their own, with and without privileges.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use caps::{CapSet, CapsHashSet};
use finwait_core::observation::Family;
use finwait_core::{CgroupId, Cookie, MonoNs, NetNs, TcpState};
use rustix::net::sockopt::socket_cookie;
use socket2::SockRef;
use tracer::probe::host::monotonic_now;
use tracer::scenario::Namespace;
use tracer::snapshot::{Dump, Namespaces, Plan, Row, SocketKind, States, Sweeper, TimerKind, Unreachable};

use crate::process::wait_for;

/// A connection whose ends are in the namespace's threads' hands.
pub(crate) struct Connection {
    pub(crate) client: TcpStream,
    pub(crate) server: TcpStream,
    listener: TcpListener,
}

impl Connection {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        let address = namespace.fresh_address();
        Self::between(namespace, SocketAddr::new(address, 0), address)
    }

    /// Of a listener at `at`, reached through `address`.
    fn between(namespace: &Namespace, at: SocketAddr, address: IpAddr) -> Self {
        let listener = namespace.server().run(move || Ok(TcpListener::bind(at)?)).expect("listen");
        let to = SocketAddr::new(address, listener.local_addr().expect("address").port());
        let client = namespace.client().run(move || Ok(TcpStream::connect(to)?)).expect("connect");
        let server = listener.accept().expect("accept").0;
        Self { client, server, listener }
    }

    /// Client's and server's addresses.
    pub(crate) fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.client.local_addr().expect("local"), self.client.peer_addr().expect("remote"))
    }

    /// The client closes, the server does not: CLOSE_WAIT there.
    pub(crate) fn close_client(self) -> (TcpStream, TcpListener) {
        drop(self.client);
        assert_eq!((&self.server).read(&mut [0]).expect("end"), 0);
        (self.server, self.listener)
    }
}

pub(crate) fn only(namespace: &Namespace) -> Namespaces {
    Namespaces::open(Some(BTreeSet::from([namespace.inode()]))).expect("open")
}

fn cookie(socket: &impl AsFd) -> Option<Cookie> {
    Some(Cookie(socket_cookie(socket).expect("SO_COOKIE")))
}

fn inode(socket: &impl AsFd) -> Option<u64> {
    Some(rustix::fs::fstat(socket).expect("fstat").st_ino)
}

fn from(rows: &[Row], local: SocketAddr) -> Option<&Row> {
    rows.iter().find(|row| row.local == local)
}

fn dump(namespaces: &mut Namespaces, netns: NetNs) -> Dump {
    namespaces.dump(netns, States::CONNECTIONS).expect("dump")
}

/// Dumps until the socket at `local` is in `state`.
fn row_in(namespaces: &mut Namespaces, netns: NetNs, local: SocketAddr, state: TcpState) -> Row {
    wait_for(state.name(), || {
        from(&dump(namespaces, netns).rows, local).filter(|row| row.state == state).cloned()
    })
}

/// The cgroup2 that this process is in.
fn own_cgroup() -> Option<CgroupId> {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?;
    std::fs::metadata(format!("{root}{path}")).ok().map(|found| CgroupId(found.ino()))
}

#[test]
fn both_ends_of_a_connection_are_shown_as_the_sockets_say() {
    let namespace = Namespace::new().expect("namespace");
    let mut namespaces = only(&namespace);
    assert_eq!(namespaces.open_ones().collect::<Vec<_>>(), [namespace.inode()]);
    let connection = Connection::new(&namespace);
    let (client, server) = connection.ends();
    let before = monotonic_now();
    let dump = dump(&mut namespaces, namespace.inode());
    assert!(before <= dump.begin && dump.begin < dump.end && dump.end <= monotonic_now());
    assert!(!dump.interrupted);
    assert_eq!(dump.rows.len(), 2, "listeners are left out: {:#?}", dump.rows);
    for (socket, local, remote) in
        [(&connection.client, client, server), (&connection.server, server, client)]
    {
        let row = from(&dump.rows, local).expect("a row");
        assert_eq!((row.remote, row.state, row.kind), (remote, TcpState::Established, SocketKind::Full));
        assert_eq!((row.cookie, row.inode), (cookie(socket), inode(socket)));
        assert_eq!((row.netns, row.family, row.uid), (namespace.inode(), Family::Inet, Some(0)));
        assert_eq!(row.cgroup, own_cgroup());
        assert_eq!((row.retransmits, row.unread_bytes, row.unacked_bytes), (Some(0), Some(0), Some(0)));
        assert!(row.bytes_acked.is_some() && row.bytes_received == Some(0), "{row:#?}");
        assert!(row.last_ack_recv_ms.is_some_and(|ms| ms < 20_000), "{row:#?}");
    }
}

#[test]
fn a_closed_end_is_a_mini_socket_with_its_cookie_and_time_left() {
    let namespace = Namespace::new().expect("namespace");
    let (netns, mut namespaces) = (namespace.inode(), only(&namespace));
    let connection = Connection::new(&namespace);
    let (client, server) = connection.ends();
    let of_client = cookie(&connection.client);
    let (socket, _listener) = connection.close_client();

    // Until its FIN is acknowledged, a full socket is there.
    let mini = wait_for("the mini-socket", || {
        from(&dump(&mut namespaces, netns).rows, client).filter(|row| row.is_mini_socket()).cloned()
    });
    assert_eq!((mini.kind, mini.state), (SocketKind::TimeWait, TcpState::FinWait2));
    assert_eq!(mini.cookie, of_client);
    assert_eq!((mini.inode, mini.uid, mini.cgroup, mini.bytes_acked), (None, None, None, None));
    let timer = mini.timer.expect("a timer");
    assert_eq!(timer.kind, TimerKind::TimeWait);
    assert!((1..=65_000).contains(&timer.expires_ms), "{timer:?}");
    let waiting = row_in(&mut namespaces, netns, server, TcpState::CloseWait);
    assert_eq!(
        (waiting.kind, waiting.inode, waiting.cookie),
        (SocketKind::Full, inode(&socket), cookie(&socket))
    );

    drop(socket);
    let ended = row_in(&mut namespaces, netns, client, TcpState::TimeWait);
    assert_eq!((ended.kind, ended.cookie), (SocketKind::TimeWait, of_client));
    let timer = ended.timer.expect("a timer");
    assert!((50_000..=65_000).contains(&timer.expires_ms), "{timer:?}");
    let only_mini = namespaces.dump(netns, States::of(&[TcpState::TimeWait])).expect("dump");
    assert_eq!(only_mini.rows.iter().map(|row| row.state).collect::<Vec<_>>(), [TcpState::TimeWait]);
}

#[test]
fn ipv6_and_mapped_ipv4_are_dumped_too() {
    let namespace = Namespace::new().expect("namespace");
    let (netns, mut namespaces) = (namespace.inode(), only(&namespace));
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let native = Connection::between(&namespace, any, Ipv6Addr::LOCALHOST.into());
    let mapped = Connection::between(&namespace, any, namespace.fresh_address());
    let rows = dump(&mut namespaces, netns).rows;
    assert_eq!(rows.len(), 4, "{rows:#?}");
    let family = |local| from(&rows, local).map(|row| (row.family, row.remote));
    let (client, server) = native.ends();
    assert_eq!(family(client), Some((Family::Inet6, server)));
    let (client, server) = mapped.ends();
    assert_eq!(family(client), Some((Family::Inet, server)));
    assert_eq!(family(server), Some((Family::Inet6, client)), "an IPv4 address, though the socket is IPv6");
}

/// Runs `work` on a thread that has no capability.
fn without_capabilities<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            give_up_capabilities();
            work()
        });
        thread.join().expect("thread")
    })
}

fn give_up_capabilities() {
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &CapsHashSet::new()).expect("capset");
    }
}

#[test]
fn a_kept_socket_dumps_another_namespace_after_capabilities_were_dropped() {
    let namespace = Namespace::new().expect("namespace");
    let mut namespaces = only(&namespace);
    let connection = Connection::new(&namespace);
    SockRef::from(&connection.client).set_mark(7).expect("SO_MARK");
    let (client, _) = connection.ends();
    let with = dump(&mut namespaces, namespace.inode());
    let without = without_capabilities(|| dump(&mut namespaces, namespace.inode()));
    let (with, without) = (from(&with.rows, client).expect("row"), from(&without.rows, client).expect("row"));
    assert_eq!((with.mark, without.mark), (Some(7), None), "the mark needs CAP_NET_ADMIN");
    // The rest is the same, but for the time that has passed.
    let times = |row: &Row| {
        [row.last_data_sent_ms, row.last_data_recv_ms, row.last_ack_recv_ms].map(|time| time.is_some())
    };
    assert_eq!(times(with), times(without));
    let still = |row: &Row| Row {
        mark: None,
        last_data_sent_ms: None,
        last_data_recv_ms: None,
        last_ack_recv_ms: None,
        ..row.clone()
    };
    assert_eq!(still(with), still(without));
}

#[test]
fn without_capabilities_only_the_own_namespace_opens_and_the_reason_is_given() {
    let namespace = Namespace::new().expect("namespace");
    let own = tracer::probe::host::netns_of("/proc/self/ns/net".as_ref()).expect("own");
    let wanted = BTreeSet::from([own, namespace.inode()]);
    let (open, reasons) = without_capabilities(|| {
        let namespaces = Namespaces::open(Some(wanted)).expect("open");
        let reasons: Vec<String> = namespaces.unreachable().iter().map(ToString::to_string).collect();
        (namespaces.open_ones().collect::<Vec<_>>(), reasons)
    });
    assert_eq!(open, [own]);
    let about = format!("network namespace {} (", namespace.inode());
    assert!(
        reasons.iter().any(|reason| reason.starts_with(&about) && reason.contains("CAP_SYS_ADMIN")),
        "{reasons:#?}"
    );
}

/// A thread of this process that is in `netns`.
fn led_to(netns: NetNs) -> Option<()> {
    let text = format!("net:[{netns}]");
    let mut threads = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let there = |thread: std::fs::DirEntry| {
        std::fs::read_link(thread.path().join("ns/net"))
            .is_ok_and(|link| link.to_str() == Some(text.as_str()))
    };
    threads.any(there).then_some(())
}

#[test]
fn a_namespace_that_appears_is_opened_and_one_that_vanishes_is_let_go() {
    let first = Namespace::new().expect("namespace");
    let second = Namespace::new().expect("namespace");
    let (early, late) = (first.inode(), second.inode());
    drop(second);
    wait_for("the second namespace's threads to end", || led_to(late).is_none().then_some(()));
    let mut namespaces = Namespaces::open(Some(BTreeSet::from([early, late]))).expect("open");
    assert_eq!(namespaces.open_ones().collect::<Vec<_>>(), [early]);
    let unreachable = namespaces.unreachable();
    let missing =
        |missing: &Unreachable| matches!(missing, Unreachable::NotFound { netns } if *netns == late);
    assert!(unreachable.iter().any(missing), "{unreachable:?}");
    assert!(without_capabilities(|| namespaces.refresh()).closed.is_empty(), "it is still there");
    drop(first);
    let gone = wait_for("the namespace to be let go", || {
        let closed = namespaces.refresh().closed;
        (!closed.is_empty()).then_some(closed)
    });
    assert_eq!(gone, [early]);
    assert_eq!(namespaces.open_ones().count(), 0);
    // Without the filter, whatever is made later is found by looking again.
    let mut namespaces = Namespaces::open(None).expect("open");
    let third = Namespace::new().expect("namespace");
    assert!(namespaces.refresh().opened.contains(&third.inode()));
    assert!(namespaces.dump(third.inode(), States::CONNECTIONS).expect("dump").rows.is_empty());
}

#[test]
fn the_callers_thread_stays_in_its_namespace() {
    let namespace = Namespace::new().expect("namespace");
    let here = || std::fs::read_link("/proc/thread-self/ns/net").expect("link");
    let before = here();
    only(&namespace);
    assert_eq!(here(), before);
}

#[test]
fn the_sweeper_answers_requests_and_keeps_a_second_between_sweeps() {
    let namespace = Namespace::new().expect("namespace");
    let connection = Connection::new(&namespace);
    let (client, _) = connection.ends();
    let plan = Plan { states: States::TIME_WAIT, interval: Some(Duration::from_millis(1)) };
    let sweeper = Sweeper::start(only(&namespace), plan).expect("start");
    let next = || sweeper.results().recv_timeout(Duration::from_secs(20)).expect("a sweep");
    let (first, second) = (next(), next());
    assert!(!first.requested && first.dumps.len() == 1);
    assert!(first.dumps.iter().flatten().all(|dump| dump.rows.is_empty()), "{first:#?}");
    let pause = |before: MonoNs, after: MonoNs| after.since(before).expect("forwards");
    assert!(pause(first.end, second.begin) >= 1_000_000_000, "{first:#?} {second:#?}");
    assert!(sweeper.request(States::CONNECTIONS));
    let asked = wait_for("the answer", || Some(next()).filter(|sweep| sweep.requested));
    let rows: Vec<&Row> = asked.dumps.iter().flatten().flat_map(|dump| &dump.rows).collect();
    assert!(rows.iter().any(|row| row.local == client), "{rows:#?}");
}
