//! The descriptors of a joined process: its connection to the agent and the
//! doorbell, an eventfd that wakes the agent.
//!
//! A program that closes descriptors which it does not know may have given
//! our numbers to files of its own: those must never be written to or
//! closed. A socket has an inode of its own and is told by that. All
//! eventfds share one (Linux, fs/anon_inodes.c), so the doorbell counts as
//! ours only while the connection beside it still is.

use std::os::fd::{IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::AcqRel};

use crate::sys::{self, Call};

/// Both descriptors, closed when the last ringer is done with them.
pub struct Connection {
    socket: Descriptor,
    doorbell: Descriptor,
    /// Threads ringing, plus [`CLOSED`].
    users: AtomicU32,
    /// Whether somebody has closed them, or is about to.
    hung_up: AtomicBool,
}

const CLOSED: u32 = 1 << 31;

impl Connection {
    /// Takes the socket and the agent's eventfd.
    pub fn new(socket: OwnedFd, doorbell: OwnedFd) -> Connection {
        Connection {
            socket: Descriptor::of(socket),
            doorbell: Descriptor::of(doorbell),
            users: AtomicU32::new(0),
            hung_up: AtomicBool::new(false),
        }
    }

    /// Wakes the agent. Never blocks: joining accepts non-blocking eventfds
    /// only, and a full one is rung already.
    pub fn ring(&self) {
        if self.users.fetch_add(1, AcqRel) & CLOSED == 0
            && self.socket.is_ours()
            && self.doorbell.is_ours()
        {
            let one = 1u64.to_ne_bytes();
            let arguments = [
                self.doorbell.number as usize,
                one.as_ptr() as usize,
                one.len(),
            ];
            // SAFETY: eight readable bytes.
            let _ = unsafe { sys::call(Call::Write, arguments) };
        }
        self.release();
    }

    /// Hangs up as soon as nobody rings: the agent then knows that we are
    /// gone.
    pub fn close(&self) {
        self.users.fetch_add(1, AcqRel);
        self.users.fetch_or(CLOSED, AcqRel);
        self.release();
    }

    /// Closes both at once, for who knows that nobody rings: the child of a
    /// fork, whose copies would keep the parent's connection alive beyond its
    /// death.
    pub fn hang_up(&self) {
        if !self.hung_up.swap(true, AcqRel) && self.socket.is_ours() {
            if self.doorbell.is_ours() {
                self.doorbell.close();
            }
            self.socket.close();
        }
    }

    fn release(&self) {
        // Only the last user of a closed connection sees exactly this.
        if self.users.fetch_sub(1, AcqRel) == CLOSED | 1 {
            self.hang_up();
        }
    }
}

/// An open descriptor and what it meant when it was ours.
struct Descriptor {
    number: i32,
    /// Device and inode; `None` if even that could not be told.
    identity: Option<(u64, u64)>,
}

impl Descriptor {
    fn of(fd: OwnedFd) -> Descriptor {
        let number = fd.into_raw_fd();
        Descriptor {
            number,
            identity: identity(number),
        }
    }

    fn is_ours(&self) -> bool {
        self.identity.is_some() && identity(self.number) == self.identity
    }

    fn close(&self) {
        // SAFETY: ours, as the caller has just found.
        let _ = unsafe { sys::call(Call::Close, [self.number as usize]) };
    }
}

fn identity(fd: i32) -> Option<(u64, u64)> {
    sys::fstat(fd).ok().map(|s| (s.st_dev, s.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::{AsRawFd, FromRawFd};
    use std::os::unix::net::UnixDatagram;

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

    fn socket() -> OwnedFd {
        UnixDatagram::unbound().expect("a socket").into()
    }

    fn is_open(number: i32) -> bool {
        sys::fstat(number).is_ok()
    }

    /// The program's `file` takes over this number.
    fn take_over(file: &impl AsRawFd, number: i32) {
        // SAFETY: both are descriptors of this test.
        assert!(unsafe { libc::dup2(file.as_raw_fd(), number) } >= 0);
    }

    #[test]
    fn rings_until_closed() {
        let agent = eventfd();
        let connection = Connection::new(socket(), agent.try_clone().expect("dup"));
        connection.ring();
        connection.ring();
        assert_eq!(count(&agent), Some(2));
        connection.close();
        connection.close();
        connection.ring();
        assert_eq!(count(&agent), None);
        assert!(!is_open(connection.socket.number));
    }

    #[test]
    fn reused_numbers_are_left_alone() {
        let connection = Connection::new(socket(), eventfd());
        let (s, d) = (connection.socket.number, connection.doorbell.number);
        // As after a program's close and open; an eventfd of its own cannot
        // be told from ours, but the socket's number means another socket.
        let (theirs, their_socket) = (eventfd(), socket());
        take_over(&theirs, d);
        take_over(&their_socket, s);
        connection.ring();
        connection.close();
        assert_eq!(count(&theirs), None, "not rung");
        assert!(is_open(s) && is_open(d), "not closed");
        // SAFETY: the copies made above.
        unsafe { (libc::close(s), libc::close(d)) };
    }

    #[test]
    fn a_file_in_the_doorbells_place_is_not_written_to() {
        let connection = Connection::new(socket(), eventfd());
        let file = tempfile::tempfile().expect("temporary file");
        let number = connection.doorbell.number;
        take_over(&file, number);
        connection.ring();
        connection.close();
        assert_eq!(file.metadata().expect("stat").len(), 0);
        assert!(is_open(number));
        // SAFETY: still open, because the connection did not close it.
        assert_eq!(unsafe { libc::close(number) }, 0);
    }
}
