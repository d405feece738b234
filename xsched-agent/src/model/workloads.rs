//! Device time of pods and jobs, since they were first seen. It outlives
//! their processes for a while: the last scrape has the whole of a short job.

use std::collections::BTreeMap;

use xsched_common::api::{JobRow, PodRow};
use xsched_common::units::Nanos;
use xsched_host::cgroup::{Placement, Workload};

use super::Model;
use super::process::Process;
use super::sums::ClassSums;
use super::window::Totals;
use crate::workloads::{Job, Workloads};

/// How long the sums of one without processes are kept: ten scrapes at the
/// usual pace.
const KEPT: Nanos = Nanos::from_secs(300);

/// Pods and jobs that are told apart. More than a machine runs in practice:
/// the rest shares one sum.
const MOST: usize = 10_000;

/// Which pod or job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkloadKey {
    /// By its uid.
    Pod(String),
    /// By its number.
    Job(u32),
}

impl WorkloadKey {
    fn of(workload: &Workload) -> WorkloadKey {
        match workload {
            Workload::Pod(pod) => WorkloadKey::Pod(pod.uid.clone()),
            Workload::Job(job) => WorkloadKey::Job(job.id),
        }
    }
}

/// What a pod or job has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadSums {
    /// The pod.
    pub pod: Option<PodRow>,
    /// The job.
    pub job: Option<JobRow>,
    /// Whose job it is, by number.
    pub uid: Option<u32>,
    /// All its launches.
    pub launches: u64,
    /// Of these, those that never reached the shim.
    pub bypass: u64,
    /// Estimated device time.
    pub busy: Nanos,
    /// When it last had a process.
    pub alive: Nanos,
}

impl WorkloadSums {
    fn add(&mut self, new: &Totals) {
        let mut sums = ClassSums::default();
        sums.add(new);
        let launches = sums.gated + sums.passthrough + sums.bypass;
        self.launches = self.launches.saturating_add(launches);
        self.bypass = self.bypass.saturating_add(sums.bypass);
        self.busy = self.busy + sums.busy;
    }
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadTable {
    by_key: BTreeMap<WorkloadKey, WorkloadSums>,
    /// Takes those beyond [`MOST`].
    others: WorkloadSums,
}

impl WorkloadTable {
    /// Those that are told apart.
    pub fn iter(&self) -> impl Iterator<Item = (&WorkloadKey, &WorkloadSums)> {
        self.by_key.iter()
    }

    /// The one of this process.
    fn of(&mut self, of: &Belonging, now: Nanos, pods: &Workloads, uid: u32) -> &mut WorkloadSums {
        let key = WorkloadKey::of(&of.workload);
        if self.by_key.len() >= MOST && !self.by_key.contains_key(&key) {
            return &mut self.others;
        }
        let sums = self.by_key.entry(key).or_default();
        sums.alive = now;
        (sums.pod, sums.job) = of.rows(pods);
        // Containers of a pod are several; the sums are all of theirs.
        if let Some(pod) = &mut sums.pod {
            pod.container = None;
        }
        if let Some(job) = &mut sums.job {
            job.step = None;
            sums.uid.get_or_insert(uid);
        }
        sums
    }

    fn forget(&mut self, now: Nanos) {
        self.by_key.retain(|_, sums| now.since(sums.alive) < KEPT);
    }
}

impl FromIterator<(WorkloadKey, WorkloadSums)> for WorkloadTable {
    fn from_iter<I: IntoIterator<Item = (WorkloadKey, WorkloadSums)>>(sums: I) -> WorkloadTable {
        WorkloadTable {
            by_key: sums.into_iter().collect(),
            others: WorkloadSums::default(),
        }
    }
}

/// The pod or job of a process.
#[derive(Clone, Debug)]
pub(super) struct Belonging {
    workload: Workload,
    /// What the prolog wrote when the process was first seen.
    job: Option<Job>,
}

impl Belonging {
    /// Reads what the kernel itself keeps: never waits for the process.
    pub fn of(pid: u32, workloads: &Workloads) -> Option<Belonging> {
        let workload = Placement::of(pid).ok()?.workload(pid).ok()??;
        let job = match &workload {
            Workload::Job(place) => workloads.job(place.id),
            Workload::Pod(_) => None,
        };
        Some(Belonging { workload, job })
    }

    /// As users see it.
    pub fn rows(&self, workloads: &Workloads) -> (Option<PodRow>, Option<JobRow>) {
        match &self.workload {
            Workload::Pod(place) => {
                let pod = workloads.pod(&place.uid);
                let container = place.container.as_deref();
                let row = PodRow {
                    uid: place.uid.clone(),
                    namespace: pod.as_ref().map(|pod| pod.namespace.clone()),
                    name: pod.map(|pod| pod.name.clone()),
                    container: container.map(|id| id.get(..12).unwrap_or(id).to_owned()),
                };
                (Some(row), None)
            }
            Workload::Job(place) => {
                let job = self.job.clone().unwrap_or_default();
                let row = JobRow {
                    id: place.id,
                    step: place.step.clone(),
                    partition: job.partition,
                    qos: job.qos,
                    account: job.account,
                };
                (None, Some(row))
            }
        }
    }
}

impl Model {
    /// Adds what was new in this tick to the sums of classes, pods and jobs.
    pub(super) fn add_up(&self, now: Nanos) {
        let mut sums = self.sums.lock();
        for process in self.processes.values() {
            if let Some(new) = process.window.latest() {
                sums.class_mut(self.class_of(process)).add(&new);
            }
            for (class, new) in process.groups.latest() {
                sums.class_mut(class).add(&new);
            }
            self.add_to_workload(process, &mut sums.workloads, now);
        }
        sums.workloads.forget(now);
    }

    fn add_to_workload(&self, process: &Process, table: &mut WorkloadTable, now: Nanos) {
        let Some(belonging) = &process.belonging else {
            return;
        };
        let sums = table.of(belonging, now, self.attr.workloads(), process.uid);
        let groups = process.groups.latest().map(|(_, new)| new);
        for new in process.window.latest().into_iter().chain(groups) {
            sums.add(&new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_host::cgroup::{JobPlace, PodPlace};

    fn belonging(workload: Workload) -> Belonging {
        Belonging {
            workload,
            job: None,
        }
    }

    fn job(id: u32) -> Belonging {
        belonging(Workload::Job(JobPlace {
            id,
            step: Some("0".to_owned()),
            user: None,
        }))
    }

    #[test]
    fn sums_outlive_their_processes_for_a_while() {
        let mut table = WorkloadTable::default();
        let none = Workloads::default();
        let new = Totals {
            launches: 7,
            busy_ns: std::array::from_fn(|device| if device < 2 { 50 } else { 0 }),
            ..Totals::default()
        };
        let at = Nanos::from_secs;
        table.of(&job(1), at(1), &none, 1000).add(&new);
        table.of(&job(1), at(2), &none, 0).add(&new);
        table.forget(at(2) + KEPT - Nanos(1));
        let (key, sums) = table.iter().next().expect("kept");
        assert_eq!(*key, WorkloadKey::Job(1));
        assert_eq!(
            (sums.launches, sums.busy, sums.uid),
            (14, Nanos(200), Some(1000))
        );
        assert_eq!(sums.job.as_ref().expect("a job").step, None);
        table.forget(at(2) + KEPT);
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn jobs_without_end_share_a_sum() {
        let mut table = WorkloadTable::default();
        let none = Workloads::default();
        for id in 0..MOST as u32 + 5 {
            table.of(&job(id), Nanos(1), &none, 0).launches += 1;
        }
        assert_eq!((table.iter().count(), table.others.launches), (MOST, 5));
    }

    #[test]
    fn a_pod_without_a_list_has_its_uid() {
        let place = PodPlace {
            uid: "u".to_owned(),
            container: Some("0123456789abcdef".to_owned()),
        };
        let rows = belonging(Workload::Pod(place)).rows(&Workloads::default());
        let row = rows.0.expect("a pod");
        assert_eq!((row.namespace, row.name), (None, None));
        assert_eq!(row.container.as_deref(), Some("0123456789ab"));
    }
}
