//! One connection: requests in, responses out.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use xsched_common::api::{Hello, Override, Request, Response, ShimState, Slowness, Snapshot};
use xsched_common::platform::TITLES;
use xsched_common::units::Nanos;
use xsched_host::clock;

use super::agent_uid;
use super::answer::{failure, send};
use super::authorise::Caller;
use super::changes;
use super::diagnosis;
use super::lines::{Line, read_line};
use super::rate_limit::RateLimit;
use super::served::Served;
use super::settings;
use crate::control::Peer;

/// Answers `peer` until it closes.
pub(super) async fn serve_connection(
    stream: UnixStream,
    peer: Peer,
    served: Served,
    rate_limit: RateLimit,
) -> io::Result<()> {
    let caller = Caller::of(&stream, peer);
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
            Ok(Request::Watch { interval_ms }) => {
                let interval = Duration::from_millis(interval_ms.clamp(100, 60_000));
                return watch_until_closed(&mut from, &mut to, served.snapshots, interval).await;
            }
            Ok(request) => {
                let now = clock::monotonic();
                let response = match rate_limit.allow(&request, peer.uid, agent_uid(), now) {
                    Ok(()) => answer(&caller, request, &served).await,
                    Err(failure) => Response::Error(failure),
                };
                send(&mut to, &response).await?;
            }
        }
    }
}

/// The one response to a request that has one.
async fn answer(caller: &Caller, request: Request, served: &Served) -> Response {
    match request {
        Request::Hello => Response::Hello(Hello::of_version(env!("CARGO_PKG_VERSION"))),
        Request::List | Request::Watch { .. } => snapshot(&served.snapshots),
        Request::History { pid } => match served.history.history(pid) {
            Some(history) => Response::History(history),
            None => failure("no_such_process", not_known(pid.unwrap_or_default())),
        },
        Request::Set(change) => changes::set(caller, change, served).await,
        Request::Unset { pid, terms } => changes::unset(caller, pid, terms, served).await,
        Request::Diagnose { pid, duration_ms } => {
            let (snapshots, events) = (&served.snapshots, &served.events);
            let (peer, uid) = (caller.peer, agent_uid());
            diagnosis::diagnose(peer, uid, pid, duration_ms, snapshots, events)
                .await
                .map_or_else(Response::Error, Response::Diagnosis)
        }
        Request::Boost { pid, duration_ms } => {
            changes::hold(caller, pid, Override::Boosted, duration_ms, served).await
        }
        Request::Suspend { pid, timeout_ms } => {
            changes::hold(caller, pid, Override::Suspended, timeout_ms, served).await
        }
        Request::Resume { pid } => changes::resume(caller, pid, served).await,
        Request::Slow { pid, over_ms } => slow(served, pid, over_ms),
        Request::Explain { pid } => settings::explain(caller, pid, served).await,
        Request::Reload => settings::reload(caller, served).await,
        Request::Settings => settings::in_force(caller, served),
        Request::SetMode { device, mode } => {
            settings::set_mode(caller, device.as_deref(), mode, served).await
        }
    }
}

/// Why a process was slow, or why that cannot be said.
fn slow(served: &Served, pid: u32, over_ms: u64) -> Response {
    let over = Nanos::from_millis(over_ms.min(3_600_000));
    let shim = {
        let snapshot = served.snapshots.borrow();
        let row = snapshot.processes.iter().find(|row| row.pid == pid);
        row.map(|row| row.shim)
    };
    let Some(shim) = shim else {
        return failure("no_such_process", not_known(pid));
    };
    let blame = served.blames.of_pid(pid, over);
    let reason = match (&blame, shim) {
        (Some(_), _) => None,
        (None, ShimState::Joined) => Some(
            "it had no burst yet that can be judged: give it a target (`xsched-agent set --slo`), or let \
             it run alone for a few seconds",
        ),
        (None, ShimState::Mapped | ShimState::Absent) => Some(
            "it has not joined, so that its bursts are not known: start it with `xsched-agent run`",
        ),
    };
    Response::Slow(Slowness {
        pid,
        blame,
        reason: reason.map(str::to_owned),
    })
}

fn not_known(pid: u32) -> String {
    format!("process {pid} does not use {TITLES}, or has exited: see `xsched-agent ps`")
}

fn snapshot(snapshots: &watch::Receiver<Arc<Snapshot>>) -> Response {
    // The model must not wait for the copy.
    let latest = Arc::clone(&snapshots.borrow());
    Response::Snapshot(Box::new(Snapshot::clone(&latest)))
}

/// Sends a snapshot at once and then every `interval`. Whatever the peer
/// says meanwhile is not heard, except its end.
async fn watch_until_closed(
    from: &mut BufReader<OwnedReadHalf>,
    to: &mut OwnedWriteHalf,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    interval: Duration,
) -> io::Result<()> {
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = timer.tick() => {
                let response = snapshot(&snapshots);
                send(to, &response).await?;
            }
            line = read_line(from) => {
                if !matches!(line?, Line::Complete(_)) {
                    return Ok(());
                }
            }
        }
    }
}

fn malformed(why: &str) -> Response {
    failure(
        "malformed",
        format!("not a request: {why}; send one JSON object per line, like {{\"op\":\"list\"}}"),
    )
}
