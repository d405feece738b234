//! The API socket: who is let in, see [`xsched_common::api`].

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixListener;
use tracing::{debug, warn};
use xsched_common::api::Response;

use super::agent_uid;
use super::answer::{encoded, failure};
use super::connection::serve_connection;
use super::quota::{ConnectionQuota, Limits};
use super::rate_limit::RateLimit;
use super::served::Served;
use crate::control::{Peer, peer, refuse_descriptors};

/// Connections at once.
const CONNECTIONS: Limits = Limits {
    of_user: 32,
    of_users: 256,
};

/// The socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the API at {}: {source}", .path.display())]
pub struct ApiError {
    /// The socket.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// A listening socket at `path`. The caller holds the claim on the directory,
/// so a socket file that is already there is a dead agent's.
pub fn listen(path: &Path) -> Result<StdListener, ApiError> {
    let error = |source| ApiError {
        path: path.to_owned(),
        source,
    };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error(e)),
        _ => {}
    }
    let listener = StdListener::bind(path).map_err(error)?;
    // Everybody may look; changes are authorised one by one.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .map_err(error)?;
    Ok(listener)
}

/// Serves a listening socket for as long as the future is polled.
pub async fn serve(listener: StdListener, served: Served) -> io::Result<Infallible> {
    listener.set_nonblocking(true)?;
    // What comes with a message would be closed by this thread, which may
    // take as long as the sender likes.
    refuse_descriptors(listener.as_fd());
    let listener = UnixListener::from_std(listener)?;
    let (quota, rate_limit) = (ConnectionQuota::new(CONNECTIONS), RateLimit::default());
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(e) => {
                // Out of descriptors, most likely: others must close first.
                warn!("API: cannot accept: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(peer) = peer(stream.as_fd()) else {
            continue;
        };
        let Some(place) = quota.take(peer.uid, agent_uid()) else {
            // Best effort: its buffer is empty, so this fits.
            let _ = encoded(&crowded(peer)).and_then(|line| stream.try_write(&line));
            continue;
        };
        let (served, rate_limit) = (served.clone(), rate_limit.clone());
        tokio::spawn(async move {
            if let Err(e) = serve_connection(stream, peer, served, rate_limit).await {
                debug!("API: a connection ended: {e}");
            }
            drop(place);
        });
    }
}

fn crowded(peer: Peer) -> Response {
    failure(
        "busy",
        format!(
            "too many connections of user {}: close some, or use sudo",
            peer.uid
        ),
    )
}
