//! Direct loads from kernel structures at offsets found in the running kernel's BTF.

use core::ptr::read_volatile;

use tracer_common::Field;

use crate::consts;

/// A kernel structure that the verifier knows by its BTF type.
///
/// It checks each load against that type before the program may run, and a load through a stale or null pointer yields
/// 0 instead of a fault: that is why reading is safe here.
#[derive(Clone, Copy)]
pub(crate) struct Object(*const u8);

impl Object {
    /// # Safety
    /// `address` comes from the kernel as a BTF-typed pointer: an argument, a helper's result, another object's member.
    #[inline(always)]
    pub(crate) unsafe fn new(address: *const u8) -> Self {
        Self(address)
    }

    /// The pointer as the kernel gave it. The verifier allows to store and to compare it, no arithmetic.
    #[inline(always)]
    pub(crate) fn address(self) -> *const u8 {
        self.0
    }

    /// The member's value, or 0 where this kernel lacks it.
    #[inline(always)]
    pub(crate) fn read<T: Copy + Default>(self, field: Field) -> T {
        match consts::offset(field) {
            // SAFETY: see the type. User space checked that the member has T's size.
            Some(offset) => unsafe { read_volatile(self.0.add(offset).cast()) },
            None => T::default(),
        }
    }

    /// A member of a structure that lies in the member `outer`, such as a protocol's share of a segment.
    #[inline(always)]
    pub(crate) fn read_within<T: Copy + Default>(self, outer: Field, inner: Field) -> T {
        match (consts::offset(outer), consts::offset(inner)) {
            // SAFETY: as in `read`.
            (Some(outer), Some(inner)) => unsafe { read_volatile(self.0.add(outer + inner).cast()) },
            _ => T::default(),
        }
    }

    /// A member of 16 bytes, as two words in memory order.
    #[inline(always)]
    pub(crate) fn read_words(self, field: Field) -> [u64; 2] {
        match consts::offset(field) {
            Some(offset) => {
                // SAFETY: as in `read`.
                unsafe {
                    let words = self.0.add(offset).cast::<u64>();
                    [read_volatile(words), read_volatile(words.add(1))]
                }
            }
            None => [0; 2],
        }
    }

    /// The structure that a pointer member leads to; `None` where the kernel lacks the member or it is null. Loading through
    /// null would yield 0 as well, on old kernels at the price of a page fault.
    #[inline(always)]
    pub(crate) fn follow(self, field: Field) -> Option<Self> {
        let offset = consts::offset(field)?;
        // SAFETY: as in `read`; the verifier gives what was loaded the BTF type of the member.
        let next = unsafe { Self::new(read_volatile(self.0.add(offset).cast())) };
        if next.0.is_null() { None } else { Some(next) }
    }
}
