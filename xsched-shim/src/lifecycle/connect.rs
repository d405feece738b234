//! Talking to the agent: one hello, one reply, three descriptors.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xsched_common::join::{Hello, REPLY_FDS, REPLY_LEN, Reply, Verdict};
use xsched_common::run_dir::SYSTEM_RUN_DIR;
use xsched_common::units::Nanos;

use super::JoinError;
use crate::options::Options;
use crate::page::{Session, is_doorbell, move_up};
use crate::sys;

/// How long a launch may be held up by joining.
const PATIENCE: Nanos = Nanos::from_millis(50);

/// Joins the agent of this user or machine.
pub fn connect() -> Result<Session, JoinError> {
    let deadline = sys::now() + PATIENCE;
    // SAFETY: no preconditions.
    let (uid, pid) = unsafe { (libc::geteuid(), libc::getpid()) };
    let surroundings = &Options::get().surroundings;
    let run_dir = surroundings.for_client(uid);
    // The program's folder of the moment is nobody's choice of an agent.
    if run_dir.0.is_relative() {
        return Err(JoinError::NoAgent(io::ErrorKind::InvalidInput.into()));
    }
    let socket = open(&run_dir.join_socket()).map_err(JoinError::NoAgent)?;
    // Only root writes in the machine's, and the user chose a chosen one.
    let is_trusted = surroundings.chosen().is_some() || run_dir.0 == Path::new(SYSTEM_RUN_DIR);
    if !is_trusted {
        check_peer(&socket, uid)?;
    }
    let hello = Hello::new(pid.unsigned_abs()).encode();
    // SAFETY: `hello` is readable. A peer that is gone must not raise SIGPIPE.
    let sent = unsafe {
        libc::send(
            socket.as_raw_fd(),
            hello.as_ptr().cast(),
            hello.len(),
            libc::MSG_NOSIGNAL,
        )
    };
    if sent != hello.len() as isize {
        return Err(JoinError::NoAgent(io::Error::last_os_error()));
    }
    wait_readable(&socket, deadline)?;
    let (reply, descriptors) = receive(&socket)?;
    match reply.verdict {
        Verdict::AbiMismatch => return Err(JoinError::Abi(reply.abi)),
        Verdict::Busy => return Err(JoinError::Busy),
        Verdict::Accepted => {}
    }
    let [Some(control), Some(status), Some(doorbell)] = descriptors else {
        return Err(JoinError::Malformed);
    };
    if !is_doorbell(doorbell.as_fd()) {
        return Err(JoinError::Malformed);
    }
    let doorbell = move_up(doorbell.as_fd()).unwrap_or(doorbell);
    let socket = move_up(socket.as_fd()).unwrap_or(socket);
    let session = Session::map(&control, &status, doorbell, socket, sys::now());
    let session = session.map_err(JoinError::Page)?;
    // The pages are mapped: the agent may seal them against other mappings.
    session.connection.ring();
    Ok(session)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain bytes, for which zero is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    // SAFETY: a complete address of the length given.
    let connected = unsafe {
        libc::connect(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_un>() as libc::socklen_t,
        )
    };
    if connected != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// A directory in /tmp may be anybody's.
fn check_peer(socket: &OwnedFd, uid: u32) -> Result<(), JoinError> {
    let mut peer = MaybeUninit::<libc::ucred>::uninit();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the buffer has the length given; it is read only after success.
    let peer = unsafe {
        let failed = libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            peer.as_mut_ptr().cast(),
            &raw mut len,
        );
        if failed != 0 {
            return Err(JoinError::NoAgent(io::Error::last_os_error()));
        }
        peer.assume_init()
    };
    if peer.uid == 0 || peer.uid == uid {
        Ok(())
    } else {
        Err(JoinError::Stranger(peer.uid))
    }
}

fn wait_readable(socket: &OwnedFd, deadline: Nanos) -> Result<(), JoinError> {
    loop {
        let left = deadline.since(sys::now());
        if left == Nanos::ZERO {
            return Err(JoinError::Silent);
        }
        let mut poll = libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: left.0.min(PATIENCE.0) as i64,
        };
        // SAFETY: one pollfd; no signal mask. EINTR tries again.
        if unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, std::ptr::null()) } > 0 {
            return Ok(());
        }
    }
}

type Descriptors = [Option<OwnedFd>; REPLY_FDS];

fn receive(socket: &OwnedFd) -> Result<(Reply, Descriptors), JoinError> {
    // Room for more than is expected, so that nothing is lost unclosed.
    const ROOM: usize = 8;
    #[repr(C, align(8))]
    struct Ancillary([u8; 16 + ROOM * size_of::<RawFd>()]);

    let mut bytes = [0u8; REPLY_LEN];
    let mut ancillary = Ancillary([0; 16 + ROOM * size_of::<RawFd>()]);
    let mut iov = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iov;
    message.msg_iovlen = 1;
    message.msg_control = ancillary.0.as_mut_ptr().cast();
    message.msg_controllen = ancillary.0.len();
    // SAFETY: all buffers have the lengths given.
    let n = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    if n < 0 {
        return Err(JoinError::NoAgent(io::Error::last_os_error()));
    }
    let descriptors = take_descriptors(&message);
    let reply = bytes
        .get(..n as usize)
        .and_then(|bytes| Reply::decode(bytes).ok())
        .ok_or(JoinError::Malformed)?;
    Ok((reply, descriptors))
}

/// All descriptors in the message become owned; those beyond the expected
/// ones are closed.
fn take_descriptors(message: &libc::msghdr) -> Descriptors {
    let mut out: Descriptors = [const { None }; REPLY_FDS];
    let mut places = out.iter_mut();
    // SAFETY: the kernel filled in the headers; CMSG_* stay inside the
    // buffer, and every descriptor is new and owned by nobody else.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let bytes = (*header).cmsg_len - libc::CMSG_LEN(0) as usize;
                for i in 0..bytes / size_of::<RawFd>() {
                    let fd = OwnedFd::from_raw_fd(data.add(i).read_unaligned());
                    if let Some(place) = places.next() {
                        *place = Some(fd);
                    }
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    out
}
