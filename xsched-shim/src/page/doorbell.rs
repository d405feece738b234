//! The eventfd that wakes the agent.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Relaxed};

/// An eventfd that is closed when the last ringer is done with it: a
/// descriptor number that was closed and reused by the program must never
/// be written to.
pub struct Doorbell {
    fd: i32,
    /// Device and inode of the eventfd: what a number that now means
    /// something else is told by.
    identity: AtomicU64,
    /// Threads ringing, plus [`CLOSED`].
    users: AtomicU32,
}

const CLOSED: u32 = 1 << 31;

impl Doorbell {
    /// Takes the agent's eventfd.
    pub fn new(fd: OwnedFd) -> Doorbell {
        let fd = fd.into_raw_fd();
        Doorbell {
            fd,
            identity: AtomicU64::new(identity(fd)),
            users: AtomicU32::new(0),
        }
    }

    /// Wakes the agent. Never blocks: the agent's eventfd is non-blocking,
    /// and a full one is rung already.
    pub fn ring(&self) {
        let _unseen = crate::sys::Unseen::new();
        if self.users.fetch_add(1, AcqRel) & CLOSED == 0
            && identity(self.fd) == self.identity.load(Relaxed)
        {
            let one = 1u64.to_ne_bytes();
            // SAFETY: eight readable bytes.
            unsafe { libc::write(self.fd, one.as_ptr().cast(), one.len()) };
        }
        self.release();
    }

    /// Closes it as soon as nobody rings.
    pub fn close(&self) {
        self.users.fetch_add(1, AcqRel);
        self.users.fetch_or(CLOSED, AcqRel);
        self.release();
    }

    fn release(&self) {
        // Only the last user of a closed doorbell sees exactly this; whoever
        // comes later finds no identity and closes nothing.
        if self.users.fetch_sub(1, AcqRel) == CLOSED | 1 {
            let identity_then = self.identity.swap(0, AcqRel);
            if identity_then != 0 && identity(self.fd) == identity_then {
                // SAFETY: ours, and taken by the swap.
                unsafe { libc::close(self.fd) };
            }
        }
    }

    /// The descriptor's number.
    pub fn raw(&self) -> i32 {
        self.fd
    }
}

/// Device and inode in one number, zero for a closed descriptor.
fn identity(fd: i32) -> u64 {
    super::stat(fd).map_or(0, |s| s.st_dev.rotate_left(32) ^ s.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, FromRawFd};

    fn eventfd() -> OwnedFd {
        // SAFETY: a new descriptor of our own.
        unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)) }
    }

    fn count(fd: &OwnedFd) -> Option<u64> {
        let mut value = [0; 8];
        // SAFETY: eight writable bytes.
        let n = unsafe { libc::read(fd.as_raw_fd(), value.as_mut_ptr().cast(), 8) };
        (n == 8).then(|| u64::from_ne_bytes(value))
    }

    #[test]
    fn rings_until_closed() {
        let agent = eventfd();
        let doorbell = Doorbell::new(agent.try_clone().expect("dup"));
        doorbell.ring();
        doorbell.ring();
        assert_eq!(count(&agent), Some(2));
        doorbell.close();
        doorbell.close();
        doorbell.ring();
        assert_eq!(count(&agent), None);
    }

    #[test]
    fn a_reused_number_is_left_alone() {
        let doorbell = Doorbell::new(eventfd());
        let file = tempfile::tempfile().expect("temporary file");
        // SAFETY: the doorbell's number now means the file, as after a
        // program's close and open.
        assert!(unsafe { libc::dup2(file.as_raw_fd(), doorbell.raw()) } >= 0);
        doorbell.ring();
        doorbell.close();
        assert_eq!(file.metadata().expect("stat").len(), 0);
        // SAFETY: still open, because the doorbell did not close it.
        assert_eq!(unsafe { libc::close(doorbell.raw()) }, 0);
    }
}
