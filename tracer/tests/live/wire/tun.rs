//! A TUN device in the calling thread's network namespace (Documentation/networking/tuntap.rst): IP packets that the
//! kernel routes to it are read from its descriptor, what is written there arrives. Closed, it is gone.

use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;

use rustix::ioctl::{Opcode, Updater, ioctl};
use socket2::{Domain, Socket, Type};
use tracer::scenario::{Context, Result};

const TUNSETIFF: Opcode = 0x4004_54ca;
const SIOCSIFFLAGS: Opcode = 0x8914;
const SIOCSIFADDR: Opcode = 0x8916;
const SIOCSIFNETMASK: Opcode = 0x891c;
const IFF_TUN: i16 = 0x0001;
const IFF_NO_PI: i16 = 0x1000;
const IFF_UP: i16 = 0x0001;
const AF_INET: u16 = 2;
const NAME: &[u8] = b"link";
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);

/// struct ifreq of 64-bit kernels: a name and a union of 24 bytes.
#[repr(C)]
struct Request {
    name: [u8; 16],
    value: [u8; 24],
}

impl Request {
    fn with(value: &[u8]) -> Self {
        let mut request = Self { name: [0; 16], value: [0; 24] };
        request.name.iter_mut().zip(NAME).for_each(|(to, from)| *to = *from);
        request.value.iter_mut().zip(value).for_each(|(to, from)| *to = *from);
        request
    }

    /// struct sockaddr_in without a port.
    fn address(address: Ipv4Addr) -> Self {
        let mut value = [0; 8];
        value[..2].copy_from_slice(&AF_INET.to_ne_bytes());
        value[4..].copy_from_slice(&address.octets());
        Self::with(&value)
    }
}

/// Makes the device, gives it `address` in a network of 24 bits and brings it up. Reading it never blocks.
pub(crate) fn make(address: Ipv4Addr) -> Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let device = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nonblocking)
        .open("/dev/net/tun")
        .context("opening /dev/net/tun")?;
    let mut request = Request::with(&(IFF_TUN | IFF_NO_PI).to_ne_bytes());
    // SAFETY: the kernel reads and writes one struct ifreq, which `Request` is.
    unsafe { ioctl(&device, Updater::<TUNSETIFF, _>::new(&mut request)) }.context("making a TUN device")?;
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    set::<SIOCSIFADDR>(&socket, Request::address(address))?;
    set::<SIOCSIFNETMASK>(&socket, Request::address(MASK))?;
    set::<SIOCSIFFLAGS>(&socket, Request::with(&IFF_UP.to_ne_bytes()))?;
    Ok(device)
}

fn set<const WHAT: Opcode>(socket: &Socket, mut request: Request) -> Result<()> {
    // SAFETY: as above.
    unsafe { ioctl(socket, Updater::<WHAT, _>::new(&mut request)) }.context("setting up a TUN device")
}
