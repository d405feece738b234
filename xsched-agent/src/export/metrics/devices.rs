//! Devices: who is on them, and which gates are open.

use std::fmt;

use xsched_common::api::{ClassRow, DeviceRow, HardwareRow, SharingMode, Snapshot};

use super::families::{Families, In, Label};

/// A class on a device.
type OnDevice<'a> = (&'a DeviceRow, &'a ClassRow);

pub(super) fn collect(snapshot: &Snapshot, to: &mut Families<'_>) -> fmt::Result {
    let devices = &snapshot.devices;
    to.gauges(
        "device_busy",
        "Estimated share of the device's time in the last 5 s in which joined processes had work on it.",
        In::Ratio,
        devices,
        |device| device.busy_ratio,
        of_device,
    )?;
    hardware(devices, to)?;
    to.gauges(
        "device_unscheduled_launches",
        "Share of the launches in the last 5 s that never reached a shim and are on the device, or may be.",
        In::Ratio,
        devices,
        |device| device.unscheduled.as_ref()?.launch_ratio,
        of_device,
    )?;
    let modes: Vec<(&DeviceRow, SharingMode)> = devices
        .iter()
        .flat_map(|device| SharingMode::ALL.map(|mode| (device, mode)))
        .collect();
    to.gauges(
        "device_sharing_mode",
        "How the device is shared: 1 for the mode in force.",
        In::Number,
        &modes,
        |(device, mode)| Some(if device.mode == *mode { 1.0 } else { 0.0 }),
        |(device, mode)| {
            let mut labels = of_device(device);
            labels.push(("mode", mode.name()));
            labels
        },
    )?;
    let classes: Vec<OnDevice<'_>> = devices
        .iter()
        .flat_map(|device| device.classes.iter().map(move |class| (device, class)))
        .collect();
    to.gauges(
        "device_class_busy",
        "Estimated share of the device's time that a class used in the last 5 s.",
        In::Ratio,
        &classes,
        |(_, class)| class.busy_ratio,
        labels,
    )?;
    to.gauges(
        "device_clients",
        "Joined processes by class.",
        In::Number,
        &classes,
        |(_, class)| Some(f64::from(class.clients)),
        labels,
    )?;
    to.gauges(
        "device_active_clients",
        "Joined processes that have work now.",
        In::Number,
        &classes,
        |(_, class)| Some(f64::from(class.active)),
        labels,
    )?;
    let gates: Vec<(OnDevice<'_>, &str, u32)> = classes
        .iter()
        .flat_map(|&(device, class)| {
            [
                ((device, class), "open", class.open),
                ((device, class), "capped", class.capped),
                ((device, class), "closed", class.closed),
            ]
        })
        .collect();
    to.gauges(
        "device_gates",
        "Gates by class and state.",
        In::Number,
        &gates,
        |(_, _, count)| Some(f64::from(*count)),
        |(class, state, _)| {
            let mut labels = labels(class);
            labels.push(("state", state));
            labels
        },
    )
}

/// What the vendors' management libraries say.
fn hardware(devices: &[DeviceRow], to: &mut Families<'_>) -> fmt::Result {
    type Pick = fn(&HardwareRow) -> Option<f64>;
    let families: [(&str, &str, In, Pick); 5] = [
        (
            "device_hardware_utilization",
            "The part of the last moments in which some kernel ran, whoever's.",
            In::Ratio,
            |row| row.utilization,
        ),
        (
            "device_memory",
            "The device's own memory.",
            In::Bytes,
            |row| row.memory_bytes.map(|bytes| bytes as f64),
        ),
        (
            "device_memory_used",
            "Used of the device's own memory, by whomever.",
            In::Bytes,
            |row| row.memory_used_bytes.map(|bytes| bytes as f64),
        ),
        (
            "device_clock",
            "Clock of the device's processors.",
            In::Hertz,
            |row| row.clock_hz.map(|hz| hz as f64),
        ),
        ("device_power", "What the device draws.", In::Watts, |row| {
            row.power_w
        }),
    ];
    for (name, help, unit, pick) in families {
        let value = |device: &DeviceRow| device.hardware.as_ref().and_then(pick);
        to.gauges(name, help, unit, devices, value, of_device)?;
    }
    Ok(())
}

fn of_device(device: &DeviceRow) -> Vec<Label<'_>> {
    vec![
        ("device", &device.address),
        ("platform", device.platform.name()),
    ]
}

fn labels<'a>((device, class): &'a OnDevice<'_>) -> Vec<Label<'a>> {
    let mut labels = of_device(device);
    labels.push(("class", class.class.name()));
    labels
}
