//! How far a ring buffer is written and read. Tells an empty ring from one whose next record has room and is not complete:
//! the library's reader stops at either.

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// A view of the ring's first two pages: how far it is read, and how far room was given out (`struct bpf_ringbuf`,
/// kernel/bpf/ringbuf.c).
pub(super) struct Positions {
    pages: NonNull<AtomicUsize>,
    page_bytes: usize,
}

// SAFETY: the mapping belongs to this value alone, and is only read.
unsafe impl Send for Positions {}

impl Positions {
    /// Of the ring buffer behind `map`.
    pub(super) fn of(map: BorrowedFd<'_>) -> io::Result<Self> {
        let page_bytes = page_size();
        // SAFETY: a mapping of its own, at an address that the kernel chooses.
        let pages = unsafe { mmap(null_mut(), 2 * page_bytes, ProtFlags::READ, MapFlags::SHARED, map, 0) }?;
        let pages = NonNull::new(pages.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { pages, page_bytes })
    }

    /// Everything that room was given out for has been read.
    pub(super) fn are_equal(&self) -> bool {
        // SAFETY: the first word of each of the two pages, mapped until drop; the kernel and the reader write them whole.
        let (read, written) = unsafe { (self.pages.as_ref(), self.pages.byte_add(self.page_bytes).as_ref()) };
        // Room is given out before a record's clock is read, so one that is older than this look is counted in.
        read.load(Ordering::Acquire) == written.load(Ordering::Acquire)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: mapped in `of`, and nothing refers to it any more. It cannot fail for a mapping that is there.
        let _ = unsafe { munmap(self.pages.as_ptr().cast(), 2 * self.page_bytes) };
    }
}
