//! The agent's side of the shared pages: memfds, sealed and mapped.

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io;
use rustix::mm::{MapFlags, ProtFlags};
use tracing::debug;
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
        let fd = memfd::<ControlPage>("control", page.client_id)?;
        let at = map(&fd, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?;
        let shared = SharedPage { at, fd };
        // SAFETY: the mapping is writable, aligned to a page and as long as
        // the value, and nobody else has it yet.
        unsafe { shared.at.write(page) };
        // FUTURE_WRITE must come after our own writable mapping.
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL | SealFlags::FUTURE_WRITE;
        rustix::fs::fcntl_add_seals(&shared.fd, seals)?;
        Ok(shared)
    }
}

/// A status page that its client may map now. The agent does not, because
/// until it is sealed the client may punch holes into it, and whoever reads
/// meanwhile waits for as long as the client's own mappings make that take
/// (Linux, mm/shmem.c: `shmem_falloc_wait`).
pub(super) struct StatusDraft(OwnedFd);

impl StatusDraft {
    pub fn new(client_id: u64) -> io::Result<StatusDraft> {
        let fd = memfd::<StatusPage>("status", client_id)?;
        let at = map(&fd, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?;
        // SAFETY: the mapping is writable, aligned to a page and as long as
        // the value; nobody else has it yet, and nothing refers to it after.
        unsafe {
            at.write(StatusPage::new());
            rustix::mm::munmap(at.as_ptr().cast(), size_of::<StatusPage>())?;
        }
        rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(StatusDraft(fd))
    }

    /// Maps it, once nobody can change what pages it has: whoever has not
    /// mapped it for writing cannot do so any more. Waits for a hole that is
    /// being punched: not for the control thread.
    ///
    /// # Errors
    /// The client has sealed it in a way of its own, or memory is short.
    pub fn seal(self) -> io::Result<SharedPage<StatusPage>> {
        rustix::fs::fcntl_add_seals(&self.0, SealFlags::FUTURE_WRITE | SealFlags::SEAL)?;
        // A page that a hole has taken is put back now.
        let at = map::<StatusPage>(
            &self.0,
            ProtFlags::READ,
            MapFlags::SHARED | MapFlags::POPULATE,
        )?;
        let shared = SharedPage { at, fd: self.0 };
        // Where the client's control group is short of memory its pages are
        // taken, and whoever looks at one waits for it to be read in again.
        // Without the room for that (RLIMIT_MEMLOCK) they may be taken.
        // SAFETY: exactly our own mapping.
        let locked = unsafe { rustix::mm::mlock(at.as_ptr().cast(), size_of::<StatusPage>()) };
        if let Err(e) = locked {
            debug!("a client's page is not kept in memory: {e}");
        }
        Ok(shared)
    }
}

impl AsFd for StatusDraft {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl StatusDraft {
    /// The page as its client has it, writable; never unmapped. For tests.
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn of_client(&self) -> &'static StatusPage {
        let at = map(
            &self.0,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED,
        );
        // SAFETY: a fresh mapping of an initialised page of atomics.
        unsafe { at.expect("maps").as_ref() }
    }
}

/// A memfd as long as a `T`, zeroed. Its name, which /proc/PID/maps shows, tells
/// whoever looks at a process which pages belong together.
fn memfd<T>(kind: &str, client_id: u64) -> io::Result<OwnedFd> {
    let name = format!("xsched-{kind}-{client_id}");
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, size_of::<T>() as u64)?;
    Ok(fd)
}

/// A new mapping, at an address of the kernel's choice.
fn map<T>(fd: &OwnedFd, protection: ProtFlags, flags: MapFlags) -> io::Result<NonNull<T>> {
    // SAFETY: nothing is mapped where the kernel puts it.
    let at =
        unsafe { rustix::mm::mmap(ptr::null_mut(), size_of::<T>(), protection, flags, fd, 0)? };
    Ok(NonNull::new(at.cast::<T>()).expect("mmap returns an address or an error"))
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

    fn map_of(fd: BorrowedFd<'_>, prot: ProtFlags) -> io::Result<*mut core::ffi::c_void> {
        // SAFETY: a fresh mapping; the tests leak it.
        unsafe { rustix::mm::mmap(ptr::null_mut(), 4096, prot, MapFlags::SHARED, fd, 0) }
    }

    /// Invariant: the control page is read-only for the client.
    #[test]
    fn a_client_cannot_write_or_resize_its_control_page() {
        let page = SharedPage::control(ControlPage::new(1, 2)).expect("memfd");
        assert!(map_of(page.as_fd(), ProtFlags::READ).is_ok());
        assert_eq!(
            map_of(page.as_fd(), ProtFlags::READ | ProtFlags::WRITE),
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
        let draft = StatusDraft::new(2).expect("memfd");
        assert!(rustix::fs::ftruncate(&draft, 0).is_err());
        let theirs = draft.of_client();
        let page = draft.seal().expect("seals");
        theirs.pid.store(42, Relaxed);
        assert_eq!(page.pid.load(Relaxed), 42);
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("reads");
        let start = format!("{:x}-", std::ptr::from_ref(&*page).addr());
        let mut lines = smaps.lines().skip_while(|line| !line.starts_with(&start));
        let flags = lines.find(|line| line.starts_with("VmFlags:"));
        assert!(
            flags.is_some_and(|flags| flags.contains(" lo")),
            "{flags:?}"
        );
    }

    /// Nobody takes pages from under the agent once it reads them.
    #[test]
    fn a_sealed_status_page_keeps_its_pages() {
        use rustix::fs::FallocateFlags;
        let draft = StatusDraft::new(2).expect("memfd");
        let theirs = draft.of_client();
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let punch = |fd: BorrowedFd<'_>| rustix::fs::fallocate(fd, hole, 0, 4096);
        punch(draft.as_fd()).expect("nobody reads it yet");
        let page = draft.seal().expect("seals");
        assert_eq!(punch(page.as_fd()), Err(io::Errno::PERM));
        // SAFETY: exactly the client's mapping; its bytes may change.
        let removed = unsafe {
            let at = std::ptr::from_ref(theirs).cast_mut().cast();
            rustix::mm::madvise(at, size_of::<StatusPage>(), rustix::mm::Advice::LinuxRemove)
        };
        assert_eq!(removed, Err(io::Errno::PERM));
        assert!(map_of(page.as_fd(), ProtFlags::READ | ProtFlags::WRITE).is_err());
        theirs.pid.store(7, Relaxed);
        assert_eq!(page.pid.load(Relaxed), 7);
    }
}
