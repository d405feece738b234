//! Requests about the configuration.

use std::time::Duration;

use tracing::info;
use xsched_common::api::{EventKind, InForce, Response, SharingMode};
use xsched_common::units::PciAddress;
use xsched_host::process::{self, ProcessId};
use xsched_host::readers::apart;

use super::answer::failure;
use super::authorise::{Action, Caller};
use super::served::Served;
use crate::events::Event;
use crate::reloader::ReloadError;
use crate::rules::{Facts, Reach};

/// How often it is asked whether a process has been read, and how far apart.
const READING: u32 = 20;
const READING_STEP: Duration = Duration::from_millis(10);

/// Snapshots in which a device is looked for.
const SNAPSHOTS: u32 = 3;

/// Reads the configuration again.
pub(super) async fn reload(caller: &Caller, served: &Served) -> Response {
    if let Some(refusal) = refused(caller, served, "reload the configuration") {
        return refusal;
    }
    match served.reloader.reload(&caller.to_string()).await {
        Ok(reloaded) => Response::Reloaded(reloaded),
        Err(e @ ReloadError::Bad(_)) => failure("bad_configuration", e),
        Err(e @ ReloadError::Stopping) => failure("internal", e),
    }
}

/// Shows every setting in force.
pub(super) fn in_force(caller: &Caller, served: &Served) -> Response {
    let group = served.reloader.authorised_group();
    if let Err(refusal) = caller.right_to_everything(group) {
        return failure("not_permitted", refusal);
    }
    match serde_json::to_value(served.reloader.effective()) {
        Ok(settings) => Response::Settings(InForce { settings }),
        Err(e) => failure("internal", e),
    }
}

/// Changes how a device is shared.
pub(super) async fn set_mode(
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
    if let Some(device) = device
        && let Err(unknown) = known_device(device, served).await
    {
        return failure("bad_value", unknown);
    }
    let set = served.reloader.set_mode(device, mode);
    info!("{caller}: {what}");
    let event = Event::new(EventKind::Configuration, what).by(caller);
    served.events.note(event);
    Response::ModeSet(set)
}

/// Whether a device is one: used by a joined process, named by the file, or on
/// the machine's bus.
async fn known_device(device: PciAddress, served: &Served) -> Result<(), String> {
    let named = served.reloader.sharing().devices.contains_key(&device);
    let on_the_bus = format!("/sys/bus/pci/devices/{device}");
    if named || std::path::Path::new(&on_the_bus).exists() {
        return Ok(());
    }
    let mut snapshots = served.snapshots.clone();
    let mut used: Vec<String> = Vec::new();
    // A process may have joined since the last one.
    for _ in 0..SNAPSHOTS {
        used = {
            let snapshot = snapshots.borrow_and_update();
            let devices = snapshot.devices.iter();
            devices.map(|row| row.address.clone()).collect()
        };
        // Of a part, too: what is said of an address holds for its parts.
        let address = device.to_string();
        if used
            .iter()
            .any(|used| used.split('/').next() == Some(&address))
        {
            return Ok(());
        }
        if snapshots.changed().await.is_err() {
            break;
        }
    }
    let used = match used.is_empty() {
        true => "no joined process uses one now".to_owned(),
        false => format!("joined processes use {}", used.join(", ")),
    };
    Err(format!(
        "there is no device {device}: {used} (`lspci -D` shows what the machine has)"
    ))
}

/// Where a process's attributes come from. Root and its owner may ask: the answer
/// tells of its environment.
pub(super) async fn explain(caller: &Caller, pid: u32, served: &Served) -> Response {
    let found = ProcessId::of(pid).and_then(|p| Ok((p, process::uid(pid)?)));
    let (process, owner) = match found {
        Ok(found) => found,
        Err(e) => return failure("no_such_process", e),
    };
    let group = served.reloader.authorised_group();
    let right = match caller.right(Action::Explain, group, pid, owner) {
        Ok(right) => right,
        Err(refusal) => return failure("not_permitted", refusal),
    };
    let mut read_timeout = READING;
    let explained = loop {
        let (tell, told) = tokio::sync::oneshot::channel();
        served.attr.explain(process, right, move |explained| {
            let _ = tell.send(explained);
        });
        match told.await {
            // One that was never seen is read on this occasion.
            Ok(explained) if explained.is_pending() && read_timeout > 0 => {
                read_timeout -= 1;
                tokio::time::sleep(READING_STEP).await;
            }
            Ok(explained) => break explained,
            Err(_) => {
                return failure("internal", "the agent is stopping: try again when it runs");
            }
        }
    };
    let workloads = served.attr.workloads().clone();
    let reading = tokio::task::spawn_blocking(move || {
        let again = explained.clone();
        let known = workloads.clone();
        let read = move || explained.explain(&Facts::of(pid, Reach::Memory, &known));
        // Whoever holds up its reader is explained by what the kernel keeps.
        let kernel_s = |_| again.explain(&Facts::of(pid, Reach::Kernel, &workloads));
        apart::read(pid, read).unwrap_or_else(kernel_s)
    });
    match reading.await {
        Ok(explanation) => Response::Explanation(explanation),
        Err(e) => failure("internal", format!("the process could not be read: {e}")),
    }
}

fn refused(caller: &Caller, served: &Served, what: &str) -> Option<Response> {
    let refusal = caller
        .right_to_everything(served.reloader.authorised_group())
        .err()?;
    info!("refused: {caller}: {what}");
    let event = Event::new(EventKind::Refused, format!("{what}: {refusal}")).by(caller);
    served.events.note(event);
    Some(failure("not_permitted", refusal))
}
