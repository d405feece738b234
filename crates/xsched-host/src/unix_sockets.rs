//! Unix sockets of the machine, as the kernel lists them (sock_diag(7)): their
//! names, and who is connected with whom.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// A socket with a name in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// As it was bound, in the mount namespace of whoever did that; a
    /// connection that was accepted has the name of the socket that listens.
    pub path: Vec<u8>,
    /// What it is for.
    pub state: State,
    /// The number of the other end.
    pub peer: Option<u32>,
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Connections are made to it.
    Listening,
    /// It is one end of a connection.
    Connected,
    /// Neither.
    Other,
}

/// What is asked (linux/unix_diag.h).
#[repr(C)]
struct Request {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    protocol: u8,
    pad: u16,
    states: u32,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const UDIAG_SHOW_NAME: u32 = 1;
const UDIAG_SHOW_PEER: u32 = 4;
const UNIX_DIAG_NAME: u16 = 0;
const UNIX_DIAG_PEER: u16 = 2;
const TCP_ESTABLISHED: u8 = 1;
const TCP_LISTEN: u8 = 10;

/// Bytes of a netlink message's header, and of what the kernel says of a
/// socket before its attributes.
const HEADER: usize = 16;

/// More messages than a machine's sockets fill.
const MOST_READS: usize = 16_384;

/// Sockets of this network namespace whose path `is_wanted`.
///
/// # Errors
/// The kernel does not tell (no CONFIG_UNIX_DIAG).
pub fn named(is_wanted: impl Fn(&[u8]) -> bool) -> io::Result<Vec<UnixSocket>> {
    let netlink = ask()?;
    let mut found = Vec::new();
    let mut buffer = vec![0_u8; 32 << 10];
    for _ in 0..MOST_READS {
        // SAFETY: the buffer is writable for its length.
        let read = unsafe {
            libc::recv(
                netlink.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
            )
        };
        let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        if take(&buffer[..read], &is_wanted, &mut found)? {
            break;
        }
    }
    Ok(found)
}

/// The numbers of a process's sockets, as far as its descriptors can be read.
pub fn of_process(pid: u32) -> HashSet<u32> {
    const MAX_FILES: usize = 65_536;
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"));
    let files = files.into_iter().flatten().take(MAX_FILES).flatten();
    files
        .filter_map(|entry| {
            let to = std::fs::read_link(entry.path()).ok()?;
            let number = to.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            number.parse().ok()
        })
        .collect()
}

fn ask() -> io::Result<OwnedFd> {
    // SAFETY: creates a descriptor.
    let fd = unsafe {
        libc::socket(
            libc::AF_NETLINK,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            libc::NETLINK_SOCK_DIAG,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: nobody else has it.
    let netlink = unsafe { OwnedFd::from_raw_fd(fd) };
    // The kernel answers at once; nobody waits for ever if it does not.
    let second = libc::timeval {
        tv_sec: 1,
        tv_usec: 0,
    };
    let request = Request {
        length: size_of::<Request>() as u32,
        kind: SOCK_DIAG_BY_FAMILY,
        flags: (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16,
        sequence: 1,
        port: 0,
        family: libc::AF_UNIX as u8,
        protocol: 0,
        pad: 0,
        states: u32::MAX,
        inode: 0,
        show: UDIAG_SHOW_NAME | UDIAG_SHOW_PEER,
        cookie: [0; 2],
    };
    // SAFETY: both structures live until the calls return.
    let sent = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const second).cast(),
            size_of::<libc::timeval>() as u32,
        );
        libc::send(
            fd,
            (&raw const request).cast(),
            size_of::<Request>(),
            libc::MSG_NOSIGNAL,
        )
    };
    match sent {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(netlink),
    }
}

/// Takes in what one read brought; whether that was all.
fn take(
    mut messages: &[u8],
    is_wanted: &impl Fn(&[u8]) -> bool,
    found: &mut Vec<UnixSocket>,
) -> io::Result<bool> {
    while let (Some(length), Some(kind)) = (number(messages, 0), half(messages, 4)) {
        let length = length as usize;
        let Some(message) = messages.get(HEADER..length) else {
            break;
        };
        match i32::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let code = number(message, 0).unwrap_or_default().cast_signed();
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => found.extend(socket(message).filter(|socket| is_wanted(&socket.path))),
        }
        messages = messages.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

fn socket(message: &[u8]) -> Option<UnixSocket> {
    let state = match *message.get(2)? {
        TCP_LISTEN => State::Listening,
        TCP_ESTABLISHED => State::Connected,
        _ => State::Other,
    };
    let (mut path, mut peer) = (None, None);
    let mut attributes = message.get(HEADER..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        let value = attributes.get(4..length)?;
        match kind {
            UNIX_DIAG_NAME => path = Some(value),
            UNIX_DIAG_PEER => peer = number(value, 0),
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    // Abstract names begin with a zero.
    let path = path?.split(|&byte| byte == 0).next()?;
    (!path.is_empty()).then(|| UnixSocket {
        path: path.to_owned(),
        state,
        peer,
    })
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn both_ends_of_a_connection_are_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("control");
        let listener = UnixListener::bind(&path).expect("bound");
        let wanted = |name: &[u8]| name == path.as_os_str().as_encoded_bytes();
        let before = named(wanted).expect("the kernel tells");
        let states: Vec<State> = before.iter().map(|socket| socket.state).collect();
        assert_eq!(states, [State::Listening]);
        let client = UnixStream::connect(&path).expect("connects");
        let _server = listener.accept().expect("accepts");
        let after = named(wanted).expect("the kernel tells");
        let connected = after.iter().find(|socket| socket.state == State::Connected);
        let peer = connected.and_then(|socket| socket.peer).expect("a peer");
        assert!(of_process(std::process::id()).contains(&peer));
        drop(client);
        assert!(!of_process(std::process::id()).contains(&peer));
    }

    #[test]
    fn messages_that_are_cut_off_are_no_sockets() {
        let mut found = Vec::new();
        for length in [0_u32, 3, 15, 16, 20, 4096] {
            let mut bytes = vec![0_u8; 40];
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            let whole = take(&bytes, &|_: &[u8]| true, &mut found).expect("no error");
            assert!(!whole);
        }
        assert_eq!(found, []);
    }
}
