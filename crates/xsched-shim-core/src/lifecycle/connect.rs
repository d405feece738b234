//! Talking to the agent: one hello, one reply, three descriptors.

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use xsched_common::handshake::{Hello, HelloResult, Part, REPLY_FDS, REPLY_LEN, Reply};
use xsched_common::run_dir::SYSTEM_RUN_DIR;
use xsched_common::units::Nanos;

use super::JoinError;
use crate::groups::Group;
use crate::options::Options;
use crate::page::{Session, is_doorbell, move_up};
use crate::sys::{self, Call, Errno};

/// How long a launch may be held up by joining.
const PATIENCE: Nanos = Nanos::from_millis(50);

/// Joins the agent of this user or machine with a part of the process.
pub fn connect(group: Group, part: Part) -> Result<Session, JoinError> {
    let deadline = sys::now() + PATIENCE;
    let uid = sys::effective_uid();
    let surroundings = &Options::get().surroundings;
    let run_dir = surroundings.for_client(uid);
    // The program's folder of the moment is nobody's choice of an agent.
    if run_dir.0.is_relative() {
        return Err(JoinError::NoAgent(Errno(libc::EINVAL)));
    }
    let socket = open(&run_dir.join_socket()).map_err(JoinError::NoAgent)?;
    // Only root writes in the machine's, and the user chose a chosen one.
    let is_trusted = surroundings.chosen().is_some() || run_dir.0 == Path::new(SYSTEM_RUN_DIR);
    if !is_trusted {
        check_peer(&socket, uid)?;
    }
    let hello = Hello::new(sys::pid()).of(part).encode();
    let arguments = [
        socket.as_raw_fd() as usize,
        hello.as_ptr() as usize,
        hello.len(),
        libc::MSG_NOSIGNAL as usize,
        0,
    ];
    // SAFETY: `hello` is readable, and a connected socket needs no address. A
    // peer that is gone must not raise SIGPIPE.
    let sent = unsafe { sys::call(Call::SendTo, arguments) }.map_err(JoinError::NoAgent)?;
    if sent != hello.len() {
        return Err(JoinError::NoAgent(Errno(libc::EPIPE)));
    }
    wait_readable(&socket, deadline)?;
    let (reply, descriptors) = receive(&socket)?;
    match reply.verdict {
        HelloResult::AbiMismatch => return Err(JoinError::Abi(reply.abi)),
        HelloResult::Busy => return Err(JoinError::Busy),
        HelloResult::Accepted => {}
    }
    let [Some(control), Some(status), Some(doorbell)] = descriptors else {
        return Err(JoinError::Malformed);
    };
    if !is_doorbell(doorbell.as_fd()) {
        return Err(JoinError::Malformed);
    }
    let doorbell = move_up(doorbell.as_fd()).unwrap_or(doorbell);
    let socket = move_up(socket.as_fd()).unwrap_or(socket);
    let session = Session::map(&control, &status, doorbell, socket, group, sys::now());
    let session = session.map_err(JoinError::Page)?;
    // The pages are mapped: the agent may seal them against other mappings.
    session.connection.ring();
    Ok(session)
}

fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no memory is passed.
    let fd = unsafe { sys::call(Call::Socket, [libc::AF_UNIX as usize, kind as usize, 0])? };
    // SAFETY: new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
    // SAFETY: plain bytes, for which zero is valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    for (to, from) in address.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    let arguments = [
        fd,
        &raw const address as usize,
        size_of::<libc::sockaddr_un>(),
    ];
    // SAFETY: a complete address of the length given.
    unsafe { sys::call(Call::Connect, arguments)? };
    Ok(socket)
}

/// A directory in /tmp may be anybody's.
fn check_peer(socket: &OwnedFd, uid: u32) -> Result<(), JoinError> {
    let mut peer = MaybeUninit::<libc::ucred>::uninit();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    let arguments = [
        socket.as_raw_fd() as usize,
        libc::SOL_SOCKET as usize,
        libc::SO_PEERCRED as usize,
        peer.as_mut_ptr() as usize,
        &raw mut len as usize,
    ];
    // SAFETY: the buffer has the length given; it is read only after success.
    let peer = unsafe {
        sys::call(Call::GetSockOpt, arguments).map_err(JoinError::NoAgent)?;
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
        // The kernel writes into it what is left.
        let mut timeout = libc::timespec {
            tv_sec: 0,
            tv_nsec: left.0.min(PATIENCE.0) as i64,
        };
        let arguments = [&raw mut poll as usize, 1, &raw mut timeout as usize, 0];
        // SAFETY: one pollfd; no signal mask. EINTR tries again.
        if unsafe { sys::call(Call::Ppoll, arguments) }.is_ok_and(|ready| ready > 0) {
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
    let arguments = [
        socket.as_raw_fd() as usize,
        &raw mut message as usize,
        libc::MSG_CMSG_CLOEXEC as usize,
    ];
    // SAFETY: all buffers have the lengths given.
    let n = unsafe { sys::call(Call::RecvMsg, arguments) }.map_err(JoinError::NoAgent)?;
    let descriptors = take_descriptors(&message);
    let reply = bytes
        .get(..n)
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
