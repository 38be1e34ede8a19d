//! The moves that scenarios are made of. Each one is bounded in time, and waits for a condition, never for a while.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Context, Result, ScenarioError};
use finwait_core::TcpState;
use socket2::{Domain, Socket, Type};

use super::actor::{Actor, Pending};
use super::made::MadeListener;
use super::namespace::Namespace;
use super::procnet::{Row, rows};

/// Limit of each blocking socket call.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Limit of each wait for a condition.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// An answer within this time is on its way before the delayed acknowledgement (40 ms) is.
const DELAYED_ACK: Duration = Duration::from_millis(30);

/// A connected pair, each end held by its own thread's side of the scenario.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

/// The namespace with the moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'a> {
    namespace: &'a Namespace,
}

impl<'a> Stage<'a> {
    pub(super) fn new(namespace: &'a Namespace) -> Self {
        Self { namespace }
    }

    pub(super) fn client(&self) -> &'a Actor {
        self.namespace.client()
    }

    pub(super) fn server(&self) -> &'a Actor {
        self.namespace.server()
    }

    /// An address of 127.0.0.0/8 that no other scenario uses.
    pub(super) fn address(&self) -> IpAddr {
        self.namespace.fresh_address()
    }

    /// Listens on a fresh IPv4 address.
    pub(super) fn listen(&self) -> Result<Listening> {
        self.listen_with(SocketAddr::new(self.address(), 0), 16, None)
    }

    /// Listens at `at`; accepted sockets inherit `receive_buffer`.
    pub(super) fn listen_with(
        &self,
        at: SocketAddr,
        backlog: i32,
        receive_buffer: Option<usize>,
    ) -> Result<Listening> {
        let socket = self.server().run(move || {
            let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
            if let Some(bytes) = receive_buffer {
                socket.set_recv_buffer_size(bytes)?;
            }
            socket.bind(&at.into())?;
            socket.listen(backlog).context(&format!("listening at {at}"))?;
            Ok(TcpListener::from(socket))
        })?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Listening { socket, address })
    }

    /// Closes a listener and says that it was one.
    pub(super) fn close_listener(&self, listening: Listening) -> Result<MadeListener> {
        let made = listening.made();
        self.server().close(listening.socket)?;
        Ok(made)
    }

    /// Connects to `listening` and accepts.
    pub(super) fn pair(&self, listening: &Listening) -> Result<Pair> {
        let to = listening.address;
        let client = self.client().run(move || connect(to))?;
        self.pair_of(client, listening)
    }

    /// Accepts what `client` has connected.
    pub(super) fn pair_of(&self, client: TcpStream, listening: &Listening) -> Result<Pair> {
        let (local, remote) = (canonical(client.local_addr()?), canonical(client.peer_addr()?));
        let accepting = listening.socket.try_clone()?;
        let server = self.server().run(move || {
            let (server, from) = until("a connection to accept", || would_block(accepting.accept()))?;
            let expected = local;
            if canonical(from) != expected {
                return Err(ScenarioError::unexpected(format!(
                    "accepted a connection from {from}, expected {expected}"
                )));
            }
            server.set_nonblocking(false)?;
            limit(&server)?;
            Ok(server)
        })?;
        Ok(Pair { client, server, local, remote })
    }

    /// A listener and one connection to it.
    pub(super) fn one_pair(&self) -> Result<(Listening, Pair)> {
        let listening = self.listen()?;
        let pair = self.pair(&listening)?;
        Ok((listening, pair))
    }

    /// Waits until the namespace shows `local` → `remote` in `state`; a mini-socket counts.
    pub(super) fn wait_for(&self, local: SocketAddr, remote: SocketAddr, state: TcpState) -> Result<()> {
        self.client().run(move || {
            until(state.name(), || {
                let there = |row: &Row| row.local == local && row.remote == remote && row.state == state;
                Ok(rows()?.iter().any(there).then_some(()))
            })
        })
    }

    /// Waits until neither end of `local` – `remote` can change its state any more.
    pub(super) fn settle(&self, local: SocketAddr, remote: SocketAddr) -> Result<()> {
        self.client().run(move || {
            until("the end of a connection", || {
                let ends = |row: &Row| {
                    (row.local, row.remote) == (local, remote) || (row.local, row.remote) == (remote, local)
                };
                let busy = |row: &Row| ends(row) && row.state != TcpState::TimeWait;
                Ok((!rows()?.iter().any(busy)).then_some(()))
            })
        })
    }
}

/// A listener, not blocking.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) socket: TcpListener,
    pub(super) address: SocketAddr,
}

impl Listening {
    /// What there is to say of it.
    pub(super) fn made(&self) -> MadeListener {
        MadeListener { local: canonical(self.address) }
    }
}

/// Connects a fresh socket to `to`.
pub(super) fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    connect_socket(socket, to)
}

/// Connects `socket`, bound or not, to `to`. Blocks in the kernel, for as long as SO_SNDTIMEO allows.
pub(super) fn connect_socket(socket: Socket, to: SocketAddr) -> Result<TcpStream> {
    socket.set_write_timeout(Some(CALL_LIMIT))?;
    socket.connect(&to.into()).context(&format!("connecting to {to}"))?;
    let stream = TcpStream::from(socket);
    limit(&stream)?;
    Ok(stream)
}

fn limit(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(CALL_LIMIT))?;
    stream.set_write_timeout(Some(CALL_LIMIT))?;
    Ok(())
}

/// Writes `bytes` at `from` and reads them at `to`, so that none is on its way afterwards.
pub(super) fn pass(mut from: &TcpStream, mut to: &TcpStream, bytes: usize) -> Result<()> {
    from.write_all(&vec![b'.'; bytes]).context("sending")?;
    to.read_exact(&mut vec![0; bytes]).context("receiving")
}

/// Reads until the peer's FIN; returns how many bytes came before it.
pub(super) fn read_to_end(mut stream: &TcpStream) -> Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).context("reading to the end")? {
            0 => return Ok(total),
            bytes => total += bytes as u64,
        }
    }
}

/// Writes until there is no room: some of it cannot be sent yet. Returns how many bytes were taken.
pub(super) fn fill(mut stream: &TcpStream) -> Result<u64> {
    stream.set_nonblocking(true)?;
    let chunk = vec![b'.'; 64 * 1024];
    let mut total = 0;
    let outcome = loop {
        match stream.write(&chunk) {
            Ok(bytes) => total += bytes as u64,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(total),
            Err(error) => break Err(error).context("filling the send buffer"),
        }
    };
    stream.set_nonblocking(false)?;
    outcome
}

/// On `actor`: reads to the peer's FIN, then closes. Tells whether that was quick enough for the acknowledgement of
/// the FIN to ride on ours.
pub(super) fn answer_end(actor: &Actor, stream: TcpStream) -> Pending<()> {
    actor.start(move || {
        read_to_end(&stream)?;
        drop(stream);
        Ok(())
    })
}

/// Shuts the sending direction down on `actor`.
pub(super) fn shut_send(actor: &Actor, stream: TcpStream) -> Result<TcpStream> {
    actor.run(move || {
        stream.shutdown(Shutdown::Write)?;
        Ok(stream)
    })
}

/// Whether what began at `start` was over before the delayed acknowledgement could be sent.
pub(super) fn at_once(start: Instant) -> bool {
    start.elapsed() < DELAYED_ACK
}

/// Looks until `look` finds something, at most [`WAIT_LIMIT`].
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let end = Instant::now() + WAIT_LIMIT;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= end {
            return Err(ScenarioError::unexpected(format!("waited {} s for {what}", WAIT_LIMIT.as_secs())));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

/// `None` where the call would have blocked.
fn would_block<T>(outcome: std::io::Result<T>) -> Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// `address` with an IPv4-mapped IPv6 address as the IPv4 it is.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
