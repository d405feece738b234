//! The joining socket: who knocks, and what they are handed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::EventfdFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use xsched_common::join::{HELLO_LEN, Hello, Malformed, REPLY_FDS, Reply, Verdict};
use xsched_common::{ABI, page};

use super::clients::Client;

/// A bound, listening, non-blocking joining socket.
pub(super) fn listen(path: &Path) -> io::Result<OwnedFd> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Any user's programs may join; what they may do is decided by who they
    // are, not by who can connect.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}

/// One connection that waits to be accepted, if there is one.
pub(super) fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<OwnedFd>> {
    match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
        Ok(connection) => Ok(Some(connection)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// What came over a new connection.
pub(super) enum Knock {
    /// Nothing yet.
    Silent,
    /// The peer hung up.
    Closed,
    /// Not a hello.
    Malformed(Malformed),
    /// A hello.
    Hello(Hello),
}

/// Reads a connection's first packet.
pub(super) fn read_hello(connection: BorrowedFd<'_>) -> Knock {
    let mut buffer = [0; HELLO_LEN * 4];
    match rustix::net::recv(connection, &mut buffer[..], RecvFlags::DONTWAIT) {
        Ok((0, _)) => Knock::Closed,
        Ok((len, _)) => match Hello::decode(&buffer[..len.min(buffer.len())]) {
            Ok(hello) => Knock::Hello(hello),
            Err(malformed) => Knock::Malformed(malformed),
        },
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Knock::Silent,
        Err(_) => Knock::Closed,
    }
}

/// Whether a shim that says `hello` can use this agent's pages.
pub(super) fn verdict(hello: &Hello) -> Verdict {
    let fits = hello.control_size as usize <= size_of::<page::ControlPage>()
        && hello.status_size as usize <= size_of::<page::StatusPage>();
    if hello.abi.understands(ABI) && fits {
        Verdict::Accepted
    } else {
        Verdict::AbiMismatch
    }
}

/// Tells a peer that it has not joined. Best effort: the peer runs as native
/// whether it hears this or not.
pub(super) fn refuse(connection: BorrowedFd<'_>, verdict: Verdict) {
    let reply = Reply {
        abi: ABI,
        verdict,
        epoch: 0,
        client_id: 0,
    };
    let _ = rustix::net::send(
        connection,
        &reply.encode(),
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    );
}

/// Tells a client that it has joined and hands it its descriptors.
pub(super) fn welcome(client: &Client, epoch: u64) -> io::Result<()> {
    let reply = Reply {
        abi: ABI,
        verdict: Verdict::Accepted,
        epoch,
        client_id: client.shared.id.0,
    };
    let fds: [BorrowedFd<'_>; REPLY_FDS] = [
        client.shared.control.as_fd(),
        client.shared.status.as_fd(),
        client.bell.as_fd(),
    ];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPLY_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    rustix::net::sendmsg(
        &client.connection,
        &[io::IoSlice::new(&reply.encode())],
        &mut ancillary,
        SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

/// Who is at the other end, by the kernel's word.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// In the agent's pid namespace; 0 if the peer is not visible from it.
    pub pid: u32,
    /// Effective user when it connected.
    pub uid: u32,
    /// Effective group when it connected.
    pub gid: u32,
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "uid {} (pid {})", self.uid, self.pid)
    }
}

/// SO_PEERCRED. Not through rustix, whose `Pid` cannot be 0: a peer outside
/// the agent's pid namespace has that number.
pub fn peer(socket: BorrowedFd<'_>) -> io::Result<Peer> {
    let mut cred = libc::ucred {
        pid: 0,
        uid: u32::MAX,
        gid: u32::MAX,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `cred` is writable and `len` says how long it is.
    let rc = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    };
    if rc != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Peer {
        pid: u32::try_from(cred.pid).unwrap_or(0),
        uid: cred.uid,
        gid: cred.gid,
    })
}

/// The supplementary groups of the peer when it connected: SO_PEERGROUPS
/// (Linux 4.13).
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    /// As many as a process can have (NGROUPS_MAX).
    const MAX_GROUPS: usize = 65_536;
    let mut groups: Vec<libc::gid_t> = vec![0; 32];
    loop {
        let mut len = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: `groups` is writable and `len` says how long it is.
        let rc = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        let found = len as usize / size_of::<libc::gid_t>();
        if rc == 0 {
            groups.truncate(found);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // The kernel has written how many there are.
        let too_few = error.raw_os_error() == Some(libc::ERANGE);
        if !too_few || found <= groups.len() || found > MAX_GROUPS {
            return Err(error);
        }
        groups.resize(found, 0);
    }
}

/// A bell that somebody else rings to wake the control thread.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(
        0,
        EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
    )?)
}
