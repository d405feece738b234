//! Devices: who is on them, and how much of their time is used.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::api::{ClassRow, DeviceRow};
use xsched_common::gate::{GateMode, GateWord};
use xsched_common::platform::Platform;
use xsched_common::units::{Class, DeviceIndex};
use xsched_host::process::ProcessId;
use xsched_policy::Sharing;

use super::Clients;
use super::hardware::Hardware;
use super::process::Process;
use super::window::Change;
use crate::control::DeviceKey;

/// A row for every device that clients use.
pub(super) fn rows(
    clients: &Clients,
    processes: &HashMap<ProcessId, Process>,
    sharing: &BTreeMap<DeviceKey, Sharing>,
    hardware: &Hardware,
) -> Vec<DeviceRow> {
    let mut devices: BTreeMap<DeviceKey, BTreeMap<Class, ClassRow>> = BTreeMap::new();
    let mut platforms: BTreeMap<DeviceKey, Platform> = BTreeMap::new();
    for client in clients.values() {
        let process = processes.get(&client.process);
        // A process may have joined several times; its window is about one.
        let process = process.filter(|p| p.client.as_ref().is_some_and(|c| c.id == client.id));
        let change = process.and_then(|process| process.window.change());
        let platform = Platform::from_raw(client.status.platform.load(Relaxed));
        for (index, status) in client.status.devices() {
            let key = DeviceKey::of(index, &client.status);
            platforms.insert(key, platform);
            let class = client.class();
            let row = devices
                .entry(key)
                .or_default()
                .entry(class)
                .or_insert(ClassRow {
                    class,
                    clients: 0,
                    active: 0,
                    open: 0,
                    capped: 0,
                    closed: 0,
                    busy_ratio: None,
                });
            row.clients += 1;
            row.active += u32::from(status.activity().active);
            let word = client.control.devices[index.0 as usize].word.load(Relaxed);
            match GateWord(word).mode() {
                GateMode::Open | GateMode::Watched => row.open += 1,
                GateMode::Capped(_) => row.capped += 1,
                GateMode::Closed => row.closed += 1,
            }
            if let Some(busy) = change.as_ref().map(|change| busy_ratio(change, index)) {
                row.busy_ratio = Some((row.busy_ratio.unwrap_or(0.0) + busy).min(1.0));
            }
        }
    }
    devices
        .into_iter()
        .map(|(key, classes)| {
            let classes: Vec<ClassRow> = classes.into_values().rev().collect();
            DeviceRow {
                address: key.to_string(),
                platform: platforms.get(&key).copied().unwrap_or_default(),
                top_active: classes.iter().find(|c| c.active > 0).map(|c| c.class),
                clients: classes.iter().map(|c| c.clients).sum(),
                busy_ratio: classes
                    .iter()
                    .filter_map(|c| c.busy_ratio)
                    .reduce(|sum, busy| (sum + busy).min(1.0)),
                classes,
                unscheduled: None,
                hardware: key.pci().and_then(|pci| hardware.of(&pci.to_string())),
                mode: sharing
                    .get(&key)
                    .map(|sharing| sharing.settings.mode)
                    .unwrap_or_default(),
                knobs: sharing
                    .get(&key)
                    .into_iter()
                    .flat_map(Sharing::numbers)
                    .map(|(name, number)| (name.to_owned(), number))
                    .collect(),
            }
        })
        .collect()
}

/// The share of a device's time that a client has used within its window.
pub(super) fn busy_ratio(change: &Change, device: DeviceIndex) -> f64 {
    let counted = change.counted.as_deref();
    let busy = counted.map_or(0, |totals| totals.busy_ns[device.0 as usize]);
    (busy as f64 / change.over.0.max(1) as f64).min(1.0)
}

/// Over all devices of which it is known.
pub(super) fn mean_busy(devices: &[DeviceRow]) -> Option<f64> {
    let known: Vec<f64> = devices.iter().filter_map(|d| d.busy_ratio).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_devices_are_not_idle_ones() {
        let device = |busy_ratio| DeviceRow {
            busy_ratio,
            ..DeviceRow::default()
        };
        assert_eq!(mean_busy(&[]), None);
        assert_eq!(mean_busy(&[device(None)]), None);
        let some = [device(Some(0.5)), device(None), device(Some(1.0))];
        assert_eq!(mean_busy(&some), Some(0.75));
    }
}
