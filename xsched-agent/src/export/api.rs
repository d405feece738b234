//! The API socket: JSON lines, see [`xsched_common::api`].

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};
use xsched_common::api::{Change, Failure, Request, Response, Settled, Snapshot};
use xsched_common::units::Weight;

use super::authorise::{self, Refusal};
use super::diagnosis;
use super::lines::{Line, read_line};
use super::places::Places;
use crate::control::{ControlHandle, Outcome, Peer, peer};
use crate::process::{self, ProcessId};

/// A peer that does not read for this long is hung up on.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The socket cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve the API at {}: {source}", .path.display())]
pub struct ApiError {
    /// The socket.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: io::Error,
}

/// Serves the socket at `path` for as long as the future is polled. The
/// caller holds the claim on the directory, so a socket file that is already
/// there is a dead agent's.
pub async fn serve(
    path: &Path,
    control: ControlHandle,
    snapshots: watch::Receiver<Arc<Snapshot>>,
) -> Result<std::convert::Infallible, ApiError> {
    let error = |source| ApiError {
        path: path.to_owned(),
        source,
    };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error(e)),
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(error)?;
    // Everybody may look; changes are authorised one by one.
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .map_err(error)?;
    let places = Places::default();
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
        let Some(place) = places.take(peer.uid, agent_uid()) else {
            // Best effort: its buffer is empty, so this fits.
            let _ = encoded(&crowded(peer)).and_then(|line| stream.try_write(&line));
            continue;
        };
        let (control, snapshots) = (control.clone(), snapshots.clone());
        tokio::spawn(async move {
            if let Err(e) = converse(stream, peer, control, snapshots).await {
                debug!("API: a connection ended: {e}");
            }
            drop(place);
        });
    }
}

async fn converse(
    stream: UnixStream,
    peer: Peer,
    control: ControlHandle,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let mut from = BufReader::new(from);
    loop {
        let line = match read_line(&mut from).await? {
            Line::Complete(line) => line,
            Line::Closed => return Ok(()),
            Line::TooLong => {
                return send(&mut to, &malformed("the line is too long")).await;
            }
        };
        match serde_json::from_slice::<Request>(&line) {
            Err(e) => send(&mut to, &malformed(&e.to_string())).await?,
            Ok(Request::List) => {
                let snapshot = snapshots.borrow_and_update().clone();
                send(&mut to, &Response::Snapshot(Box::new((*snapshot).clone()))).await?;
            }
            Ok(Request::Watch { interval_ms }) => {
                let interval = Duration::from_millis(interval_ms.clamp(100, 60_000));
                return watch_until_closed(&mut from, &mut to, snapshots, interval).await;
            }
            Ok(Request::Set(change)) => {
                let response = set(peer, change, &control).await;
                send(&mut to, &response).await?;
            }
            Ok(Request::Diagnose { pid, duration_ms }) => {
                let outcome = diagnosis::diagnose(peer, agent_uid(), pid, duration_ms).await;
                let response = outcome.map_or_else(Response::Error, Response::Diagnosis);
                send(&mut to, &response).await?;
            }
            Ok(
                Request::History { .. }
                | Request::Boost { .. }
                | Request::Suspend { .. }
                | Request::Resume { .. }
                | Request::Explain { .. }
                | Request::Reload
                | Request::SetMode { .. },
            ) => send(&mut to, &unsupported()).await?,
        }
    }
}

/// Sends a snapshot at once and then every `interval`. Whatever the peer
/// says meanwhile is not heard, except its end.
async fn watch_until_closed(
    from: &mut BufReader<tokio::net::unix::OwnedReadHalf>,
    to: &mut OwnedWriteHalf,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    interval: Duration,
) -> io::Result<()> {
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = timer.tick() => {
                let snapshot = snapshots.borrow_and_update().clone();
                send(to, &Response::Snapshot(Box::new((*snapshot).clone()))).await?;
            }
            line = read_line(from) => {
                if !matches!(line?, Line::Complete(_)) {
                    return Ok(());
                }
            }
        }
    }
}

async fn set(peer: Peer, change: Change, control: &ControlHandle) -> Response {
    let Change {
        pid,
        class: Some(class),
        weight: None,
        slo_p99_ns: None,
    } = change
    else {
        return unsupported();
    };
    let failure = |code: &str, message: String| {
        Response::Error(Failure {
            code: code.to_owned(),
            message,
        })
    };
    let refused = |refusal: Refusal| {
        info!(
            "refused: uid {} (pid {}) asked for class {class} of process {pid}",
            peer.uid, peer.pid
        );
        failure("not_permitted", refusal.to_string())
    };
    let (process, owner) = match ProcessId::of(pid).and_then(|p| Ok((p, process::uid(pid)?))) {
        Ok(found) => found,
        Err(e) => return failure("no_such_process", e.to_string()),
    };
    let right = match authorise::right(peer, agent_uid(), pid, owner) {
        Ok(right) => right,
        Err(refusal) => return refused(refusal),
    };
    let (tell, told) = oneshot::channel();
    control.set_class(process, class, right, move |outcome| {
        let _ = tell.send(outcome);
    });
    let joined = match told.await {
        Ok(Outcome::Applied) => true,
        Ok(Outcome::Noted) => false,
        Ok(Outcome::WouldRaise { from }) => return refused(Refusal::Raise { from, to: class }),
        Err(_) => {
            return failure(
                "internal",
                "the agent is stopping: try again when it runs".to_owned(),
            );
        }
    };
    info!(
        "uid {} (pid {}) set process {pid} to class {class}",
        peer.uid, peer.pid
    );
    Response::Settled(Settled {
        pid,
        class,
        weight: Weight::default(),
        slo_p99_ns: None,
        hold: None,
        joined,
    })
}

fn agent_uid() -> u32 {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() }
}

fn unsupported() -> Response {
    Response::Error(Failure {
        code: "internal".to_owned(),
        message: "this agent cannot do that yet".to_owned(),
    })
}

fn malformed(why: &str) -> Response {
    Response::Error(Failure {
        code: "malformed".to_owned(),
        message: format!(
            "not a request: {why}; send one JSON object per line, like {{\"op\":\"list\"}}"
        ),
    })
}

fn crowded(peer: Peer) -> Response {
    Response::Error(Failure {
        code: "busy".to_owned(),
        message: format!(
            "too many connections of user {}: close some, or use sudo",
            peer.uid
        ),
    })
}

fn encoded(response: &Response) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(response).map_err(io::Error::other)?;
    line.push(b'\n');
    Ok(line)
}

async fn send(to: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let line = encoded(response)?;
    tokio::time::timeout(WRITE_TIMEOUT, to.write_all(&line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}
