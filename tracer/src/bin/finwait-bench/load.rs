//! Programs that make connections as fast as they can; started by [`crate::traffic`] inside a namespace.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, Socket, Type};

/// Port of the two-process load; its namespace has no other. Below the ephemeral ones.
pub(crate) const PORT: u16 = 7411;
/// Connections between two messages from server to client.
const BATCH: u32 = 128;
/// Batches that the client may be ahead of the server: its queue of connections to accept never fills.
const AHEAD: u32 = 4;
/// Limit of each blocking call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// Connections timed together: short, so that a disturbance spoils few of them.
pub(crate) const CHUNK: u32 = 100;

/// How many connections, and on which CPU.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct LoadArgs {
    /// Connections to make
    #[arg(long)]
    pub(crate) connections: u32,
    /// CPU to run on
    #[arg(long)]
    pub(crate) cpu: usize,
}

/// Accepts, reads to the end and closes. Prints its port in two bytes, then one byte for each batch.
pub(crate) fn server(args: LoadArgs) -> Result<()> {
    pin(args.cpu)?;
    let listener = listen(PORT)?;
    let mut out = std::io::stdout().lock();
    out.write_all(&listener.local_addr()?.port().to_be_bytes())?;
    out.flush()?;
    for number in 1..=args.connections {
        let (stream, _) = listener.accept().context("accepting")?;
        await_end(&stream)?;
        drop(stream);
        if number % BATCH == 0 {
            // The client may be done with reading: it needs no leave for its last batches.
            let _ = out.write_all(b".").and_then(|()| out.flush());
        }
    }
    Ok(())
}

/// Connects and closes; reads what the server prints to learn its port and to stay close ahead of it.
pub(crate) fn client(args: LoadArgs) -> Result<()> {
    pin(args.cpu)?;
    let mut input = std::io::stdin().lock();
    let mut port = [0; 2];
    input.read_exact(&mut port).context("learning the server's port")?;
    let port = u16::from_be_bytes(port);
    for number in 0..args.connections {
        if number % BATCH == 0 && number / BATCH >= AHEAD {
            input.read_exact(&mut [0]).context("waiting for the server")?;
        }
        drop(connect(number, port)?);
    }
    Ok(())
}

/// Connects, accepts and closes in one thread: client first, then server. Prints the nanoseconds per connection, the
/// median over chunks.
pub(crate) fn lone(args: LoadArgs) -> Result<()> {
    pin(args.cpu)?;
    let listener = listen(0)?;
    let port = listener.local_addr()?.port();
    let mut chunks = Vec::new();
    for chunk in 0..args.connections / CHUNK {
        let start = Instant::now();
        for number in 0..CHUNK {
            let client = connect(chunk * CHUNK + number, port)?;
            let (server, _) = listener.accept().context("accepting")?;
            drop(client);
            drop(server);
        }
        chunks.push(start.elapsed().as_nanos() / u128::from(CHUNK));
    }
    chunks.sort_unstable();
    let median = chunks.get(chunks.len() / 2).with_context(|| format!("less than {CHUNK} connections"))?;
    println!("{median}");
    Ok(())
}

/// Transitions of one connection made by either load.
pub(crate) const TRANSITIONS_PER_CONNECTION: u64 = 10;
/// Transitions of the listener.
pub(crate) const TRANSITIONS_OF_LISTENER: u64 = 2;

/// The `number`th address of 127.1.0.0 and up, steps over .0 and .255.
fn destination(number: u32) -> Ipv4Addr {
    let [.., low] = (number % 254 + 1).to_be_bytes();
    let [.., high, middle] = (number / 254 + 256).to_be_bytes();
    Ipv4Addr::new(127, high, middle, low)
}

fn listen(port: u16) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.listen(4096).context("listening")?;
    // Accepting gives up with an error instead of waiting forever.
    socket.set_read_timeout(Some(CALL_LIMIT))?;
    Ok(socket.into())
}

fn connect(number: u32, port: u16) -> Result<TcpStream> {
    let to = SocketAddr::from((destination(number), port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_write_timeout(Some(CALL_LIMIT))?;
    socket.connect(&to.into()).with_context(|| format!("connection {number} to {to}"))?;
    Ok(socket.into())
}

fn await_end(mut stream: &TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(CALL_LIMIT))?;
    match stream.read(&mut [0]).context("waiting for the client's FIN")? {
        0 => Ok(()),
        _ => bail!("data, where none was sent"),
    }
}

fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("running on CPU {cpu}"))
}
