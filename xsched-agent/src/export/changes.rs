//! Requests that change how a process is scheduled.

use tokio::sync::oneshot;
use tracing::info;
use xsched_common::api::{
    Attr, Change, EventKind, MAX_OVERRIDE_MS, MIN_OVERRIDE_MS, Override as OverrideKind,
    ProcessRow, Response, Settled,
};
use xsched_common::units::Nanos;
use xsched_host::clock;
use xsched_host::descendants::descendants;
use xsched_host::process::{self, ProcessId};
use xsched_policy::Override;

use super::answer::failure;
use super::authorise::{Action, Caller};
use super::served::Served;
use crate::attr::{Ordered, Refused};
use crate::events::Event;
use crate::rules::SchedAttrPatch;

/// The longest target that is one.
const MAX_TARGET: Nanos = Nanos::from_secs(3600);

/// What is wanted of one process, said in the log whatever comes of it.
struct ChangeRequest<'a> {
    caller: &'a Caller,
    served: &'a Served,
    pid: u32,
    action: Action,
    what: String,
}

/// Changes a process's attributes.
pub(super) async fn set(caller: &Caller, change: Change, served: &Served) -> Response {
    let Change {
        pid,
        class,
        weight,
        slo_p99_ns: slo_p99,
        way,
    } = change;
    let patch = SchedAttrPatch {
        class,
        weight,
        slo_p99,
    };
    if patch.is_empty() {
        return failure(
            "bad_value",
            "nothing to change: name a class, weight or target",
        );
    }
    if slo_p99.is_some_and(|target| target > MAX_TARGET) {
        return failure(
            "bad_value",
            format!("a target of more than {MAX_TARGET} is none"),
        );
    }
    let request = ChangeRequest {
        caller,
        served,
        pid,
        action: Action::Change,
        what: patch.to_string(),
    };
    request
        .carry_out(|ordered, reply| served.attr.change(ordered, patch, way, reply))
        .await
}

/// Takes back what was set on a process by hand.
pub(super) async fn unset(caller: &Caller, pid: u32, attr: Vec<Attr>, served: &Served) -> Response {
    let attr = match attr.is_empty() {
        true => Attr::ALL.to_vec(),
        false => attr,
    };
    let names: Vec<&str> = attr.iter().map(|term| term.name()).collect();
    let request = ChangeRequest {
        caller,
        served,
        pid,
        action: Action::Change,
        what: format!("unset {}", names.join(", ")),
    };
    request
        .carry_out(|ordered, reply| served.attr.unset(ordered, attr, reply))
        .await
}

/// Begins a boost or suspension.
pub(super) async fn hold(
    caller: &Caller,
    pid: u32,
    kind: OverrideKind,
    duration_ms: u64,
    served: &Served,
) -> Response {
    if !(MIN_OVERRIDE_MS..=MAX_OVERRIDE_MS).contains(&duration_ms) {
        return failure(
            "bad_value",
            format!("a time from {MIN_OVERRIDE_MS} ms to 1 hour ({MAX_OVERRIDE_MS} ms)"),
        );
    }
    let duration = Nanos::from_millis(duration_ms);
    let hold = Override {
        kind,
        until: clock::monotonic() + duration,
    };
    let what = match kind {
        OverrideKind::Boosted => format!("boost for {duration}"),
        OverrideKind::Suspended => format!("suspend for {duration}"),
    };
    let request = ChangeRequest {
        caller,
        served,
        pid,
        action: Action::Override(kind),
        what,
    };
    request
        .carry_out(|ordered, reply| served.attr.hold(ordered, Some(hold), reply))
        .await
}

/// Ends a boost or suspension.
pub(super) async fn resume(caller: &Caller, pid: u32, served: &Served) -> Response {
    let request = ChangeRequest {
        caller,
        served,
        pid,
        action: Action::Resume,
        what: "resume".to_owned(),
    };
    request
        .carry_out(|ordered, reply| served.attr.hold(ordered, None, reply))
        .await
}

type Reply = Box<dyn FnOnce(Result<Settled, Refused>) + Send>;

impl ChangeRequest<'_> {
    /// Finds the process and what may be done to it; has it done.
    async fn carry_out(self, order: impl FnOnce(Ordered, Reply)) -> Response {
        let found = ProcessId::of(self.pid).and_then(|p| Ok((p, process::uid(self.pid)?)));
        let (process, owner) = match found {
            Ok(found) => found,
            Err(e) => return failure("no_such_process", e),
        };
        let group = self.served.reloader.authorised_group();
        let right = match self.caller.right(self.action, group, self.pid, owner) {
            Ok(right) => right,
            Err(refusal) => return self.refused(&refusal),
        };
        let ordered = Ordered {
            process,
            right,
            by: self.caller.to_string(),
        };
        let (tell, told) = oneshot::channel();
        order(
            ordered,
            Box::new(move |outcome| {
                let _ = tell.send(outcome);
            }),
        );
        match told.await {
            Ok(Ok(settled)) => {
                info!("{}: process {}: {}", self.caller, self.pid, self.what);
                self.note(EventKind::Changed, &self.what);
                Response::Settled(self.seen_beside(process, settled).await)
            }
            Ok(Err(refused @ Refused::TooMany)) => failure("busy", refused),
            Ok(Err(refused)) => self.refused(&refused),
            Err(_) => failure("internal", "the agent is stopping: try again when it runs"),
        }
    }

    /// What else whoever asked should know of the process.
    async fn seen_beside(&self, process: ProcessId, settled: Settled) -> Settled {
        let uses_runtime = {
            let snapshot = self.served.snapshots.borrow();
            let is_it =
                |row: &ProcessRow| row.pid == process.pid && row.start_time == process.start_time;
            match settled.joined || snapshot.processes.iter().any(is_it) {
                true => Some(true),
                // Without probes only those that join are seen.
                false => snapshot.agent.bpf.available.then_some(false),
            }
        };
        let counted = tokio::task::spawn_blocking(move || descendants(process.pid)).await;
        Settled {
            uses_runtime,
            descendants: counted.ok().flatten(),
            ..settled
        }
    }

    fn refused(&self, why: &dyn std::fmt::Display) -> Response {
        info!(
            "refused: {}: process {}: {}: {why}",
            self.caller, self.pid, self.what
        );
        self.note(EventKind::Refused, &format!("{}: {why}", self.what));
        failure("not_permitted", why)
    }

    fn note(&self, kind: EventKind, text: &str) {
        let event = Event::new(kind, text).about(self.pid).by(self.caller);
        self.served.events.note(event);
    }
}
