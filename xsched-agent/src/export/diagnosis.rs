//! Diagnosis on request.

use std::os::linux::fs::MetadataExt as _;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::watch;
use tracing::info;
use xsched_common::api::{Diagnosis, EventKind, Failure, MAX_OBSERVATION_MS, Snapshot};
use xsched_diagnose::{AgentView, Error, Options, Report};
use xsched_host::process::{ProcessError, ProcessId};
use xsched_host::readers::apart::GivenUp;

use crate::control::Peer;
use crate::diagnosis::Probes;
use crate::events::{Event, EventLog};

use super::quota::{ConnectionQuota, Limits};

/// Diagnoses at once: each reads a whole address space and may set probes. It
/// ends in time whoever is examined, so none of these is lost.
static PLACES: LazyLock<ConnectionQuota> = LazyLock::new(|| {
    ConnectionQuota::new(Limits {
        of_user: 2,
        of_users: 16,
    })
});

/// Examines process `pid` for `peer`, observing its calls for `duration_ms`;
/// the latest of `snapshots` is what the agent itself knows about it.
pub(super) async fn diagnose(
    peer: Peer,
    agent_uid: u32,
    pid: u32,
    duration_ms: u64,
    snapshots: &watch::Receiver<Arc<Snapshot>>,
    events: &EventLog,
) -> Result<Diagnosis, Failure> {
    let id = ProcessId::of(pid).map_err(|e| Failure::new("no_such_process", e))?;
    authorise(peer, agent_uid, pid)?;
    let Some(place) = PLACES.take(peer.uid, agent_uid) else {
        return Err(Failure::new(
            "busy",
            "as many diagnoses of yours, or of all users, are running as may: try again when one has \
             ended",
        ));
    };
    let options = Options {
        pid,
        duration: Duration::from_millis(duration_ms.min(MAX_OBSERVATION_MS)),
        shim_names: Vec::new(),
    };
    let snapshots = snapshots.clone();
    let report = tokio::task::spawn_blocking(move || {
        // The place is free when the work has ended, not when the peer left.
        let _place = place;
        let calls = Probes::with(&options);
        xsched_diagnose::diagnose(&options, calls, move || {
            let latest = Arc::clone(&snapshots.borrow());
            Some(AgentView::of(&latest, pid))
        })
    })
    .await
    .map_err(|e| {
        Failure::new(
            "internal",
            format!("the diagnosis failed ({e}): see the agent's log"),
        )
    })?
    .map_err(refusal)?;
    // What was read is this process's, and still the peer's to see: it may
    // have executed a set-user-id program meanwhile.
    if !id.is_alive() {
        return Err(refusal(Error::Exited(pid)));
    }
    authorise(peer, agent_uid, pid)?;
    info!("{peer} had process {pid} diagnosed");
    let Report {
        findings, limits, ..
    } = report;
    for finding in &findings {
        // Everybody sees events: the code, not the evidence, which comes out
        // of the process's memory.
        let text = format!("diagnosis: {}", finding.code);
        let event = Event::new(EventKind::Finding(finding.severity), text);
        events.note(event.about(pid).by(peer));
    }
    Ok(Diagnosis {
        pid,
        findings,
        limits,
    })
}

/// Root and the agent's own user.
fn sees_all(peer: Peer, agent_uid: u32) -> bool {
    peer.uid == 0 || peer.uid == agent_uid
}

/// Root and the agent's own user see any process, others what the kernel
/// would let them see: /proc/PID belongs to root where a process holds
/// secrets from its own user (PR_SET_DUMPABLE(2const)).
fn authorise(peer: Peer, agent_uid: u32, pid: u32) -> Result<(), Failure> {
    if sees_all(peer, agent_uid) {
        return Ok(());
    }
    match std::fs::metadata(format!("/proc/{pid}")) {
        Ok(dir) if dir.st_uid() == peer.uid => Ok(()),
        Ok(_) => Err(Failure::new(
            "not_permitted",
            ProcessError::NotPermitted(pid),
        )),
        Err(_) => Err(Failure::new("no_such_process", ProcessError::Gone(pid))),
    }
}

fn refusal(error: Error) -> Failure {
    let code = match &error {
        Error::Process(ProcessError::NotPermitted(_)) => "not_permitted",
        Error::Process(ProcessError::Gone(_)) | Error::Exited(_) => "no_such_process",
        Error::NoMemory(_) | Error::NoRuntime(_) | Error::Executed(_) => "not_diagnosable",
        Error::GivenUp(GivenUp::HeldUp(_)) => "held_up",
        Error::GivenUp(GivenUp::Crowded) => "busy",
        Error::Process(ProcessError::Unreadable { .. }) | Error::GivenUp(GivenUp::NoThread(_)) => {
            "internal"
        }
    };
    Failure::new(code, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32) -> Peer {
        Peer {
            pid: 9,
            uid,
            gid: uid,
        }
    }

    #[test]
    fn users_see_their_own_and_root_sees_all() {
        let me = std::process::id();
        // SAFETY: geteuid has no preconditions.
        let uid = unsafe { libc::geteuid() };
        let ask = |uid, agent_uid| authorise(peer(uid), agent_uid, me);
        assert_eq!(ask(uid, 0), Ok(()));
        assert_eq!(ask(0, 0), Ok(()));
        assert_eq!(ask(uid + 4_000, uid + 4_000), Ok(()), "its own agent");
        let refused = ask(uid + 4_000, 0).expect_err("another user");
        assert_eq!(refused.code, "not_permitted");
    }

    #[tokio::test]
    async fn what_is_no_hip_process_is_said() {
        let (events, _) = EventLog::new();
        let (_agent, snapshots) = watch::channel(Arc::default());
        let root = peer(0);
        let gone = diagnose(root, 0, u32::MAX, 0, &snapshots, &events)
            .await
            .expect_err("no process");
        assert_eq!(gone.code, "no_such_process");
        let me = std::process::id();
        let not_hip = diagnose(root, 0, me, 0, &snapshots, &events)
            .await
            .expect_err("not HIP");
        assert_eq!(not_hip.code, "not_diagnosable", "{}", not_hip.message);
    }
}
