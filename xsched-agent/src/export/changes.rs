//! Requests that change how a process is scheduled.

use tokio::sync::oneshot;
use tracing::info;
use xsched_common::api::{Change, EventKind, Response, Settled};
use xsched_common::units::Weight;

use super::agent_uid;
use super::answer::{failure, unsupported};
use super::authorise::{self, Refusal};
use super::served::Served;
use crate::control::{Outcome, Peer};
use crate::model::Event;
use crate::process::{self, ProcessId};

/// Changes a process's class.
pub(super) async fn set(peer: Peer, change: Change, served: &Served) -> Response {
    let Change {
        pid,
        class: Some(class),
        weight: None,
        slo_p99_ns: None,
    } = change
    else {
        return unsupported();
    };
    let refused = |refusal: Refusal| {
        info!("refused: {peer} asked for class {class} of process {pid}");
        served.events.note(
            Event::new(EventKind::Refused, format!("class {class}: {refusal}"))
                .about(pid)
                .by(peer),
        );
        failure("not_permitted", refusal)
    };
    let (process, owner) = match ProcessId::of(pid).and_then(|p| Ok((p, process::uid(pid)?))) {
        Ok(found) => found,
        Err(e) => return failure("no_such_process", e),
    };
    let right = match authorise::right(peer, agent_uid(), pid, owner) {
        Ok(right) => right,
        Err(refusal) => return refused(refusal),
    };
    let (tell, told) = oneshot::channel();
    served
        .control
        .set_class(process, class, right, move |outcome| {
            let _ = tell.send(outcome);
        });
    let joined = match told.await {
        Ok(Outcome::Applied) => true,
        Ok(Outcome::Noted) => false,
        Ok(Outcome::WouldRaise { from }) => return refused(Refusal::Raise { from, to: class }),
        Err(_) => {
            return failure("internal", "the agent is stopping: try again when it runs");
        }
    };
    info!("{peer} set process {pid} to class {class}");
    served.events.note(
        Event::new(EventKind::Changed, format!("class {class}"))
            .about(pid)
            .by(peer),
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
