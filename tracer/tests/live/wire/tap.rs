//! What one host sent and received: a packet socket on all interfaces of its network namespace. The kernel stamps each
//! packet when it passes and keeps it until the end, so that no thread has to keep up.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::thread;
use std::time::Duration;

use finwait_core::MonoNs;
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustix::time::{ClockId, clock_gettime};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tracer::probe::host::clock_pair;
use tracer::scenario::{Actor, Context, Result, ScenarioError};

use super::segment::Segment;

/// Every EtherType, in network order (packet(7)).
const ALL_PROTOCOLS: i32 = 0x0300;
/// sockaddr_ll.sll_pkttype of what the host itself sends.
const PACKET_OUTGOING: u8 = 4;
/// struct timespec of the packet received last; asking for it switches stamping on (socket(7)).
const SIOCGSTAMPNS: Opcode = 0x8907;
/// Room for the headers.
const HEADERS: usize = 256;
/// More than any scenario sends: the scenarios' payloads are below 1 MB.
const ROOM: usize = 64 << 20;
/// Looks for the first stamp, each longer than the delay of one.
const LOOKS: u32 = 200;

/// Which way a segment passed the host's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Sent,
    Received,
}

/// A segment as one host saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) at: MonoNs,
    pub(crate) way: Way,
    pub(crate) segment: Segment,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tap(Socket);

#[repr(C)]
#[derive(Clone, Copy)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Tap {
    /// Listens in the network namespace of `actor`, from now on.
    pub(crate) fn open(actor: &Actor) -> Result<Self> {
        actor.run(|| {
            let protocol = Some(Protocol::from(ALL_PROTOCOLS));
            let socket = Socket::new(Domain::PACKET, Type::DGRAM, protocol).context("packet socket")?;
            socket.set_nonblocking(true)?;
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, ROOM)?;
            let tap = Self(socket);
            tap.wait_for_stamps()?;
            Ok(tap)
        })
    }

    /// The kernel begins to stamp a moment after it was asked to; until then it fills in when a packet is read.
    fn wait_for_stamps(&self) -> Result<()> {
        // Nothing was received yet: only the switching on matters.
        let _ = self.stamp();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        for _ in 0..LOOKS {
            socket.send_to(b".", socket.local_addr()?)?;
            let sent = clock(ClockId::Realtime);
            thread::sleep(Duration::from_millis(2));
            let mut stamped = true;
            while self.next(&mut [0; HEADERS])?.is_some() {
                stamped &= self.stamp()? <= sent + 1_000_000;
            }
            if stamped {
                return Ok(());
            }
        }
        Err(ScenarioError::unexpected("the kernel does not stamp packets"))
    }

    /// Every segment so far, in order.
    pub(crate) fn drain(&self) -> Result<Vec<Seen>> {
        let clocks = clock_pair();
        let mut buffer = [0; HEADERS];
        let mut all = Vec::new();
        while let Some((length, way)) = self.next(&mut buffer)? {
            let since = clocks.wall.0.saturating_sub(u64::try_from(self.stamp()?)?);
            let at = MonoNs(clocks.mono.0.saturating_sub(since));
            let packet = buffer.get(..length.min(HEADERS)).unwrap_or(&buffer);
            all.extend(Segment::parse(packet).map(|segment| Seen { at, way, segment }));
        }
        Ok(all)
    }

    fn next(&self, buffer: &mut [u8]) -> Result<Option<(usize, Way)>> {
        // SAFETY: a `u8` buffer is a valid one of `MaybeUninit<u8>`, and recv_from() never puts uninitialised bytes in.
        let room = unsafe { &mut *(core::ptr::from_mut(buffer) as *mut [core::mem::MaybeUninit<u8>]) };
        match self.0.recv_from(room) {
            Ok((length, from)) => Ok(Some((length, way(from)))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("reading a packet"),
        }
    }

    /// CLOCK_REALTIME nanosecond of the packet read last.
    fn stamp(&self) -> Result<i64> {
        // SAFETY: the call fills in a struct timespec of two 64-bit words.
        let stamp = unsafe { ioctl(&self.0, Getter::<SIOCGSTAMPNS, Timespec>::new()) }?;
        Ok(stamp.seconds * 1_000_000_000 + stamp.nanoseconds)
    }
}

fn clock(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// sll_pkttype is byte 10 of struct sockaddr_ll.
fn way(from: SockAddr) -> Way {
    let storage = from.as_storage();
    // SAFETY: the storage is initialised and far longer than 16 bytes, of which any value is valid.
    let bytes: [u8; 16] = unsafe { *core::ptr::from_ref(&storage).cast() };
    if bytes[10] == PACKET_OUTGOING { Way::Sent } else { Way::Received }
}
