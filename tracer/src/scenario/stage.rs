//! The moves that scenarios are made of. Each one is bounded in time, and waits for a condition, never for a while.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::error::{Context, Result, ScenarioError};
use finwait_core::TcpState;
use socket2::{Domain, Socket, Type};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::actor::{Actor, Pending};
use super::made::{Made, MadeConnection, MadeListener, MadeSide};
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
pub struct Pair {
    /// The end that connected
    pub client: TcpStream,
    /// The one that was accepted
    pub server: TcpStream,
    /// The client's address
    pub local: SocketAddr,
    /// The server's
    pub remote: SocketAddr,
}

/// Who acts where: client and server, in one namespace or in two.
#[derive(Clone, Copy, Debug)]
pub struct Stage<'a> {
    client: &'a Actor,
    server: &'a Actor,
    addresses: Addresses<'a>,
}

/// Where servers listen.
#[derive(Clone, Copy, Debug)]
enum Addresses<'a> {
    /// On the loopback, each at an address of its own
    Loopback(&'a Namespace),
    /// All at this one
    One(IpAddr),
}

impl<'a> Stage<'a> {
    /// Client and server on the loopback of `namespace`.
    #[must_use]
    pub fn new(namespace: &'a Namespace) -> Self {
        let (client, server) = (namespace.client(), namespace.server());
        Self { client, server, addresses: Addresses::Loopback(namespace) }
    }

    /// Two hosts; the server's has the address `at`.
    #[must_use]
    pub fn between(client: &'a Actor, server: &'a Actor, at: IpAddr) -> Self {
        Self { client, server, addresses: Addresses::One(at) }
    }

    /// The thread that connects.
    #[must_use]
    pub fn client(&self) -> &'a Actor {
        self.client
    }

    /// The thread that listens and accepts.
    #[must_use]
    pub fn server(&self) -> &'a Actor {
        self.server
    }

    /// An address to listen at: on the loopback one of 127.0.0.0/8 that no other scenario uses.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        match self.addresses {
            Addresses::Loopback(namespace) => namespace.fresh_address(),
            Addresses::One(at) => at,
        }
    }

    /// Listens on a fresh IPv4 address.
    pub fn listen(&self) -> Result<Listening> {
        self.listen_with(SocketAddr::new(self.address(), 0), 16, None)
    }

    /// Listens at `at`; accepted sockets inherit `receive_buffer`.
    pub fn listen_with(
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
    pub fn close_listener(&self, listening: Listening) -> Result<MadeListener> {
        let made = listening.made();
        self.server().close(listening.socket)?;
        Ok(made)
    }

    /// Connects to `listening` and accepts.
    pub fn pair(&self, listening: &Listening) -> Result<Pair> {
        let to = listening.address;
        let client = self.client().run(move || connect(to))?;
        self.pair_of(client, listening)
    }

    /// Accepts what `client` has connected.
    pub fn pair_of(&self, client: TcpStream, listening: &Listening) -> Result<Pair> {
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
    pub fn one_pair(&self) -> Result<(Listening, Pair)> {
        let listening = self.listen()?;
        let pair = self.pair(&listening)?;
        Ok((listening, pair))
    }

    /// Waits until a socket of either host, `local` → `remote`, is in `state`; a mini-socket counts.
    pub fn wait_for(&self, local: SocketAddr, remote: SocketAddr, state: TcpState) -> Result<()> {
        until(state.name(), || {
            let there = |row: &Row| row.local == local && row.remote == remote && row.state == state;
            Ok(self.rows()?.iter().any(there).then_some(()))
        })
    }

    /// Waits until a mini-socket has taken the place of the socket `local` → `remote`.
    pub fn wait_for_mini_socket(&self, local: SocketAddr, remote: SocketAddr) -> Result<()> {
        const TIMER: u8 = 3;
        until("a mini-socket", || {
            let there = |row: &Row| (row.local, row.remote, row.timer) == (local, remote, TIMER);
            Ok(self.rows()?.iter().any(there).then_some(()))
        })
    }

    /// Waits until neither end of `local` – `remote` can change its state any more.
    pub fn settle(&self, local: SocketAddr, remote: SocketAddr) -> Result<()> {
        until("the end of a connection", || {
            let busy = |row: &Row| row.state != TcpState::TimeWait;
            Ok((!self.ends_of(local, remote)?.iter().any(busy)).then_some(()))
        })
    }

    /// Waits until nothing is left of `local` → `remote`, not even a mini-socket.
    pub fn gone(&self, local: SocketAddr, remote: SocketAddr) -> Result<()> {
        until("a socket to be gone", || {
            let there = |row: &Row| (row.local, row.remote) == (local, remote);
            Ok((!self.rows()?.iter().any(there)).then_some(()))
        })
    }

    /// What both hosts show of the two ends of `local` – `remote`.
    fn ends_of(&self, local: SocketAddr, remote: SocketAddr) -> Result<Vec<Row>> {
        let mut rows = self.rows()?;
        rows.retain(|row| {
            (row.local, row.remote) == (local, remote) || (row.local, row.remote) == (remote, local)
        });
        Ok(rows)
    }

    /// Every socket of both hosts; twice where they are one.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let mut all = rows(self.client.owner().pid)?;
        all.extend(rows(self.server.owner().pid)?);
        Ok(all)
    }

    /// One connection and its listener, when the connection has ended.
    pub fn single(
        &self,
        name: &'static str,
        listening: Listening,
        ends: (SocketAddr, SocketAddr),
        sides: (MadeSide, MadeSide),
    ) -> Result<Made> {
        self.settle(ends.0, ends.1)?;
        let listener = self.close_listener(listening)?;
        let (client, server) = (sides.0, Some(sides.1));
        let connection = MadeConnection { name, local: ends.0, remote: ends.1, client, server };
        Ok(Made { connections: vec![connection], listeners: vec![listener] })
    }
}

/// A listener, not blocking.
#[derive(Debug)]
pub struct Listening {
    /// The socket
    pub socket: TcpListener,
    /// Where it listens
    pub address: SocketAddr,
}

impl Listening {
    /// What there is to say of it.
    #[must_use]
    pub fn made(&self) -> MadeListener {
        MadeListener { local: canonical(self.address) }
    }

    /// Waits until there is a connection to accept.
    pub fn wait_acceptable(&self) -> Result<()> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
        let ready = poll(&mut fds, Some(&limit)).context("waiting for a connection to accept")?;
        if ready != 1 {
            return Err(ScenarioError::unexpected("no connection to accept within 5 s"));
        }
        Ok(())
    }
}

/// Connects a fresh socket to `to`.
pub fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    connect_socket(socket, to)
}

/// Connects `socket`, bound or not, to `to`. Blocks in the kernel, for as long as SO_SNDTIMEO allows.
pub fn connect_socket(socket: Socket, to: SocketAddr) -> Result<TcpStream> {
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
pub fn pass(mut from: &TcpStream, mut to: &TcpStream, bytes: usize) -> Result<()> {
    from.write_all(&vec![b'.'; bytes]).context("sending")?;
    to.read_exact(&mut vec![0; bytes]).context("receiving")
}

/// Reads until the peer's FIN; returns how many bytes came before it.
pub fn read_to_end(mut stream: &TcpStream) -> Result<u64> {
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
pub fn fill(mut stream: &TcpStream) -> Result<u64> {
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
pub fn answer_end(actor: &Actor, stream: TcpStream) -> Pending<()> {
    actor.start(move || {
        read_to_end(&stream)?;
        drop(stream);
        Ok(())
    })
}

/// Shuts the sending direction down on `actor`.
pub fn shut_send(actor: &Actor, stream: TcpStream) -> Result<TcpStream> {
    actor.run(move || {
        stream.shutdown(Shutdown::Write)?;
        Ok(stream)
    })
}

/// Whether what began at `start` was over before the delayed acknowledgement could be sent.
#[must_use]
pub fn at_once(start: Instant) -> bool {
    start.elapsed() < DELAYED_ACK
}

/// Looks until `look` finds something, at most [`WAIT_LIMIT`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
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
#[must_use]
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
