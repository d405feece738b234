//! Requests about the configuration.

use std::time::Duration;

use tracing::info;
use xsched_common::api::{EventKind, Response, SharingMode};
use xsched_common::units::PciAddress;

use super::answer::failure;
use super::authorise::{Caller, Deed};
use super::served::Served;
use crate::live::ReloadError;
use crate::model::Event;
use crate::process::{self, ProcessId};
use crate::rules::{Facts, Reach};

/// How often it is asked whether a process has been read, and how far apart.
const READING: u32 = 20;
const READING_STEP: Duration = Duration::from_millis(10);

/// Reads the configuration again.
pub(super) async fn reload(caller: &Caller, served: &Served) -> Response {
    if let Some(refusal) = refused(caller, served, "reload the configuration") {
        return refusal;
    }
    match served.live.reload(&caller.to_string()).await {
        Ok(reloaded) => Response::Reloaded(reloaded),
        Err(e @ ReloadError::Bad(_)) => failure("bad_configuration", e),
        Err(e @ ReloadError::Stopping) => failure("internal", e),
    }
}

/// Changes how a device is shared.
pub(super) fn set_mode(
    caller: &Caller,
    device: Option<&str>,
    mode: SharingMode,
    served: &Served,
) -> Response {
    let what = match device {
        Some(device) => format!("share device {device} in mode {mode}"),
        None => format!("share all devices in mode {mode}"),
    };
    if let Some(refusal) = refused(caller, served, &what) {
        return refusal;
    }
    let device = match device.map(str::parse::<PciAddress>).transpose() {
        Ok(device) => device,
        Err(e) => return failure("bad_value", e),
    };
    let set = served.live.set_mode(device, mode);
    info!("{caller}: {what}");
    let event = Event::new(EventKind::Configuration, what).by(caller);
    served.events.note(event);
    Response::ModeSet(set)
}

/// Where a process's terms come from. Root and its owner may ask: the answer
/// tells of its environment.
pub(super) async fn explain(caller: &Caller, pid: u32, served: &Served) -> Response {
    let found = ProcessId::of(pid).and_then(|p| Ok((p, process::uid(pid)?)));
    let (process, owner) = match found {
        Ok(found) => found,
        Err(e) => return failure("no_such_process", e),
    };
    let group = served.live.authorised_group();
    let right = match caller.right(Deed::Explain, group, pid, owner) {
        Ok(right) => right,
        Err(refusal) => return failure("not_permitted", refusal),
    };
    let mut patience = READING;
    let explained = loop {
        let (tell, told) = tokio::sync::oneshot::channel();
        served.terms.explain(process, right, move |explained| {
            let _ = tell.send(explained);
        });
        match told.await {
            // One that was never seen is read on this occasion.
            Ok(explained) if explained.is_pending() && patience > 0 => {
                patience -= 1;
                tokio::time::sleep(READING_STEP).await;
            }
            Ok(explained) => break explained,
            Err(_) => {
                return failure("internal", "the agent is stopping: try again when it runs");
            }
        }
    };
    // The process may take its time to be read; whoever asks has it, too.
    let reading =
        tokio::task::spawn_blocking(move || explained.explain(&Facts::of(pid, Reach::Memory)));
    match reading.await {
        Ok(explanation) => Response::Explanation(explanation),
        Err(e) => failure("internal", format!("the process could not be read: {e}")),
    }
}

fn refused(caller: &Caller, served: &Served, what: &str) -> Option<Response> {
    let refusal = caller
        .right_to_everything(served.live.authorised_group())
        .err()?;
    info!("refused: {caller}: {what}");
    let event = Event::new(EventKind::Refused, format!("{what}: {refusal}")).by(caller);
    served.events.note(event);
    Some(failure("not_permitted", refusal))
}
