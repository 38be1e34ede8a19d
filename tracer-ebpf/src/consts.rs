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

/// One word of the filter; `pick` names it.
#[inline(always)]
pub(crate) fn filter<T: Copy>(pick: impl FnOnce(*const KernelFilter) -> *const T) -> T {
    // SAFETY: `pick` stays inside the static that it is given.
    unsafe { read_volatile(pick(&raw const FILTER)) }
}
