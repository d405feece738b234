//! The allocator: pages of their own for each allocation.
//!
//! The program's `malloc` is the program's: it may be replaced, be what calls
//! us, or report at exit what we keep (LeakSanitizer). The shim allocates a few
//! dozen times in a process's life, and at each attempt to join; so the kernel's
//! own allocator will do, which has no lock that a fork or a signal handler
//! could find taken.

use std::alloc::{GlobalAlloc, Layout};

use crate::sys;

const PAGE: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct Heap;

// SAFETY: mappings are disjoint, as long as asked for, zeroed and aligned to
// a page; whoever wants more gets nothing.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > PAGE {
            return std::ptr::null_mut();
        }
        sys::map_memory(layout.size()).unwrap_or(0) as *mut u8
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe { self.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        sys::unmap(memory as usize, layout.size());
    }
}
