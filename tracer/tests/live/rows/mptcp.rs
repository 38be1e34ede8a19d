//! MPTCP: the connection of the application is another protocol's (262) and not ours to report; its subflows are TCP, and
//! are opened and closed by kernel threads on its behalf.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use finwait_core::TcpState::{Close, Established, Listen, SynRecv, SynSent};
use finwait_core::record::{LocalCause, Role, SeenFrom};
use socket2::{Domain, Protocol, Socket, Type};
use tracer::scenario::stage::{Stage, connect_socket, until};
use tracer::scenario::{Context, Made, MadeConnection, MadeSide, Namespace, Result};

use crate::support::{not_made, on_loopback, steps};

const IPPROTO_MPTCP: i32 = 262;

fn socket() -> Result<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::from(IPPROTO_MPTCP))).context("an MPTCP socket")
}

/// Request, reply, close by the client, answered at once. Which transitions a subflow makes differs between kernels.
fn scene(stage: &Stage<'_>) -> Result<Made> {
    let at = SocketAddr::new(stage.address(), 0);
    let listener = stage.server().run(move || {
        let socket = socket()?;
        socket.bind(&at.into())?;
        socket.listen(16)?;
        Ok(TcpListener::from(socket))
    })?;
    let to = listener.local_addr()?;
    let accepting = listener.try_clone()?;
    let server = stage.server().start(move || {
        let (mut server, _) = accepting.accept()?;
        server.read_exact(&mut [0; super::REQUEST])?;
        server.write_all(&[b'.'; super::REPLY])?;
        let ended = server.read(&mut [0; 1])?;
        drop(server);
        Ok(ended)
    });
    let local = stage.client().run(move || {
        let mut client: TcpStream = connect_socket(socket()?, to)?;
        client.write_all(&[b'.'; super::REQUEST])?;
        client.read_exact(&mut [0; super::REPLY])?;
        let local = client.local_addr()?;
        drop(client);
        Ok(local)
    })?;
    server.wait()?;
    stage.settle(local, to)?;
    stage.server().close(listener)?;
    until("the listener to be gone", || {
        Ok((!stage.rows()?.iter().any(|row| row.local == to && row.state == Listen)).then_some(()))
    })?;
    let (client, server) = (MadeSide::through(&[]), Some(MadeSide::through(&[])));
    let connection = MadeConnection { name: "MPTCP", local, remote: to, client, server };
    Ok(Made { connections: vec![connection], listeners: Vec::new() })
}

#[test]
fn mptcp_subflows_are_reported_and_no_kernel_thread_owns_them() {
    let lacking = Namespace::new().expect("namespace").client().run(|| socket().map(drop));
    if let Err(error) = lacking {
        return not_made("MPTCP", &error.to_string());
    }
    let run = on_loopback(scene);
    let books = &run.seen.accounting;
    assert_eq!((books.received, books.lost(), books.chain_breaks), (books.counted, 0, 0), "{books:?}");
    assert_eq!(run.seen.closes.len(), 2, "one close for each subflow, none for the MPTCP sockets");
    assert!(run.contradictions().is_empty(), "{:#?}", run.contradictions());
    let (client, server) = (run.client(0), run.server(0));
    for record in [client, server] {
        // A kernel without the field says so by saying nothing.
        assert_ne!(record.is_mptcp, Some(false));
        assert_eq!(record.seen_from, SeenFrom::Handshake);
        let closer = record.closer.value();
        assert!(closer.is_none_or(|owner| owner.tgid.0 == std::process::id()), "{closer:?}");
    }
    let cause = client.cause.value();
    assert!(cause.is_none_or(|cause| *cause == LocalCause::KernelThread), "{cause:?}");
    assert_eq!(client.is_mptcp, server.is_mptcp);
    assert_eq!(client.role.value(), Some(&Role::Opened));
    assert_eq!(server.role.value(), Some(&Role::Accepted));
    assert_eq!(steps(client)[..2], [(Close, SynSent), (SynSent, Established)]);
    assert_eq!(steps(server)[..2], [(Listen, SynRecv), (SynRecv, Established)]);
    assert!(client.closed_at.is_some() && server.closed_at.is_some());
}
