//! What a rule asks of a process's pod or job.
//!
//! Namespaces, partitions, qualities of service and accounts are the cluster's
//! word, which administrators give. Names and labels of pods are that of
//! whoever may create pods there. What only a job's environment says does not
//! meet any of these.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use xsched_host::cgroup::Workload;

use super::{Check, Facts, Pattern, first, met, not_met, texts};

/// Conditions on a pod or job: all that are given must hold.
#[derive(Clone, Debug, Default)]
pub struct ClusterConditions {
    /// The pod's name.
    pub pod: Vec<Pattern>,
    /// Its namespace.
    pub namespace: Vec<Pattern>,
    /// Its labels.
    pub label: BTreeMap<String, Vec<Pattern>>,
    /// The job's partition.
    pub slurm_partition: Vec<Pattern>,
    /// Its quality of service.
    pub slurm_qos: Vec<Pattern>,
    /// The account that it is charged to.
    pub slurm_account: Vec<Pattern>,
}

impl ClusterConditions {
    /// Those that are lists, by their keys.
    pub(super) fn lists(&self) -> [(&'static str, &Vec<Pattern>); 5] {
        [
            ("pod", &self.pod),
            ("namespace", &self.namespace),
            ("slurm_partition", &self.slurm_partition),
            ("slurm_qos", &self.slurm_qos),
            ("slurm_account", &self.slurm_account),
        ]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        !self.is_of_pods() && !self.is_of_jobs()
    }

    /// Whether something is asked of a pod.
    pub fn is_of_pods(&self) -> bool {
        !self.pod.is_empty() || !self.namespace.is_empty() || !self.label.is_empty()
    }

    /// Whether something is asked of a job.
    pub fn is_of_jobs(&self) -> bool {
        !self.slurm_partition.is_empty()
            || !self.slurm_qos.is_empty()
            || !self.slurm_account.is_empty()
    }

    /// Whether something is asked for that users write.
    pub(super) fn is_chosen_by_users(&self) -> bool {
        !self.label.is_empty() || !self.pod.is_empty()
    }

    /// Whether whoever may create pods somewhere, in whatever namespace,
    /// decides all that is asked for.
    pub(super) fn is_of_any_pod(&self) -> bool {
        self.is_of_pods() && self.namespace.is_empty()
    }

    pub(super) fn check(&self, facts: &Facts) -> Check {
        match (facts.workload()?, self.is_of_jobs()) {
            (Some(Workload::Pod(place)), false) => self.check_pod(&place.uid, facts),
            (Some(Workload::Job(place)), true) => self.check_job(place.id, facts),
            (_, true) => not_met("it is in no Slurm job that slurmd made".to_owned()),
            (_, false) => not_met("it is in no pod that kubelet made".to_owned()),
        }
    }

    fn check_pod(&self, uid: &str, facts: &Facts) -> Check {
        let Some(pod) = facts.pod() else {
            return not_met(format!(
                "its pod {uid} is not known (yet): is xsched-pods running?"
            ));
        };
        let shown = format!("pod {}/{}", pod.namespace, pod.name);
        for (what, patterns, value) in [
            ("namespace", &self.namespace, &pod.namespace),
            ("name", &self.pod, &pod.name),
        ] {
            if !patterns.is_empty() && first(patterns, OsStr::new(value)).is_none() {
                let wanted = texts(patterns);
                return not_met(format!("it is in {shown}, whose {what} is not {wanted}"));
            }
        }
        if let (false, None) = (self.label.is_empty(), &pod.labels) {
            return not_met(format!(
                "the labels of {shown} are not known: only xsched-pods tells them"
            ));
        }
        for (key, patterns) in &self.label {
            let value = pod.labels.as_ref().and_then(|labels| labels.get(key));
            if value.is_none_or(|value| first(patterns, OsStr::new(value)).is_none()) {
                let wanted = texts(patterns);
                return not_met(format!("label {key} of {shown} is not {wanted}"));
            }
        }
        met(shown)
    }

    fn check_job(&self, id: u32, facts: &Facts) -> Check {
        let Some(job) = facts.job() else {
            return not_met(format!(
                "Slurm's prolog has left no record of job {id}, and what its environment says \
                 only lowers"
            ));
        };
        let mut said = Vec::new();
        for (what, patterns, value) in [
            ("partition", &self.slurm_partition, &job.partition),
            ("QOS", &self.slurm_qos, &job.qos),
            ("account", &self.slurm_account, &job.account),
        ] {
            if patterns.is_empty() {
                continue;
            }
            let wanted = texts(patterns);
            match value {
                Some(value) if first(patterns, OsStr::new(value)).is_some() => {
                    said.push(format!("{what} {value}"));
                }
                Some(value) => {
                    return not_met(format!("the {what} of job {id} is {value}, not {wanted}"));
                }
                None => return not_met(format!("the {what} of job {id} is not known")),
            }
        }
        met(format!("job {id}: {}", said.join(", ")))
    }
}
