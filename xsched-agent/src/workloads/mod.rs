//! Workloads of a cluster: what a pod or a job is called, and what it asks
//! for.
//!
//! Which pod or job a process belongs to says its control group, which is
//! root's word. The rest comes from files: pods from the list that
//! `xsched-pods` writes, or by name alone from the folders of logs that kubelet
//! makes; jobs from the record that Slurm's prolog leaves. All of it may be
//! missing: then the workload is known by its uid or number alone.

mod asks;
mod jobs;
mod pods;
mod watch;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

pub use asks::Asks;
pub use jobs::{Job, of_environment};
pub use pods::Pod;
pub use watch::Watcher;

/// Where `xsched-pods` writes, unless the configuration says otherwise.
pub const PODS_FILE: &str = "/run/xsched-pods/pods.json";

/// Where kubelet keeps logs: `NAMESPACE_NAME_UID/CONTAINER/N.log`.
const POD_LOGS: &str = "/var/log/pods";

/// The folder of jobs' records in the agent's directory.
const JOBS: &str = "slurm";

/// What is known of workloads; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    pods_file: PathBuf,
    pod_logs: PathBuf,
    jobs: PathBuf,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By uid.
    pods: HashMap<String, Arc<Pod>>,
    /// Grows with each change.
    version: u64,
}

impl Workloads {
    /// Those of this machine: the file of pods, and jobs' records below the
    /// agent's directory.
    pub fn of_machine(pods_file: &Path, run_dir: &Path) -> Workloads {
        Workloads::at(pods_file, Path::new(POD_LOGS), &run_dir.join(JOBS))
    }

    fn at(pods_file: &Path, pod_logs: &Path, jobs: &Path) -> Workloads {
        let inner = Inner {
            pods_file: pods_file.to_owned(),
            pod_logs: pod_logs.to_owned(),
            jobs: jobs.to_owned(),
            known: RwLock::default(),
        };
        Workloads {
            inner: Arc::new(inner),
        }
    }

    /// The pod with this uid, if it is known.
    pub fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        let known = self.inner.known.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.pods.get(uid).cloned()
    }

    /// What the prolog has written of a job, if it has.
    pub fn job(&self, id: u32) -> Option<Job> {
        jobs::read(&self.inner.jobs, id)
    }

    /// Grows whenever pods become known, change or go.
    pub fn version(&self) -> u64 {
        let known = self.inner.known.read();
        known.unwrap_or_else(PoisonError::into_inner).version
    }

    /// Whether anything can be known here beyond uids and numbers.
    pub fn are_watched(&self) -> bool {
        let Inner {
            pods_file,
            pod_logs,
            jobs,
            ..
        } = &*self.inner;
        [pods_file, pod_logs, jobs].iter().any(|path| path.exists())
    }

    /// Takes in new pods; the uids of those that are others now.
    fn replace(&self, pods: HashMap<String, Arc<Pod>>) -> HashSet<String> {
        let known = self.inner.known.write();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        let mut changed: HashSet<String> = pods
            .iter()
            .filter(|(uid, pod)| known.pods.get(*uid) != Some(pod))
            .map(|(uid, _)| uid.clone())
            .collect();
        let gone = known.pods.keys().filter(|uid| !pods.contains_key(*uid));
        changed.extend(gone.cloned());
        known.pods = pods;
        known.version += u64::from(!changed.is_empty());
        changed
    }

    /// Ones that are known to a test.
    #[cfg(test)]
    pub(crate) fn known_to_test(pods: impl IntoIterator<Item = (String, Pod)>) -> Workloads {
        let workloads = Workloads::default();
        let pods = pods.into_iter().map(|(uid, pod)| (uid, Arc::new(pod)));
        workloads.replace(pods.collect());
        workloads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let pod = |name: &str| Pod::named("web", name);
        let known = Workloads::known_to_test([("a".to_owned(), pod("x")), ("b".into(), pod("y"))]);
        let before = known.version();
        let same = |name: &str| Arc::new(pod(name));
        let changed = known.replace(HashMap::from([
            ("a".to_owned(), same("x")),
            ("c".to_owned(), same("z")),
        ]));
        assert_eq!(changed, HashSet::from(["b".to_owned(), "c".to_owned()]));
        assert_eq!(known.version(), before + 1);
        assert!(known.pod("b").is_none() && known.pod("c").is_some());
        let again = HashMap::from([("a".to_owned(), same("x")), ("c".to_owned(), same("z"))]);
        assert!(known.replace(again).is_empty());
        assert_eq!(known.version(), before + 1);
    }
}
