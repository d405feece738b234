//! Whether two open files are one to the kernel's uprobes.
//!
//! Uprobes belong to the real inode. Through overlayfs, which containers live
//! on, the same file of a shared layer shows another device in every
//! container, so by `fstat` it would be probed once per container and every
//! call counted as often. What overlayfs does not hide is the page cache: it
//! maps the real file's pages.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// Bits of an entry of /proc/PID/pagemap
/// (Documentation/admin-guide/mm/pagemap.rst).
const PRESENT: u64 = 1 << 63;
const FRAME: u64 = (1 << 55) - 1;

/// Where in memory a file's first page is. `None` also when the kernel does not
/// tell (page frames need CAP_SYS_ADMIN). May wait for whoever serves the file
/// system, as reading, mapping and unmapping do.
pub fn first_frame(file: &File) -> Option<u64> {
    let page = FirstPage::map(file)?;
    let pagemap = File::open("/proc/self/pagemap").ok()?;
    page.frame(&pagemap)
}

/// The first page of a file, mapped for reading.
struct FirstPage {
    address: *mut core::ffi::c_void,
}

impl FirstPage {
    fn map(file: &File) -> Option<FirstPage> {
        // SAFETY: a new mapping at an address of the kernel's choice; nothing
        // but `frame` touches it.
        let address = unsafe {
            mmap(
                ptr::null_mut(),
                page_size(),
                ProtFlags::READ,
                // Populated by the kernel: reading the page here would be a
                // SIGBUS if its owner truncated the file.
                MapFlags::SHARED | MapFlags::POPULATE,
                file,
                0,
            )
        };
        Some(FirstPage {
            address: address.ok()?,
        })
    }

    fn frame(&self, pagemap: &File) -> Option<u64> {
        let mut entry = [0; 8];
        let index = self.address as u64 / page_size() as u64;
        pagemap.read_exact_at(&mut entry, index * 8).ok()?;
        let entry = u64::from_le_bytes(entry);
        let frame = entry & FRAME;
        (entry & PRESENT != 0 && frame != 0).then_some(frame)
    }
}

impl Drop for FirstPage {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and no reference to it
        // exists.
        let _ = unsafe { munmap(self.address, page_size()) };
    }
}
