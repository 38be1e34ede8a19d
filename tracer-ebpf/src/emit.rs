//! The one place where a record is made: it reserves room, fills every byte and submits, or counts the loss.

use core::ptr::write_volatile;

use aya_ebpf::{
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns, generated},
    macros::map,
    maps::{RingBuf, ring_buf::RingBufEntry},
};
use tracer_common::{
    Field, KIND_STATE, RECORD_VERSION, SOCK_FLAG_DEAD, SOCK_FLAG_DONE, SOCK_FLAG_LINGER, STATE_RECORD_BYTES,
    StateRecord, present,
};

use crate::{
    classic::ClassicEvent,
    consts,
    cpu::Depth,
    socket::{self, Transition},
    task::Task,
};

// User space sets the size that is wanted; this one only has to be valid.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

const AF_INET: u16 = 2;
/// Bit of `sk_flags`: SOCK_LINGER (enum sock_flags).
const SOCK_LINGER_BIT: u64 = 1 << 4;

/// Writes a whole record, field by field, straight into the ring.
///
/// Fields that belong together are named in a section with a condition; where that does not hold they are written as 0.
/// A field that is a structure itself is named under `parts`, with the function that fills it.
/// A field that no section names, or that two name, does not compile: nothing the ring held before can reach user space.
macro_rules! fill {
    ($record:ident as $type:ident: { $($always:ident: $value:expr,)* }
     $(if let $pattern:pat = $option:expr => { $($field:ident: $part:expr,)* })*
     $(absent: { $($absent:ident,)* })?
     $(parts: { $($inner:ident: $filler:ident($($argument:expr),*),)* })?) => {
        $(put(&raw mut (*$record).$always, $value);)*
        $(if let $pattern = $option {
            $(put(&raw mut (*$record).$field, $part);)*
        } else {
            $(zero(&raw mut (*$record).$field);)*
        })*
        $($(zero(&raw mut (*$record).$absent);)*)?
        $($($filler(&raw mut (*$record).$inner, $($argument),*);)*)?
        let _every_field =
            |$type { $($always: _,)* $($($field: _,)*)* $($($absent: _,)*)? $($($inner: _,)*)? }: $type| ();
    };
}

pub(crate) mod hooks;

/// Writes a field; byte arrays as words, to which the record's layout aligns them.
#[inline(always)]
unsafe fn put<F, V>(field: *mut F, value: V) {
    const { assert!(size_of::<F>() == size_of::<V>()) };
    // SAFETY: the caller's; sizes are the same, and see the assertions below for the alignment.
    unsafe { field.cast::<V>().write(value) }
}

/// Writes zeros over a field, which is a number or an array of 16 bytes. Volatile: the compiler would join the stores to
/// calls of memset, which is a loop over bytes here.
#[inline(always)]
unsafe fn zero<F>(field: *mut F) {
    // SAFETY: as in `put`; every pattern of bits is a number.
    unsafe {
        if size_of::<F>() == 16 {
            let words = field.cast::<u64>();
            write_volatile(words, 0);
            write_volatile(words.add(1), 0);
        } else {
            write_volatile(field, core::mem::zeroed());
        }
    }
}

const _: () = assert!(core::mem::offset_of!(StateRecord, comm) % 8 == 0);
const _: () = assert!(core::mem::offset_of!(StateRecord, local_addr) % 8 == 0);
const _: () = assert!(core::mem::offset_of!(StateRecord, remote_addr) % 8 == 0);

/// Counts a transition and reserves room for its record, which takes the number returned.
///
/// Not a function that takes a closure: the compiler would not inline that one.
#[inline(always)]
fn reserve(depth: &Depth, old: u8, new: u8) -> Option<(RingBufEntry<StateRecord>, u64)> {
    depth.count_pair(old, new);
    // Also when there is no room: the number missing then tells between which two records something was lost.
    let seq = depth.next_seq();
    let slot = EVENTS.reserve::<StateRecord>(0);
    if slot.is_none() {
        depth.count_ring_loss();
    }
    Some((slot?, seq))
}

/// Emits a transition seen by prime or shadow.
#[inline(always)]
pub(crate) fn socket(depth: &Depth, transition: &Transition) {
    let Some((mut slot, seq)) = reserve(depth, transition.old, transition.new) else { return };
    let record = slot.as_mut_ptr();
    // After reserving, so that times follow the ring's order as closely as can be.
    // SAFETY: helpers without arguments.
    let (time_ns, jiffies) = unsafe { (bpf_ktime_get_ns(), generated::bpf_jiffies64() as u32) };
    let sk = transition.socket;

    let family: u16 = sk.read(Field::Family);
    let (local, remote) = if family == AF_INET {
        // skc_addrpair: the remote address lies first.
        let pair: u64 = sk.read(Field::AddrPair);
        ([pair >> 32, 0], [pair & 0xffff_ffff, 0])
    } else {
        (sk.read_words(Field::LocalV6), sk.read_words(Field::RemoteV6))
    };
    let flags: u64 = sk.read(Field::Flags);
    let owned: u32 = sk.read(Field::LockOwned);
    let cookie = socket::cookie(sk);
    let cgroup = socket::cgroup(sk);
    let inode = socket::inode(sk);

    let mut present = consts::present();
    if cookie == 0 {
        present &= !present::COOKIE;
    }
    if cgroup == 0 {
        present &= !present::CGROUP;
    }
    if inode == 0 {
        present &= !present::INODE;
    }
    if owned == 0 {
        present &= !present::ALL_TASK;
    }
    let (mut sent, mut received) = (0u32, 0u32);
    match transition.tcp {
        Some(tcp) => (sent, received) = (tcp.read(Field::LastSendTime), tcp.read(Field::LastReceiveTime)),
        None => present &= !present::TCP,
    }
    // Never yet.
    if sent == 0 {
        present &= !present::SINCE_SEND;
    }
    if received == 0 {
        present &= !present::SINCE_RECEIVE;
    }

    // SAFETY: room for one record, reserved above.
    unsafe {
        fill!(record as StateRecord: {
            version: RECORD_VERSION,
            kind: KIND_STATE,
            size: STATE_RECORD_BYTES as u16,
            program: depth.program(),
            depth: depth.index(),
            cpu: bpf_get_smp_processor_id() as u16,
            seq: seq,
            time_ns: time_ns,
            present: present,
            socket_cookie: cookie,
            sock_addr: sk.address(),
            cgroup_id: cgroup,
            inode: inode,
            local_addr: local,
            remote_addr: remote,
            netns: socket::netns(sk),
            uid: sk.read::<u32>(Field::Uid),
            mark: sk.read::<u32>(Field::Mark),
            err: sk.read::<i32>(Field::Err),
            err_soft: sk.read::<i32>(Field::ErrSoft),
            linger_jiffies: sk.read::<u64>(Field::LingerTime),
            family: family,
            protocol: sk.read::<u16>(Field::Protocol),
            num: sk.read::<u16>(Field::Num),
            dport: u16::from_be(sk.read(Field::Dport)),
            old_state: transition.old,
            new_state: transition.new,
            shutdown: sk.read::<u8>(Field::Shutdown),
            lock_owned: (owned != 0) as u8,
            reserved: 0u32,
            sock_flags: flags as u8 & (SOCK_FLAG_DEAD | SOCK_FLAG_DONE)
                | if flags & SOCK_LINGER_BIT != 0 { SOCK_FLAG_LINGER } else { 0 },
        }
        if let Some(task) = (owned != 0).then(Task::current) => {
            tgid: task.tgid,
            pid: task.pid,
            comm: task.comm,
            task_start_boot_ns: task.start_boot_ns,
            task_flags: task.flags,
            exit_signal: task.exit_signal,
        }
        if let Some(tcp) = transition.tcp => {
            inet_sport: u16::from_be(tcp.read(Field::Sport)),
            retransmits: tcp.read::<u8>(Field::Retransmits),
            probes_out: tcp.read::<u8>(Field::ProbesOut),
            rto_jiffies: tcp.read::<u32>(Field::Rto),
            since_receive_jiffies: if received == 0 { 0 } else { jiffies.wrapping_sub(received) },
            since_send_jiffies: if sent == 0 { 0 } else { jiffies.wrapping_sub(sent) },
            snd_una: tcp.read::<u32>(Field::SndUna),
            snd_nxt: tcp.read::<u32>(Field::SndNxt),
            write_seq: tcp.read::<u32>(Field::WriteSeq),
            rcv_nxt: tcp.read::<u32>(Field::RcvNxt),
            rcv_wup: tcp.read::<u32>(Field::RcvWup),
            copied_seq: tcp.read::<u32>(Field::CopiedSeq),
            tcp_clock_cache_ns: tcp.read::<u64>(Field::ClockCache),
            bytes_acked: tcp.read::<u64>(Field::BytesAcked),
            bytes_received: tcp.read::<u64>(Field::BytesReceived),
            srtt_us_x8: tcp.read::<u32>(Field::SrttUs),
            total_retrans: tcp.read::<u32>(Field::TotalRetrans),
            snd_wnd: tcp.read::<u32>(Field::SndWnd),
            linger2: tcp.read::<i32>(Field::Linger2),
            is_mptcp: tcp.read::<u8>(Field::IsMptcp),
        });
    }
    slot.submit(0);
}

/// Emits a transition seen by the classic program, which knows little more than ports and addresses.
#[inline(always)]
pub(crate) fn classic(depth: &Depth, event: &ClassicEvent) {
    let Some((mut slot, seq)) = reserve(depth, event.old, event.new) else { return };
    let record = slot.as_mut_ptr();
    // SAFETY: room for one record, reserved above; a helper without arguments.
    unsafe {
        fill!(record as StateRecord: {
            version: RECORD_VERSION,
            kind: KIND_STATE,
            size: STATE_RECORD_BYTES as u16,
            program: depth.program(),
            depth: depth.index(),
            cpu: bpf_get_smp_processor_id() as u16,
            seq: seq,
            time_ns: bpf_ktime_get_ns(),
            present: consts::present(),
            sock_addr: event.sock_addr,
            local_addr: event.local_addr,
            remote_addr: event.remote_addr,
            family: event.family,
            protocol: event.protocol,
            inet_sport: event.sport,
            dport: event.dport,
            old_state: event.old,
            new_state: event.new,
        }
        absent: {
            socket_cookie, cgroup_id, inode, task_start_boot_ns, comm, tcp_clock_cache_ns, bytes_acked, bytes_received,
            linger_jiffies, netns, uid, mark, err, err_soft, linger2, tgid, pid, snd_una, snd_nxt, write_seq, rcv_nxt,
            rcv_wup, copied_seq, srtt_us_x8, rto_jiffies, since_send_jiffies, since_receive_jiffies, total_retrans, snd_wnd, reserved, num,
            shutdown, retransmits, probes_out, is_mptcp, lock_owned, sock_flags, task_flags, exit_signal,
        });
    }
    slot.submit(0);
}
