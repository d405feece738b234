//! Work that escapes scheduling, summed up as a row of its own.

use std::cmp::Reverse;

use xsched_common::api::{BpfState, DeviceRow, ProcessRow, UnscheduledRow};

/// Processes that are named in a row.
const MOST_PIDS: usize = 16;

/// What escapes on the whole machine; `None` where nobody can tell.
pub(super) fn on_machine(processes: &[ProcessRow], bpf: &BpfState) -> Option<UnscheduledRow> {
    bpf.available.then(|| sum(processes, |_| true))
}

/// What escapes on a device, as far as it is known to be there or not known
/// to be elsewhere.
pub(super) fn on_device(
    processes: &[ProcessRow],
    device: &DeviceRow,
    bpf: &BpfState,
) -> Option<UnscheduledRow> {
    let may_be_there = |row: &ProcessRow| match &row.device {
        Some(address) => *address == device.address,
        None => row.platform.is_none_or(|its| its == device.platform),
    };
    let used = device.hardware.as_ref().and_then(|h| h.utilization);
    bpf.available.then(|| UnscheduledRow {
        busy_ratio: used
            .zip(device.busy_ratio)
            .map(|(used, scheduled)| (used - scheduled).max(0.0)),
        ..sum(processes, may_be_there)
    })
}

/// Launches per second of a process that never reach a shim.
pub(super) fn escaping(row: &ProcessRow) -> f64 {
    row.launches_per_s * row.bypass_ratio.unwrap_or(0.0)
}

fn sum(processes: &[ProcessRow], which: impl Fn(&ProcessRow) -> bool) -> UnscheduledRow {
    let mut all = 0.0;
    let mut row = UnscheduledRow::default();
    let mut escaping_by: Vec<(&ProcessRow, f64)> = Vec::new();
    for process in processes.iter().filter(|process| which(process)) {
        all += process.launches_per_s;
        let rate = escaping(process);
        if rate > 0.0 {
            escaping_by.push((process, rate));
            row.launches_per_s += rate;
            row.of_unknown_device += u32::from(process.device.is_none());
        }
    }
    escaping_by.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(Reverse(b.pid).cmp(&Reverse(a.pid))));
    row.processes = u32::try_from(escaping_by.len()).unwrap_or(u32::MAX);
    row.pids = escaping_by
        .iter()
        .take(MOST_PIDS)
        .map(|(process, _)| process.pid)
        .collect();
    row.launch_ratio = (all > 0.0).then(|| row.launches_per_s / all);
    row
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::row;
    use super::*;
    use xsched_common::api::HardwareRow;
    use xsched_common::platform::Platform;

    fn launching(pid: u32, per_s: f64, bypass: Option<f64>, device: Option<&str>) -> ProcessRow {
        ProcessRow {
            bypass_ratio: bypass,
            device: device.map(str::to_owned),
            ..row(pid, 1, per_s)
        }
    }

    const SEEN: fn() -> BpfState = || BpfState {
        available: true,
        ..BpfState::default()
    };

    #[test]
    fn what_escapes_is_summed_where_it_is_or_may_be() {
        let here = DeviceRow {
            address: "0000:03:00.0".into(),
            busy_ratio: Some(0.4),
            hardware: Some(HardwareRow {
                utilization: Some(0.9),
                ..HardwareRow::default()
            }),
            ..DeviceRow::default()
        };
        let other_platform = ProcessRow {
            platform: Some(Platform::Cuda),
            ..launching(5, 1_000.0, Some(1.0), None)
        };
        let processes = [
            launching(1, 500.0, Some(0.0), Some(&here.address)),
            launching(2, 300.0, Some(1.0), None),
            launching(3, 400.0, Some(0.5), Some(&here.address)),
            launching(4, 900.0, Some(1.0), Some("0000:83:00.0")),
            other_platform,
            launching(6, 0.0, None, None),
        ];
        let on = on_device(&processes, &here, &SEEN()).expect("probes tell");
        assert_eq!((on.processes, on.of_unknown_device), (2, 1));
        assert_eq!(on.pids, [2, 3]);
        assert_eq!(on.launches_per_s, 500.0);
        let share = on.launch_ratio.expect("some launch");
        assert!((share - 500.0 / 1_200.0).abs() < 1e-9, "{share}");
        assert!((on.busy_ratio.expect("read") - 0.5).abs() < 1e-9);
        let machine = on_machine(&processes, &SEEN()).expect("probes tell");
        assert_eq!(machine.processes, 4);
        assert_eq!(machine.busy_ratio, None, "of several devices");
    }

    #[test]
    fn without_probes_nobody_knows_and_without_launches_there_is_no_share() {
        let processes = [launching(2, 300.0, Some(1.0), None)];
        assert_eq!(on_machine(&processes, &BpfState::default()), None);
        let silent = on_machine(&[], &SEEN()).expect("probes tell");
        assert_eq!((silent.processes, silent.launch_ratio), (0, None));
    }
}
