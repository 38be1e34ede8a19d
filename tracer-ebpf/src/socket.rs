//! prime and its shadows: transitions seen through the BTF-typed tracepoint.

use aya_ebpf::{
    helpers::{bpf_get_socket_cookie, generated},
    programs::BtfTracePointContext,
};
use tracer_common::{Field, PROGRAM_PRIME, PROGRAM_SHADOW, PROGRAM_SHADOW2, PROGRAM_SHADOW3, feature};

use crate::{
    consts,
    cpu::Cpu,
    emit,
    filter::{self, Subject},
    object::Object,
    tokens::{self, Rank, Seen},
};

const IPPROTO_TCP: u16 = 6;

/// One call of the tracepoint: `trace_inet_sock_set_state(sk, old, new)`.
pub(crate) struct Transition {
    pub(crate) socket: Object,
    /// The same socket as tcp_sock; `None` where the kernel says it is not one.
    pub(crate) tcp: Option<Object>,
    pub(crate) old: u8,
    pub(crate) new: u8,
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn prime(context: &BtfTracePointContext) -> Option<()> {
    let cpu = Cpu::this()?;
    let seen = arguments(context);
    tokens::forget_birth(cpu, seen);
    tokens::push(cpu, Rank::PRIME, seen);
    if let Some(transition) = relevant(seen) {
        let depth = cpu.enter(PROGRAM_PRIME);
        emit::socket(&depth, &transition);
        depth.leave();
    }
    Some(())
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn shadow(context: &BtfTracePointContext) -> Option<()> {
    let is_last = !consts::feature(feature::MORE_SHADOWS);
    rescue(context, PROGRAM_SHADOW, Rank::SHADOW, is_last)
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn shadow2(context: &BtfTracePointContext) -> Option<()> {
    rescue(context, PROGRAM_SHADOW2, Rank::SHADOW2, false)
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn shadow3(context: &BtfTracePointContext) -> Option<()> {
    rescue(context, PROGRAM_SHADOW3, Rank::SHADOW3, true)
}

/// Reports the transition if no program before has.
#[inline(always)]
fn rescue(context: &BtfTracePointContext, program: u8, rank: Rank, is_last: bool) -> Option<()> {
    let cpu = Cpu::this()?;
    let seen = arguments(context);
    if tokens::find(cpu, rank, seen, is_last) {
        return Some(());
    }
    if !is_last {
        tokens::push(cpu, rank, seen);
    }
    let depth = cpu.enter(program);
    depth.count_untokened();
    match relevant(seen) {
        Some(transition) => emit::socket(&depth, &transition),
        None => depth.count_untokened_irrelevant(),
    }
    depth.leave();
    Some(())
}

#[inline(always)]
fn arguments(context: &BtfTracePointContext) -> Seen {
    // SAFETY: the tracepoint's first argument is the socket.
    let socket = unsafe { Object::new(context.arg(0)) };
    Seen { socket, old: context.arg::<u64>(1) as u8, new: context.arg::<u64>(2) as u8 }
}

/// MPTCP's parent sockets, SCTP and DCCP call the tracepoint too: none of them is a TCP connection.
#[inline(always)]
fn relevant(seen: Seen) -> Option<Transition> {
    let Seen { socket, old, new } = seen;
    if socket.read::<u16>(Field::Protocol) != IPPROTO_TCP {
        return None;
    }
    // SAFETY: the helper takes any socket and returns null where it is no full TCP socket.
    let tcp = unsafe { generated::bpf_skc_to_tcp_sock(socket.address().cast_mut().cast()) } as *const u8;
    // SAFETY: BTF-typed by the helper.
    let tcp = if tcp.is_null() { None } else { Some(unsafe { Object::new(tcp) }) };
    let transition = Transition { socket, tcp, old, new };
    if filter::is_set() && !filter::passes(&transition.subject()) {
        return None;
    }
    Some(transition)
}

impl Transition {
    #[inline(always)]
    fn subject(&self) -> Subject {
        let bound = match self.tcp {
            Some(tcp) => u16::from_be(tcp.read(Field::Sport)),
            None => 0,
        };
        Subject {
            old: self.old,
            family: self.socket.read(Field::Family),
            local_port: if bound != 0 { bound } else { self.socket.read(Field::Num) },
            remote_port: u16::from_be(self.socket.read(Field::Dport)),
            local_v6: self.socket.read_words(Field::LocalV6),
            remote_v6: self.socket.read_words(Field::RemoteV6),
            netns: Some(netns(self.socket)),
        }
    }
}

/// The socket's cookie, given to it now if it had none.
#[inline(always)]
pub(crate) fn cookie(socket: Object) -> u64 {
    let cookie = raw_cookie(socket);
    if cookie == 0 && consts::feature(feature::COOKIE_HELPER) {
        // SAFETY: the helper takes any socket.
        return unsafe { bpf_get_socket_cookie(socket.address().cast_mut().cast()) };
    }
    cookie
}

/// The socket's cookie, 0 if it has none yet.
#[inline(always)]
pub(crate) fn raw_cookie(socket: Object) -> u64 {
    socket.read(Field::Cookie)
}

/// Inode number of the socket's network namespace.
#[inline(always)]
pub(crate) fn netns(socket: Object) -> u32 {
    match socket.follow(Field::Net) {
        Some(net) => net.read(Field::NetnsInum),
        None => 0,
    }
}

/// Inode number of the socket's file; 0 before accept() and after close().
#[inline(always)]
pub(crate) fn inode(socket: Object) -> u64 {
    let inode = || socket.follow(Field::Socket)?.follow(Field::SocketFile)?.follow(Field::FileInode);
    match inode() {
        Some(inode) => inode.read(Field::InodeNumber),
        None => 0,
    }
}

/// Inode number of the cgroup2 directory that the socket was made in; 0 if none.
#[inline(always)]
pub(crate) fn cgroup(socket: Object) -> u64 {
    if consts::feature(feature::CGROUP_TAGGED) {
        return tagged_cgroup(socket);
    }
    let node = || socket.follow(Field::Cgroup)?.follow(Field::CgroupNode);
    match node() {
        Some(node) => node.read(Field::KernfsId),
        None => 0,
    }
}

/// Up to 5.14 the pointer is a word whose lowest bits are tags: bit 0 says that it is no pointer at all.
#[inline(always)]
fn tagged_cgroup(socket: Object) -> u64 {
    let (Some(node), Some(id)) = (consts::offset(Field::CgroupNode), consts::offset(Field::KernfsId)) else {
        return 0;
    };
    let word: u64 = socket.read(Field::CgroupTagged);
    if word == 0 || word & 1 != 0 {
        return 0;
    }
    let (mut kn, mut value) = (0u64, 0u64);
    // SAFETY: the helper checks both addresses; the word is a number to the verifier, so no direct load.
    unsafe {
        generated::bpf_probe_read_kernel((&raw mut kn).cast(), 8, ((word & !3) + node as u64) as *const _);
        generated::bpf_probe_read_kernel((&raw mut value).cast(), 8, (kn + id as u64) as *const _);
    }
    value
}
