//! Pods and jobs: counters for accounting, gauges for how they fare.
//!
//! Those that have used most device time have series of their own, by name; of
//! the rest, which changes, only their number is told. A pod's uid, a job's step and process numbers are no
//! labels: they would make a new series for each restart. So a pod that was made
//! anew under its old name shares the series of the one before.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use xsched_common::api::{ProcessRow, SloState, Snapshot};

use super::Scrape;
use super::families::{Families, In, Label};
use crate::model::{WorkloadKey, WorkloadSums};

/// The series of one workload, or of several that are called alike.
struct Series<'a> {
    sums: WorkloadSums,
    /// Its job's number, or where its name is not known its pod's uid.
    id: String,
    rows: Vec<&'a ProcessRow>,
}

impl Series<'_> {
    /// Empty labels are none (Prometheus's data model) and are left out.
    fn labels(&self) -> Vec<Label<'_>> {
        let mut labels = Vec::new();
        if let Some(pod) = &self.sums.pod {
            labels.push(("namespace", pod.namespace.as_deref().unwrap_or_default()));
            labels.push(("pod", pod.name.as_deref().unwrap_or(&self.id)));
        }
        if let Some(job) = &self.sums.job {
            labels.push(("job_id", &self.id));
            labels.push(("user", self.sums.user.as_deref().unwrap_or_default()));
            let known = [
                ("partition", &job.partition),
                ("qos", &job.qos),
                ("account", &job.account),
            ];
            let known = known.into_iter();
            labels.extend(known.filter_map(|(key, value)| Some((key, value.as_deref()?))));
        }
        labels.retain(|(_, value)| !value.is_empty());
        labels
    }

    /// The worst of its processes.
    fn worst(&self, of: impl Fn(&ProcessRow) -> Option<f64>) -> Option<f64> {
        let values = self.rows.iter().filter_map(|row| of(row));
        values.reduce(f64::max)
    }
}

pub(super) fn collect(scrape: &Scrape, to: &mut Families<'_>) -> fmt::Result {
    let (series, unlisted) = series(scrape);
    to.gauges(
        "workloads_unlisted",
        "Pods and jobs without series of their own, since more than metrics_workloads are known.",
        In::Number,
        &[unlisted],
        |count| Some(*count as f64),
        |_| Vec::new(),
    )?;
    to.counters(
        "workload_device_busy",
        "Estimated device time of a pod or job, from the gates' accounting.",
        In::Seconds,
        &series,
        |s| s.sums.busy.as_secs_f64(),
        Series::labels,
    )?;
    to.counters(
        "workload_launches",
        "Kernel and graph launches of a pod or job.",
        In::Number,
        &series,
        |s| s.sums.launches as f64,
        Series::labels,
    )?;
    to.counters(
        "workload_bypass_launches",
        "Of these, those that never reached the shim: they escape scheduling.",
        In::Number,
        &series,
        |s| s.sums.bypass as f64,
        Series::labels,
    )?;
    to.gauges(
        "workload_processes",
        "Processes of a pod or job that use a GPU runtime.",
        In::Number,
        &series,
        |s| Some(s.rows.len() as f64),
        Series::labels,
    )?;
    to.gauges(
        "workload_burst_p99",
        "99th percentile of bursts over the last 5 s, of the process where it is longest.",
        In::Seconds,
        &series,
        |s| {
            s.worst(|row| {
                let burst = row.burst.filter(|burst| burst.count > 0)?;
                Some(burst.p99_ns.as_secs_f64())
            })
        },
        Series::labels,
    )?;
    to.gauges(
        "workload_slo_missed",
        "Whether a target of its processes is missed (1) or all are met (0).",
        In::Number,
        &series,
        |s| {
            s.worst(|row| match row.slo.as_ref()?.state {
                SloState::Unknown => None,
                SloState::Met => Some(0.0),
                SloState::Adapting | SloState::Impossible => Some(1.0),
            })
        },
        Series::labels,
    )
}

/// By device time used, and how many are left out.
fn series(scrape: &Scrape) -> (Vec<Series<'_>>, usize) {
    let mut rows = by_workload(&scrape.snapshot);
    let mut by_labels: BTreeMap<Vec<(&str, String)>, Series<'_>> = BTreeMap::new();
    for (key, sums) in scrape.sums.workloads.iter() {
        let one = Series {
            sums: sums.clone(),
            id: match key {
                WorkloadKey::Pod(uid) => uid.clone(),
                WorkloadKey::Job(id) => id.to_string(),
            },
            rows: rows.remove(key).unwrap_or_default(),
        };
        let labels = one.labels().into_iter();
        match by_labels.entry(labels.map(|(key, value)| (key, value.to_owned())).collect()) {
            Entry::Vacant(new) => {
                new.insert(one);
            }
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.sums.add_sums(&one.sums);
                known.rows.extend(one.rows);
            }
        }
    }
    // Stable: those with as much stay in the order of their labels.
    let mut all: Vec<Series<'_>> = by_labels.into_values().collect();
    all.sort_by_key(|series| std::cmp::Reverse(series.sums.busy));
    let unlisted = all.len().saturating_sub(scrape.workloads);
    all.truncate(scrape.workloads);
    (all, unlisted)
}

fn by_workload(snapshot: &Snapshot) -> BTreeMap<WorkloadKey, Vec<&ProcessRow>> {
    let mut rows: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for row in &snapshot.processes {
        let key = match (&row.pod, &row.job) {
            (Some(pod), _) => WorkloadKey::Pod(pod.uid.clone()),
            (None, Some(job)) => WorkloadKey::Job(job.id),
            (None, None) => continue,
        };
        rows.entry(key).or_default().push(row);
    }
    rows
}
