//! Device time of pods and jobs, since they were first seen. It outlives
//! their processes for a while: the last scrape has the whole of a short job.

use std::collections::{BTreeMap, HashMap};

use xsched_common::api::{JobRow, PodRow};
use xsched_common::units::Nanos;
use xsched_host::cgroup::{Placement, Workload};
use xsched_host::users::Users;

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
    /// Whose job it is: the name, or the number of one who has none. What was
    /// found first stays: a series ends when one of its labels changes.
    pub user: Option<String>,
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

    /// Adds those of another one.
    pub fn add_sums(&mut self, other: &WorkloadSums) {
        self.launches = self.launches.saturating_add(other.launches);
        self.bypass = self.bypass.saturating_add(other.bypass);
        self.busy = self.busy + other.busy;
    }

    /// What is known of it now; what was known before and is not any more
    /// stays.
    fn learn(&mut self, pod: Option<PodRow>, job: Option<JobRow>) {
        let is_known = |job: &JobRow| {
            [&job.partition, &job.qos, &job.account]
                .iter()
                .any(|t| t.is_some())
        };
        if let Some(pod) = pod.filter(|pod| pod.name.is_some() || self.pod.is_none()) {
            // Containers of a pod are several; the sums are all of theirs.
            self.pod = Some(PodRow {
                container: None,
                ..pod
            });
        }
        if !self.job.as_ref().is_some_and(is_known)
            && let Some(job) = job
        {
            self.job = Some(JobRow { step: None, ..job });
        }
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

    /// The one of a process of this user's.
    fn of(
        &mut self,
        of: &Belonging,
        now: Nanos,
        pods: &Workloads,
        user: impl FnOnce(u32) -> String,
        uid: u32,
    ) -> &mut WorkloadSums {
        let key = WorkloadKey::of(&of.workload);
        if self.by_key.len() >= MOST && !self.by_key.contains_key(&key) {
            return &mut self.others;
        }
        let sums = self.by_key.entry(key).or_default();
        sums.alive = now;
        let (pod, job) = of.rows(pods);
        sums.learn(pod, job);
        if let Workload::Job(place) = &of.workload {
            sums.user
                .get_or_insert_with(|| user(place.user.unwrap_or(uid)));
        }
        sums
    }

    /// Those without processes for long. One that was made anew under the same
    /// name takes over its sums: it has the same series, and a counter that went
    /// down would be taken to have begun anew.
    fn forget(&mut self, now: Nanos) {
        let gone = self
            .by_key
            .extract_if(.., |_, sums| now.since(sums.alive) >= KEPT);
        let gone: Vec<WorkloadSums> = gone.map(|(_, sums)| sums).collect();
        let name = |sums: &WorkloadSums| {
            let pod = sums.pod.as_ref()?;
            Some((pod.namespace.clone(), pod.name.clone()?))
        };
        let mut heirs: HashMap<_, &mut WorkloadSums> = match gone.is_empty() {
            true => return,
            false => self.by_key.values_mut(),
        }
        .filter_map(|sums| Some((name(sums)?, sums)))
        .collect();
        for sums in gone {
            if let Some(heir) = name(&sums).and_then(|name| heirs.get_mut(&name)) {
                heir.add_sums(&sums);
            }
        }
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
        let user = |uid| user_of(&self.users, uid);
        let sums = table.of(belonging, now, self.attr.workloads(), user, process.uid);
        let groups = process.groups.latest().map(|(_, new)| new);
        for new in process.window.latest().into_iter().chain(groups) {
            sums.add(&new);
        }
    }
}

fn user_of(users: &Users, uid: u32) -> String {
    users
        .name(uid)
        .map_or_else(|| uid.to_string(), str::to_owned)
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
        let names = |name: &'static str| move |uid: u32| format!("{name}{uid}");
        table
            .of(&job(1), at(1), &none, names("ada"), 1000)
            .add(&new);
        table.of(&job(1), at(2), &none, names(""), 0).add(&new);
        table.forget(at(2) + KEPT - Nanos(1));
        let (key, sums) = table.iter().next().expect("kept");
        assert_eq!(*key, WorkloadKey::Job(1));
        assert_eq!(
            (sums.launches, sums.busy, sums.user.as_deref()),
            (14, Nanos(200), Some("ada1000")),
            "the name that was found first"
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
            let sums = table.of(&job(id), Nanos(1), &none, |uid| uid.to_string(), 0);
            sums.launches += 1;
        }
        assert_eq!((table.iter().count(), table.others.launches), (MOST, 5));
    }

    #[test]
    fn what_was_known_once_stays() {
        let mut sums = WorkloadSums::default();
        let job = |qos: Option<&str>| JobRow {
            id: 7,
            step: Some("0".to_owned()),
            partition: None,
            qos: qos.map(str::to_owned),
            account: None,
        };
        for qos in [None, Some("high"), None, Some("low")] {
            sums.learn(None, Some(job(qos)));
        }
        let known = sums.job.expect("a job");
        assert_eq!((known.qos.as_deref(), known.step), (Some("high"), None));
    }

    /// As a StatefulSet makes them.
    #[test]
    fn a_pod_made_anew_goes_on_with_the_sums_of_the_one_before() {
        let mut table = WorkloadTable::default();
        let known = ["u1", "u2", "u3"].map(|uid| {
            let name = if uid == "u3" { "db-1" } else { "db-0" };
            (
                uid.to_owned(),
                crate::workloads::Pod {
                    namespace: "web".to_owned(),
                    name: name.to_owned(),
                    ..crate::workloads::Pod::default()
                },
            )
        });
        let known = Workloads::known_to_test(known);
        let at = Nanos::from_secs;
        for (uid, time, launches) in [("u1", 1, 100), ("u3", 1, 50), ("u2", 250, 7)] {
            let place = PodPlace {
                uid: uid.to_owned(),
                container: None,
            };
            let pod = belonging(Workload::Pod(place));
            table
                .of(&pod, at(time), &known, |uid| uid.to_string(), 0)
                .launches += launches;
        }
        table.forget(at(302));
        let left: Vec<_> = table
            .iter()
            .map(|(key, sums)| (key.clone(), sums.launches))
            .collect();
        assert_eq!(left, [(WorkloadKey::Pod("u2".to_owned()), 107)]);
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
