//! classic: transitions seen through the classic tracepoint, for kernels without BTF.
//!
//! It cannot tell softirq from process context, nor reach the socket: no task, no cookie, no tcp_sock.

use core::ptr::read_volatile;

use aya_ebpf::{EbpfContext, programs::TracePointContext};
use tracer_common::PROGRAM_CLASSIC;
use tracer_common::classic::{
    DADDR, DADDR_V6, DPORT, FAMILY, NEWSTATE, OFFSETS, OLDSTATE, PROTOCOL, SADDR, SADDR_V6, SKADDR, SPORT,
};

use crate::{
    cpu::Cpu,
    emit,
    filter::{self, Subject},
};

const AF_INET: u16 = 2;
const IPPROTO_TCP: u16 = 6;

/// What the tracepoint's record says. Ports in host order, addresses in network order.
pub(crate) struct ClassicEvent {
    pub(crate) sock_addr: u64,
    pub(crate) old: u8,
    pub(crate) new: u8,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    pub(crate) family: u16,
    pub(crate) protocol: u16,
    pub(crate) local_addr: [u64; 2],
    pub(crate) remote_addr: [u64; 2],
}

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn classic(context: &TracePointContext) -> Option<()> {
    let cpu = Cpu::this()?;
    let protocol: u16 = load::<PROTOCOL, _>(context);
    if protocol != IPPROTO_TCP {
        return Some(());
    }
    let family: u16 = load::<FAMILY, _>(context);
    let v6 = || -> ([u64; 2], [u64; 2]) {
        (
            [load::<SADDR_V6, _>(context), load_second::<SADDR_V6>(context)],
            [load::<DADDR_V6, _>(context), load_second::<DADDR_V6>(context)],
        )
    };
    let (local_addr, remote_addr) = if family == AF_INET {
        ([load::<SADDR, u32>(context) as u64, 0], [load::<DADDR, u32>(context) as u64, 0])
    } else {
        v6()
    };
    let event = ClassicEvent {
        sock_addr: load::<SKADDR, _>(context),
        old: load::<OLDSTATE, u32>(context) as u8,
        new: load::<NEWSTATE, u32>(context) as u8,
        sport: load::<SPORT, _>(context),
        dport: load::<DPORT, _>(context),
        family,
        protocol,
        local_addr,
        remote_addr,
    };
    if filter::is_set() && !filter::passes(&event.subject()) {
        return Some(());
    }
    let depth = cpu.enter(PROGRAM_CLASSIC);
    emit::classic(&depth, &event);
    depth.leave();
    Some(())
}

impl ClassicEvent {
    #[inline(always)]
    fn subject(&self) -> Subject {
        Subject {
            old: self.old,
            family: self.family,
            local_port: self.sport,
            remote_port: self.dport,
            local_v6: self.local_addr,
            remote_v6: self.remote_addr,
            netns: None,
        }
    }
}

/// Loads a member. Its offset must be a constant of the instruction itself: the verifier refuses a context pointer to
/// which anything was added, even a load-time constant. User space has compared the offsets with this kernel's.
#[inline(always)]
fn load<const MEMBER: usize, T: Copy>(context: &TracePointContext) -> T {
    // SAFETY: inside the tracepoint's record.
    unsafe { read_volatile(context.as_ptr().cast::<u8>().add(const { OFFSETS[MEMBER] as usize }).cast()) }
}

/// The second half of a member of 16 bytes.
#[inline(always)]
fn load_second<const MEMBER: usize>(context: &TracePointContext) -> u64 {
    // SAFETY: as above.
    unsafe { read_volatile(context.as_ptr().cast::<u8>().add(const { OFFSETS[MEMBER] as usize + 8 }).cast()) }
}
