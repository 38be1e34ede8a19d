//! Ways to open: both ends at once, segments of the handshake lost, and children that come later or sooner than usual.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use finwait_core::TcpState::{
    Close, CloseWait, Established, FinWait1, FinWait2, LastAck, Listen, SynRecv, SynSent,
};
use finwait_core::record::{CloseKind, CloseRecord, Role};
use finwait_core::{MonoNs, TcpState};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};
use tracer::scenario::sides::unanswered;
use tracer::scenario::stage::{Listening, Pair, Stage, connect, connect_socket};
use tracer::scenario::{
    Actor, Context, Fact, Made, MadeConnection, MadeSide, Result, ScenarioError, SideName,
};

use super::{
    client_closes_first, close_both, exchange, now, orderly, server_closes_first, set_sysctl, set_tcp,
};
use crate::support::{on_loopback, over_link};
use crate::wire::link::{Fate, Toward};

/// The first retransmission timeout of a handshake (TCP_TIMEOUT_INIT) is 1 s.
const SYN_TIMEOUT_NS: u64 = 900_000_000;

/// One connection and its listener.
fn made(stage: &Stage<'_>, listening: Listening, connections: Vec<MadeConnection>) -> Result<Made> {
    Ok(Made { connections, listeners: vec![stage.close_listener(listening)?] })
}

/// When `record` entered `state`.
fn entered(record: &CloseRecord, state: TcpState) -> MonoNs {
    record.steps.iter().find(|step| step.new == state).expect("the state was entered").at
}

#[test]
fn simultaneous_open() {
    let run = over_link(|stage, link| {
        let IpAddr::V4(server_at) = stage.address() else { unreachable!("the link is IPv4") };
        let client_at = Ipv4Addr::new(10, 77, 0, 1);
        let (local, remote) = (SocketAddr::from((client_at, 5000)), SocketAddr::from((server_at, 6000)));
        link.every(Fate::Hold, |segment, _| segment.flags.syn && !segment.flags.ack);
        let open = |actor: &Actor, from: SocketAddr, to: SocketAddr| {
            actor.start(move || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_reuse_address(true)?;
                socket.bind(&from.into())?;
                connect_socket(socket, to)
            })
        };
        let (client, server) = (open(stage.client(), local, remote), open(stage.server(), remote, local));
        link.wait_kept(2)?;
        link.heal();
        link.release()?;
        let (client, server) = (client.wait()?, server.wait()?);
        exchange(&client, &server)?;
        close_both((stage.client(), client), (stage.server(), server))?;
        stage.settle(local, remote)?;
        let opening = [Close, SynSent, SynRecv, Established];
        let side = |rest: &[TcpState], opener| {
            let states: Vec<_> = opening.iter().chain(rest).copied().collect();
            let mut side = MadeSide::through(&states);
            side.role = Fact::Shown(Role::OpenedBoth);
            side.opener = Fact::Shown(opener);
            side
        };
        let mut mine = side(&[FinWait1, FinWait2, Close], stage.client().owner());
        let mut theirs = side(&[CloseWait, LastAck, Close], stage.server().owner());
        orderly(true).describe(stage, &mut mine, &mut theirs);
        // Whether the SYN of one that also accepted was counted is not shown.
        mine.bytes_sent = Fact::True(super::REQUEST as u64);
        theirs.bytes_sent = Fact::True(super::REPLY as u64);
        let name = "simultaneous open";
        let connection = MadeConnection { name, local, remote, client: mine, server: Some(theirs) };
        Ok(Made { connections: vec![connection], listeners: Vec::new() })
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert!(client.handshake_ns.value().is_some() && server.handshake_ns.value().is_some());
}

#[test]
fn final_ack_of_the_handshake_lost() {
    let run = over_link(|stage, link| {
        let listening = stage.listen()?;
        link.first(1, Fate::Drop, |segment, toward| {
            toward == Toward::Server && segment.flags.ack && !segment.flags.syn
        });
        let to = listening.address;
        let client = stage.client().run(move || connect(to))?;
        // For the client it is open; the server sends its SYN-ACK again, and only then makes the child.
        let pair = stage.pair_of(client, &listening)?;
        let connection = client_closes_first(stage, "final ACK lost", pair)?;
        made(stage, listening, vec![connection])
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    let (here, there) = (entered(client, Established), entered(server, SynRecv));
    assert!(there.since(here).is_some_and(|ns| ns > SYN_TIMEOUT_NS), "{here:?} {there:?}");
    let answers = run.sent(0, SideName::Server, |segment| segment.flags.syn);
    assert_eq!(answers, 2, "SYN-ACKs");
}

#[test]
fn backlog_full() {
    let run = on_loopback(|stage| {
        let listening = stage.listen_with(SocketAddr::new(stage.address(), 0), 0, None)?;
        let to = listening.address;
        let occupant = stage.client().run(move || connect(to))?;
        listening.wait_acceptable()?;
        let waiting = stage.client().start(move || connect(to));
        wait_for_a_syn(stage, to)?;
        // Room again: the next SYN is answered.
        let first = accept_here(&listening)?;
        let (local, remote) = (occupant.local_addr()?, to);
        let pair = Pair { client: occupant, server: first, local, remote };
        let second = stage.pair_of(waiting.wait()?, &listening)?;
        let connections = vec![
            client_closes_first(stage, "backlog full, occupant", pair)?,
            client_closes_first(stage, "backlog full", second)?,
        ];
        made(stage, listening, connections)
    });
    let client = run.assert_whole().client(1);
    assert!(client.handshake_ns.value().is_some_and(|ns| *ns > SYN_TIMEOUT_NS), "{:?}", client.handshake_ns);
    assert!(client.total_retrans.is_some_and(|count| count > 0), "{:?}", client.total_retrans);
    let syns = run.sent(1, SideName::Client, |segment| segment.flags.syn);
    assert_eq!(client.total_retrans, Some(syns - 1));
}

fn wait_for_a_syn(stage: &Stage<'_>, to: SocketAddr) -> Result<()> {
    tracer::scenario::stage::until("a SYN that is not answered", || {
        Ok(stage.rows()?.iter().any(|row| row.remote == to && row.state == SynSent).then_some(()))
    })
}

/// Accepts on the calling thread.
fn accept_here(listening: &Listening) -> Result<TcpStream> {
    let (server, _) = listening.socket.accept()?;
    server.set_nonblocking(false)?;
    Ok(server)
}

#[test]
fn syncookies() {
    let run = on_loopback(|stage| {
        // 2: always.
        set_sysctl(stage.server(), "ipv4/tcp_syncookies", "2")?;
        let (listening, pair) = stage.one_pair()?;
        let connection = client_closes_first(stage, "syncookies", pair)?;
        made(stage, listening, vec![connection])
    });
    let server = run.assert_whole().server(0);
    assert_eq!(server.role.value(), Some(&Role::Accepted));
}

const TCP_DEFER_ACCEPT: i32 = 9;

#[test]
fn defer_accept_makes_the_child_when_data_comes() {
    let mut sent_at = MonoNs(0);
    let run = over_link(|stage, link| {
        let listening = stage.listen()?;
        set_tcp(&listening.socket, TCP_DEFER_ACCEPT, 5)?;
        let to = listening.address;
        let client = stage.client().run(move || connect(to))?;
        link.wait_for("the handshake's last segment", 1, |judged| {
            judged.toward == Toward::Server && judged.segment.flags.ack && !judged.segment.flags.syn
        })?;
        sent_at = now();
        (&client).write_all(b"data")?;
        let Pair { client, server, local, remote } = stage.pair_of(client, &listening)?;
        (&server).read_exact(&mut [0; 4])?;
        let pair = Pair { client, server, local, remote };
        let mut connection = client_closes_first(stage, "DEFER_ACCEPT", pair)?;
        let all = Fact::Shown(4 + super::REQUEST as u64);
        connection.client.bytes_sent = all;
        if let Some(server) = &mut connection.server {
            server.bytes_received = all;
        }
        made(stage, listening, vec![connection])
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert!(entered(client, Established) < sent_at);
    assert!(entered(server, SynRecv) > sent_at, "the child came before the data");
}

const TCP_FASTOPEN: i32 = 23;
const TCP_FASTOPEN_CONNECT: i32 = 30;

#[test]
fn fast_open_with_data_in_the_syn() {
    let run = over_link(|stage, link| {
        set_sysctl(stage.client(), "ipv4/tcp_fastopen", "1")?;
        set_sysctl(stage.server(), "ipv4/tcp_fastopen", "2")?;
        let listening = stage.listen()?;
        set_tcp(&listening.socket, TCP_FASTOPEN, 5)?;
        let to = listening.address;
        let open = || {
            stage.client().run(move || {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                set_tcp(&socket, TCP_FASTOPEN_CONNECT, 1)?;
                connect_socket(socket, to)
            })
        };
        // The first one asks for a cookie.
        let pair = stage.pair_of(open()?, &listening)?;
        let first = server_closes_first(stage, "TCP Fast Open, first", pair)?;
        // The second one's connect() does nothing; its SYN leaves with the data, and the answer to it stays away.
        link.every(Fate::Hold, |segment, toward| toward == Toward::Client && segment.flags.syn);
        let client = open()?;
        stage.client().run({
            let client = client.try_clone()?;
            move || {
                // Blocking, it would wait for the answer.
                client.set_nonblocking(true)?;
                (&client).write_all(b"data").context("data for the SYN")?;
                client.set_nonblocking(false).context("blocking again")
            }
        })?;
        link.wait_kept(1)?;
        listening.wait_acceptable()?;
        let carried = link.log().iter().any(|j| j.segment.flags.syn && j.segment.payload_bytes == 4);
        assert!(carried, "no data in the SYN");
        let waiting = stage.rows()?;
        assert!(waiting.iter().any(|row| row.local == to && row.state == SynRecv), "{waiting:?}");
        link.heal();
        link.release()?;
        let Pair { client, server, local, remote } = stage.pair_of(client, &listening)?;
        (&server).read_exact(&mut [0; 4])?;
        let pair = Pair { client, server, local, remote };
        let mut second = server_closes_first(stage, "TCP Fast Open", pair)?;
        let all = Fact::Shown(4 + super::REQUEST as u64);
        second.client.bytes_sent = all;
        if let Some(server) = &mut second.server {
            server.bytes_received = all;
        }
        made(stage, listening, vec![first, second])
    });
    let (client, server) = (run.assert_whole().client(1), run.server(1));
    // The child is there before the client is connected.
    assert!(entered(server, SynRecv) < entered(client, Established));
    assert_eq!(server.steps[0].old, Listen);
}

#[test]
fn port_exhaustion() {
    let run = on_loopback(|stage| {
        set_sysctl(stage.client(), "ipv4/ip_local_port_range", "40000 40000")?;
        let at = stage.address();
        let (holder, socket) = stage.client().run(move || {
            let holder = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            holder.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 40_000)).into())?;
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            let error = socket.connect(&SocketAddr::new(at, 9).into()).err().and_then(|e| e.raw_os_error());
            if error != Some(Errno::ADDRNOTAVAIL.raw_os_error()) {
                return Err(ScenarioError::unexpected(format!("connect() without a port: {error:?}")));
            }
            Ok((holder, socket))
        })?;
        stage.client().close((holder, socket))?;
        let mut client = unanswered(stage, CloseKind::NoFreePort);
        client.closer = Fact::True(stage.client().owner());
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let remote = SocketAddr::new(at, 9);
        let connection = MadeConnection { name: "port exhaustion", local, remote, client, server: None };
        Ok(Made { connections: vec![connection], listeners: Vec::new() })
    });
    let client = run.assert_whole().client(0);
    assert_eq!((client.error.value(), client.local.port), (Some(&0), None));
}
