//! The joining socket: who connects, and what they are handed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::event::EventfdFlags;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType,
};
use xsched_common::handshake::{HELLO_LEN, Hello, HelloResult, Malformed, REPLY_FDS, Reply};
use xsched_common::{ABI, page};
use xsched_policy::ClientId;

use super::newcomers::Handout;

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
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// Connections that may wait to be accepted; the kernel has a limit of its own
/// (net.core.somaxconn, usually the same).
const BACKLOG: i32 = 4096;

/// Lets nobody send descriptors over connections that are made from now on
/// (Linux 6.16). Whoever drops the last reference to such a one may wait for
/// as long as its sender likes. Whether the kernel can do that.
pub fn refuse_descriptors(socket: BorrowedFd<'_>) -> bool {
    let off: libc::c_int = 0;
    // SAFETY: `off` is readable and as long as said.
    let rc = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const off).cast(),
            size_of_val(&off) as libc::socklen_t,
        )
    };
    rc == 0
}

/// Whether nobody could send descriptors over this connection: then closing
/// it never waits. A connection has that from its listener, as it was when it
/// was made.
pub(super) fn is_plain(connection: &OwnedFd) -> bool {
    let mut passes: libc::c_int = 1;
    let mut len = size_of_val(&passes) as libc::socklen_t;
    // SAFETY: `passes` is writable and `len` says how long it is.
    let rc = unsafe {
        libc::getsockopt(
            connection.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw mut passes).cast(),
            &raw mut len,
        )
    };
    rc == 0 && passes == 0
}

/// Not in the libc crate yet for this architecture (Linux 6.16).
const SO_PASSRIGHTS: libc::c_int = 83;

/// Where a listening socket lies in the file system.
pub(super) fn path_of(listener: &OwnedFd) -> Option<PathBuf> {
    let address = rustix::net::getsockname(listener).ok()?;
    let address = SocketAddrUnix::try_from(address).ok()?;
    let path = address.path()?;
    Some(PathBuf::from(OsStr::from_bytes(path.to_bytes())))
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
pub(super) enum FirstPacket {
    /// Nothing yet.
    Silent,
    /// The peer hung up.
    Closed,
    /// Not a hello.
    Malformed(Malformed),
    /// A hello.
    Hello(Hello),
}

/// Looks at a connection's first packet, and leaves it there: taking it would
/// drop the descriptors that may come with it, which may take as long as
/// their sender likes (a socket with SO_LINGER).
pub(super) fn peek_hello(connection: BorrowedFd<'_>) -> FirstPacket {
    let mut buffer = [0; HELLO_LEN * 4];
    let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
    match rustix::net::recv(connection, &mut buffer[..], flags) {
        Ok((0, _)) => FirstPacket::Closed,
        Ok((len, _)) => match Hello::decode(&buffer[..len.min(buffer.len())]) {
            Ok(hello) => FirstPacket::Hello(hello),
            Err(malformed) => FirstPacket::Malformed(malformed),
        },
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => FirstPacket::Silent,
        Err(_) => FirstPacket::Closed,
    }
}

/// Whether a shim that says `hello` can use this agent's pages.
pub(super) fn verdict(hello: &Hello) -> HelloResult {
    let fits = hello.control_size as usize <= size_of::<page::ControlPage>()
        && hello.status_size as usize <= size_of::<page::StatusPage>();
    if hello.abi.understands(ABI) && fits {
        HelloResult::Accepted
    } else {
        HelloResult::AbiMismatch
    }
}

/// Tells a peer that it has not joined. Best effort: the peer runs as native
/// whether it hears this or not.
pub(super) fn refuse(connection: BorrowedFd<'_>, verdict: HelloResult) {
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
pub(super) fn welcome(
    connection: BorrowedFd<'_>,
    handout: &Handout,
    id: ClientId,
    epoch: u64,
) -> io::Result<()> {
    let reply = Reply {
        abi: ABI,
        verdict: HelloResult::Accepted,
        epoch,
        client_id: id.0,
    };
    let Some(draft) = &handout.draft else {
        return Err(io::Error::other("its page is sealed already"));
    };
    let fds: [BorrowedFd<'_>; REPLY_FDS] = [
        handout.control.as_fd(),
        draft.as_fd(),
        handout.doorbell.as_fd(),
    ];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REPLY_FDS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(io::Error::other("no room for the descriptors"));
    }
    rustix::net::sendmsg(
        connection,
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

/// A doorbell that somebody else rings to wake the control thread.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    Ok(rustix::event::eventfd(
        0,
        EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    /// Before Linux 6.16 anything may come with a message.
    #[test]
    fn a_hello_with_a_socket_that_lingers_is_looked_at_without_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
        let socket = TcpStream::connect(listener.local_addr().expect("bound")).expect("connects");
        let (_unread, _) = listener.accept().expect("accepts");
        socket.set_nonblocking(true).expect("an option");
        while (&socket).write(&[0; 65_536]).is_ok() {}
        socket.set_nonblocking(false).expect("an option");
        let linger = Some(Duration::from_secs(2));
        rustix::net::sockopt::set_socket_linger(&socket, linger).expect("an option");
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .expect("sockets");
        let hello = Hello::new(7);
        let send = || {
            let fds = [socket.as_fd()];
            let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
            let bytes = hello.encode();
            let message = [io::IoSlice::new(&bytes)];
            rustix::net::sendmsg(&theirs, &message, &mut ancillary, SendFlags::NOSIGNAL)
        };
        send().expect("this end takes descriptors");
        if refuse_descriptors(ours.as_fd()) {
            assert_eq!(send(), Err(rustix::io::Errno::PERM), "Linux 6.16 and newer");
        }
        drop(socket);
        let start = Instant::now();
        for _ in 0..3 {
            assert!(matches!(peek_hello(ours.as_fd()), FirstPacket::Hello(said) if said == hello));
        }
        assert!(start.elapsed() < Duration::from_secs(1), "it looks only");
        let start = Instant::now();
        drop(ours);
        assert!(start.elapsed() >= Duration::from_secs(1), "closing waits");
    }
}
