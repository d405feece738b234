//! The agent's side of the shared pages: memfds, sealed and mapped.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};
use xsched_common::page::{ControlPage, StatusPage};

/// A page that another process maps too.
///
/// Everything behind the page's header is atomics, so a shared reference is
/// all that is ever given out; the header is written before the peer gets
/// the descriptor and not read again.
pub struct SharedPage<T> {
    at: NonNull<T>,
    fd: OwnedFd,
}

// SAFETY: the mapping lives as long as the value and the pages' fields are
// atomics, which threads may share.
unsafe impl<T: Sync> Send for SharedPage<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedPage<T> {}

impl SharedPage<ControlPage> {
    /// A control page: writable here and, through the seal, nowhere else.
    pub fn control(page: ControlPage) -> io::Result<Self> {
        let shared = SharedPage::create("xsched-control", page)?;
        // FUTURE_WRITE must come after our own writable mapping.
        shared.seal(SealFlags::FUTURE_WRITE)?;
        Ok(shared)
    }
}

impl SharedPage<StatusPage> {
    /// A status page: writable for the client, read-only here.
    pub fn status(page: StatusPage) -> io::Result<Self> {
        let shared = SharedPage::create("xsched-status", page)?;
        shared.seal(SealFlags::empty())?;
        // SAFETY: the range is exactly our own mapping.
        unsafe {
            rustix::mm::mprotect(
                shared.at.as_ptr().cast(),
                size_of::<StatusPage>(),
                MprotectFlags::READ,
            )?;
        }
        Ok(shared)
    }
}

#[cfg(test)]
impl SharedPage<StatusPage> {
    /// The page as its client has it, writable; never unmapped.
    pub fn of_client(&self) -> &'static StatusPage {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let size = size_of::<StatusPage>();
        // SAFETY: a fresh mapping of an initialised page of atomics.
        unsafe {
            let at = rustix::mm::mmap(
                ptr::null_mut(),
                size,
                protection,
                MapFlags::SHARED,
                &self.fd,
                0,
            );
            &*at.expect("maps").cast::<StatusPage>()
        }
    }
}

impl<T> SharedPage<T> {
    fn create(name: &str, page: T) -> io::Result<Self> {
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&fd, size_of::<T>() as u64)?;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let at = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                size_of::<T>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        let at = NonNull::new(at.cast::<T>()).expect("mmap returns an address or an error");
        // SAFETY: the mapping is writable, aligned to a page and as long as
        // the value, and nobody else has it yet.
        unsafe { at.write(page) };
        Ok(SharedPage { at, fd })
    }

    fn seal(&self, more: SealFlags) -> io::Result<()> {
        rustix::fs::fcntl_add_seals(
            &self.fd,
            SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL | more,
        )
    }
}

impl<T> Deref for SharedPage<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped and initialised since `create`, unmapped in `drop`.
        unsafe { self.at.as_ref() }
    }
}

impl<T> AsFd for SharedPage<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<T> Drop for SharedPage<T> {
    fn drop(&mut self) {
        // SAFETY: exactly our own mapping, and no reference outlives `self`.
        let unmapped = unsafe { rustix::mm::munmap(self.at.as_ptr().cast(), size_of::<T>()) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    fn map(fd: BorrowedFd<'_>, prot: ProtFlags) -> io::Result<*mut core::ffi::c_void> {
        // SAFETY: a fresh mapping; the tests leak it.
        unsafe { rustix::mm::mmap(ptr::null_mut(), 4096, prot, MapFlags::SHARED, fd, 0) }
    }

    /// Invariant: the control page is read-only for the client.
    #[test]
    fn a_client_cannot_write_or_resize_its_control_page() {
        let page = SharedPage::control(ControlPage::new(1, 2)).expect("memfd");
        assert!(map(page.as_fd(), ProtFlags::READ).is_ok());
        assert_eq!(
            map(page.as_fd(), ProtFlags::READ | ProtFlags::WRITE),
            Err(io::Errno::PERM)
        );
        assert!(rustix::io::pwrite(&page, b"x", 0).is_err());
        assert!(rustix::fs::ftruncate(&page, 0).is_err());
        assert!(rustix::fs::fcntl_add_seals(&page, SealFlags::WRITE).is_err());
        page.heartbeat.store(7, Relaxed);
        assert_eq!(page.heartbeat.load(Relaxed), 7);
    }

    #[test]
    fn a_client_can_write_but_not_resize_its_status_page() {
        let page = SharedPage::status(StatusPage::new()).expect("memfd");
        assert!(rustix::fs::ftruncate(&page, 0).is_err());
        let theirs = map(page.as_fd(), ProtFlags::READ | ProtFlags::WRITE).expect("writable");
        // SAFETY: the mapping starts with a StatusPage.
        let pid = unsafe { &(*theirs.cast::<StatusPage>()).pid };
        pid.store(42, Relaxed);
        assert_eq!(page.pid.load(Relaxed), 42);
    }
}
