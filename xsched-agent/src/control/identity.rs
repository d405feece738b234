//! Which process has connected, whatever becomes of its number.
//!
//! SO_PEERCRED gives the number that the peer had when it connected,
//! translated into the agent's pid namespace. The process may have died
//! since and the number may be another's, because a connection outlives its
//! maker in the maker's children. A pidfd means one process for ever.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};
use xsched_host::process::ProcessId;
use xsched_host::readers::Tenant;

use super::join::Peer;

/// A process that has connected.
pub(super) struct PeerProcess {
    /// By SO_PEERCRED.
    pub peer: Peer,
    pidfd: OwnedFd,
}

/// Why a peer cannot be told from others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unidentified {
    /// SO_PEERCRED gives 0 for a process outside of the agent's namespace.
    #[error(
        "it lives outside of the agent's pid namespace: run the agent on the host, or in a \
         container with the host's pids (--pid=host)"
    )]
    OutOfSight,
    /// It has exited.
    #[error("process {0} has exited meanwhile")]
    Gone(u32),
    /// The kernel refused a descriptor.
    #[error("cannot get hold of process {0}: {1}")]
    Resources(u32, io::Error),
}

impl PeerProcess {
    /// Gets hold of `peer`, who made `connection`. To be called as soon as it is
    /// accepted: before Linux 6.5, which has SO_PEERPIDFD, the number could be
    /// reused between the peer's connect and this call.
    pub fn of(connection: BorrowedFd<'_>, peer: Peer) -> Result<PeerProcess, Unidentified> {
        let Some(pid) = Pid::from_raw(peer.pid.cast_signed()) else {
            return Err(Unidentified::OutOfSight);
        };
        let pidfd = match peer_pidfd(connection) {
            Err(e) if e.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from)
            }
            found => found,
        };
        match pidfd {
            Ok(pidfd) => Ok(PeerProcess { peer, pidfd }),
            // What kernels say of a process that was reaped: ESRCH, or EINVAL
            // before 6.16.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::EINVAL)) => {
                Err(Unidentified::Gone(peer.pid))
            }
            Err(e) => Err(Unidentified::Resources(peer.pid, e)),
        }
    }

    /// The same for another thread.
    pub fn again(&self) -> io::Result<PeerProcess> {
        Ok(PeerProcess {
            peer: self.peer,
            pidfd: self.pidfd.try_clone()?,
        })
    }

    /// Whose process it is, by what the kernel itself keeps: no lock of the
    /// process's own is taken.
    pub fn tenant(&self) -> Tenant {
        let tenant = Tenant::of_user(self.peer.uid, self.peer.pid);
        match has_exited(self.pidfd.as_fd()) {
            // The number may be another's by now.
            true => Tenant::known_by(self.peer.uid),
            false => tenant,
        }
    }

    /// Its number and start time. Not by the control thread: see
    /// [`super::aside`].
    pub fn identify(&self) -> Result<ProcessId, Unidentified> {
        let gone = Unidentified::Gone(self.peer.pid);
        let Ok(process) = ProcessId::of(self.peer.pid) else {
            return Err(gone);
        };
        // It lives after its start time was read, so that was its own.
        if has_exited(self.pidfd.as_fd()) {
            return Err(gone);
        }
        Ok(process)
    }

    /// Readable once the process exits.
    pub fn into_pidfd(self) -> OwnedFd {
        self.pidfd
    }
}

/// SO_PEERPIDFD, which rustix does not have.
fn peer_pidfd(connection: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut fd: libc::c_int = -1;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `fd` is writable and `len` says how long it is.
    let rc = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut fd).cast(),
            &raw mut len,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn has_exited(pidfd: BorrowedFd<'_>) -> bool {
    let mut poll = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut poll, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::join::peer;
    use rustix::net::{AddressFamily, SocketFlags, SocketType};

    fn pair() -> (OwnedFd, OwnedFd) {
        rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("sockets")
    }

    #[test]
    fn a_peer_is_who_it_is() {
        let (ours, _theirs) = pair();
        let peer_process = PeerProcess::of(ours.as_fd(), peer(ours.as_fd()).expect("credentials"))
            .expect("this process");
        let me = ProcessId::of(std::process::id()).expect("I exist");
        assert_eq!(peer_process.identify().expect("I live"), me);
    }

    #[test]
    fn the_dead_have_no_identity() {
        let (ours, _theirs) = pair();
        let mut child = std::process::Command::new("true").spawn().expect("starts");
        let pidfd = rustix::process::pidfd_open(
            Pid::from_raw(child.id().cast_signed()).expect("a pid"),
            PidfdFlags::empty(),
        )
        .expect("a pidfd");
        let peer_process = PeerProcess {
            peer: peer(ours.as_fd()).expect("credentials"),
            pidfd,
        };
        child.wait().expect("ends");
        // The number in `peer` is a living process's: that must not matter.
        assert!(matches!(
            peer_process.identify(),
            Err(Unidentified::Gone(_))
        ));
    }
}
