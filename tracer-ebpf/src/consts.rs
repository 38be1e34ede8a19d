//! Load-time constants. User space sets and freezes them before it loads the programs, so the verifier knows their
//! values and cuts out what they switch off.
//!
//! Each read is volatile: the compiler would otherwise fold in the values written here.

use core::ptr::read_volatile;

use tracer_common::{FILTER_NETNS, FILTER_PORTS, Field, KernelFilter, OFFSET_ABSENT, OFFSET_SLOTS};

#[unsafe(no_mangle)]
static OFFSETS: [u16; OFFSET_SLOTS] = [OFFSET_ABSENT; OFFSET_SLOTS];
#[unsafe(no_mangle)]
static FEATURES: u32 = 0;
#[unsafe(no_mangle)]
static PRESENT: u64 = 0;
#[unsafe(no_mangle)]
static TW_HANDLER: u64 = 0;
#[unsafe(no_mangle)]
static FILTER: KernelFilter = KernelFilter {
    family: 0,
    local_port_count: 0,
    remote_port_count: 0,
    netns_count: 0,
    local_ports: [0; FILTER_PORTS],
    remote_ports: [0; FILTER_PORTS],
    netns: [0; FILTER_NETNS],
};

/// Byte offset of `field`, or `None` where this kernel lacks it.
#[inline(always)]
pub(crate) fn offset(field: Field) -> Option<usize> {
    // SAFETY: every field has a slot, see the assertion on FIELD_COUNT.
    let offset = unsafe { read_volatile((&raw const OFFSETS).cast::<u16>().add(field as usize)) };
    if offset == OFFSET_ABSENT { None } else { Some(offset as usize) }
}

/// Whether user space found `bit` of [`tracer_common::feature`] in this kernel.
#[inline(always)]
pub(crate) fn feature(bit: u32) -> bool {
    // SAFETY: a static of that type.
    unsafe { read_volatile(&raw const FEATURES) & bit != 0 }
}

/// The [`tracer_common::present`] bits that this kernel can fill.
#[inline(always)]
pub(crate) fn present() -> u64 {
    // SAFETY: a static of that type.
    unsafe { read_volatile(&raw const PRESENT) }
}

/// Address of tw_timer_handler, which every time-wait socket's timer calls.
#[inline(always)]
pub(crate) fn tw_handler() -> u64 {
    // SAFETY: a static of that type.
    unsafe { read_volatile(&raw const TW_HANDLER) }
}

/// Address family that the filter asks for, 0 for any.
#[inline(always)]
pub(crate) fn filter_family() -> u32 {
    // SAFETY: a static of that type.
    unsafe { read_volatile(&raw const FILTER.family) }
}

/// A list of the filter.
#[derive(Clone, Copy)]
pub(crate) enum List {
    Netns,
    LocalPorts,
    RemotePorts,
}

/// Whether the filter's `list` holds `value`, or is empty: then it does not restrict anything.
#[inline(always)]
pub(crate) fn filter_allows(list: List, value: u32) -> bool {
    let (count, room) = match list {
        List::Netns => (&raw const FILTER.netns_count, FILTER_NETNS),
        List::LocalPorts => (&raw const FILTER.local_port_count, FILTER_PORTS),
        List::RemotePorts => (&raw const FILTER.remote_port_count, FILTER_PORTS),
    };
    // SAFETY: a static of that type.
    let count = unsafe { read_volatile(count) } as usize;
    if count == 0 {
        return true;
    }
    let mut index = 0;
    while index < room {
        // SAFETY: `room` is the array's length.
        let entry = unsafe {
            match list {
                List::Netns => read_volatile((&raw const FILTER.netns).cast::<u32>().add(index)),
                List::LocalPorts => {
                    read_volatile((&raw const FILTER.local_ports).cast::<u16>().add(index)).into()
                }
                List::RemotePorts => {
                    read_volatile((&raw const FILTER.remote_ports).cast::<u16>().add(index)).into()
                }
            }
        };
        if index < count && entry == value {
            return true;
        }
        index += 1;
    }
    false
}
