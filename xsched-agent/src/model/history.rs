//! The last minutes of every process and of the machine, for whoever asks.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xsched_common::api::{History, HistoryPoint, ProcessRow};
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;

/// Time between two points.
pub const INTERVAL: Nanos = Nanos::from_secs(1);

/// Points that are kept: five minutes.
const POINTS: usize = 300;

/// Processes that have a history: bounds memory to about 60 MB. The rest,
/// which nobody has seen in practice, have none.
const PROCESSES: usize = 2_048;

/// Shared between the model, which writes, and the API, which copies out.
#[derive(Clone, Debug, Default)]
pub struct HistoryStore {
    rings: Arc<Mutex<Rings>>,
}

#[derive(Debug, Default)]
struct Rings {
    machine: Ring,
    processes: HashMap<ProcessId, Ring>,
}

#[derive(Debug, Default)]
struct Ring(VecDeque<HistoryPoint>);

impl Ring {
    fn push(&mut self, point: HistoryPoint) {
        if self.0.len() == POINTS {
            self.0.pop_front();
        }
        self.0.push_back(point);
    }
}

impl HistoryStore {
    /// What is remembered of process `pid`, or of the machine; `None` for a
    /// process that is not known.
    pub fn history(&self, pid: Option<u32>) -> Option<History> {
        let rings = self.lock();
        let ring = match pid {
            None => &rings.machine,
            Some(pid) => rings
                .processes
                .iter()
                .filter(|(id, _)| id.pid == pid)
                .max_by_key(|(id, _)| id.start_time)
                .map(|(_, ring)| ring)?,
        };
        Some(History {
            pid,
            interval_ns: INTERVAL,
            points: ring.0.iter().copied().collect(),
        })
    }

    /// Adds a point for the machine and one for each process; those that are
    /// not among them are forgotten.
    pub fn remember(&self, machine: HistoryPoint, processes: &[ProcessRow]) {
        let mut rings = self.lock();
        rings.machine.push(machine);
        let id = |row: &ProcessRow| ProcessId {
            pid: row.pid,
            start_time: row.start_time,
        };
        let alive: HashSet<ProcessId> = processes.iter().map(id).collect();
        rings.processes.retain(|id, _| alive.contains(id));
        for row in processes {
            let room = rings.processes.len() < PROCESSES;
            let point = HistoryPoint {
                time_unix_ns: machine.time_unix_ns,
                ..point(row)
            };
            match rings.processes.get_mut(&id(row)) {
                Some(ring) => ring.push(point),
                None if room => rings.processes.entry(id(row)).or_default().push(point),
                None => {}
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rings> {
        // Rings are whole after every statement.
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn point(row: &ProcessRow) -> HistoryPoint {
    let counted = |latency: Option<xsched_common::api::Latency>| latency.filter(|l| l.count > 0);
    HistoryPoint {
        time_unix_ns: 0,
        launches_per_s: row.launches_per_s,
        burst_p50_ns: counted(row.burst).map(|l| l.p50_ns),
        burst_p99_ns: counted(row.burst).map(|l| l.p99_ns),
        gate_wait_p99_ns: counted(row.gate_wait).map(|l| l.p99_ns),
        busy_ratio: row.busy_ratio,
        class: Some(row.class),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use xsched_common::api::{Latency, ShimState};
    use xsched_common::platform::Platform;
    use xsched_common::units::{Class, Weight};

    pub(in crate::model) fn row(pid: u32, start_time: u64, launches_per_s: f64) -> ProcessRow {
        ProcessRow {
            pid,
            start_time,
            platform: Some(Platform::default()),
            parent: None,
            cgroup: None,
            pod: None,
            job: None,
            uid: 0,
            user: None,
            command: String::new(),
            arguments: String::new(),
            class: Class::High,
            weight: Weight::default(),
            terms_from: String::new(),
            slo: None,
            blame: None,
            hold: None,
            shim: ShimState::Joined,
            device: None,
            gate: None,
            gate_shares: None,
            hardware: None,
            launches: 0,
            launches_per_s,
            bypass_ratio: None,
            default_stream_ratio: None,
            burst: Some(Latency::default()),
            burst_histogram: Vec::new(),
            gate_wait: None,
            guards: None,
            split_intervals: None,
            in_flight: None,
            kernel_ns: None,
            kernel_alone: None,
            busy_ratio: None,
            callers: Vec::new(),
            apis: Vec::new(),
            sampling: None,
            time_slices: Vec::new(),
            groups: Vec::new(),
        }
    }

    #[test]
    fn minutes_are_kept_oldest_first_and_no_more() {
        let store = HistoryStore::default();
        for second in 0..POINTS as u64 + 20 {
            let machine = HistoryPoint {
                time_unix_ns: second,
                ..HistoryPoint::default()
            };
            store.remember(machine, &[row(7, 1, second as f64)]);
        }
        let history = store.history(Some(7)).expect("known");
        assert_eq!(history.points.len(), POINTS);
        let first = &history.points[0];
        assert_eq!((first.time_unix_ns, first.launches_per_s), (20, 20.0));
        assert_eq!(first.burst_p99_ns, None, "no bursts are unknown, not zero");
        assert_eq!(first.class, Some(Class::High));
        assert_eq!(store.history(None).expect("always").points.len(), POINTS);
    }

    #[test]
    fn a_pid_that_is_used_again_starts_anew() {
        let store = HistoryStore::default();
        store.remember(HistoryPoint::default(), &[row(7, 1, 1.0)]);
        store.remember(HistoryPoint::default(), &[row(7, 2, 2.0)]);
        let history = store.history(Some(7)).expect("known");
        assert_eq!(history.points.len(), 1);
        assert_eq!(history.points[0].launches_per_s, 2.0);
        store.remember(HistoryPoint::default(), &[]);
        assert_eq!(store.history(Some(7)), None);
    }

    #[test]
    fn memory_is_bounded() {
        let store = HistoryStore::default();
        let rows: Vec<_> = (0..PROCESSES as u32 + 5)
            .map(|pid| row(pid, 1, 0.0))
            .collect();
        store.remember(HistoryPoint::default(), &rows);
        assert_eq!(store.lock().processes.len(), PROCESSES);
    }
}
