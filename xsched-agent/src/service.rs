//! The service manager's side of the agent (systemd, or whoever speaks its
//! protocol): sockets it has made for us, and what it wants to hear.
//!
//! Sockets are told apart by name (FileDescriptorName= in the socket units).
//! They outlive the agent: programs that start while it restarts wait in
//! their backlog instead of running unscheduled.

use std::io;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::net::SocketType;
use sd_notify::NotifyState;
use tracing::warn;

/// Name of the joining socket among those handed down.
pub const JOIN_NAME: &str = "join";
/// Name of the API socket among those handed down.
pub const API_NAME: &str = "api";

/// Sockets that the service manager made.
#[derive(Debug, Default)]
pub struct Inherited {
    /// For shims: seqpacket.
    pub join: Option<OwnedFd>,
    /// For tools: stream.
    pub api: Option<OwnedFd>,
}

/// Sockets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritError {
    /// LISTEN_FDS and its kin make no sense.
    #[error("the sockets handed down cannot be read: {0}; check LISTEN_FDS and LISTEN_FDNAMES")]
    Unreadable(io::Error),
    /// A name that means nothing to us.
    #[error(
        "a socket named `{0}` was handed down: FileDescriptorName= must be `{JOIN_NAME}` or \
         `{API_NAME}`"
    )]
    Unknown(String),
    /// Two of one name.
    #[error("two sockets named `{0}` were handed down: one ListenX= line per socket unit")]
    Twice(&'static str),
    /// Not a listening Unix socket of the right type.
    #[error("the socket handed down as `{name}` is no listening {wanted} socket: use {directive}=")]
    WrongKind {
        /// Its name.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What makes one.
        directive: &'static str,
    },
}

/// Takes over the sockets handed down, if any.
///
/// To be called once, before anything else opens descriptors.
pub fn inherited() -> Result<Inherited, InheritError> {
    let mut found = Inherited::default();
    let handed_down = sd_notify::listen_fds_with_names().map_err(InheritError::Unreadable)?;
    for (fd, name) in handed_down {
        // SAFETY: the service manager opened it for this process (LISTEN_PID
        // was checked), and nobody else here has taken it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let (place, name, kind) = match name.as_str() {
            JOIN_NAME => (&mut found.join, JOIN_NAME, SocketType::SEQPACKET),
            API_NAME => (&mut found.api, API_NAME, SocketType::STREAM),
            _ => return Err(InheritError::Unknown(name)),
        };
        if !is_listening(&fd, kind) {
            let (wanted, directive) = match kind {
                SocketType::STREAM => ("stream", "ListenStream"),
                _ => ("seqpacket", "ListenSequentialPacket"),
            };
            return Err(InheritError::WrongKind {
                name,
                wanted,
                directive,
            });
        }
        if place.replace(fd).is_some() {
            return Err(InheritError::Twice(name));
        }
    }
    Ok(found)
}

fn is_listening(fd: &OwnedFd, kind: SocketType) -> bool {
    use rustix::net::sockopt;
    sockopt::socket_type(fd).is_ok_and(|found| found == kind)
        && sockopt::socket_acceptconn(fd.as_fd()).unwrap_or(false)
        && sockopt::socket_domain(fd.as_fd())
            .is_ok_and(|domain| domain == rustix::net::AddressFamily::UNIX)
}

/// Everything is served from now on.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(e) => warn!("no clock for the service manager: {e}"),
    }
}

/// The agent is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The agent is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] must be called, if anybody wants to hear it
/// (WatchdogSec=): half the time after which the service manager acts.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|time| time / 2)
}

/// Without a service manager nobody listens, and nothing is sent.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(state) {
        warn!("the service manager does not listen: {e}");
    }
}
