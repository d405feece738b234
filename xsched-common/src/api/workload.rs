//! Whose work a process is in a cluster's terms.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A Kubernetes pod, by its control group; names as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PodRow {
    /// Its uid.
    pub uid: String,
    /// Its namespace; null while unknown.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name; null while unknown.
    #[serde(default)]
    pub name: Option<String>,
    /// The container's id in it, twelve digits; null where it is in none.
    #[serde(default)]
    pub container: Option<String>,
}

/// A Slurm job, by its control group; the rest by the prolog's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JobRow {
    /// Its number.
    pub id: u32,
    /// Its step: a number, `batch`, `extern` or `interactive`; null where the
    /// control group's path does not say it, or its user owns that part.
    #[serde(default)]
    pub step: Option<String>,
    /// Its partition; null while unknown.
    #[serde(default)]
    pub partition: Option<String>,
    /// Its quality of service; null while unknown.
    #[serde(default)]
    pub qos: Option<String>,
    /// The account that it is charged to; null while unknown.
    #[serde(default)]
    pub account: Option<String>,
}

impl fmt::Display for PodRow {
    /// `namespace/name`, as far as these are known, else `pod UID`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => write!(f, "{namespace}/{name}"),
            (None, Some(name)) => f.write_str(name),
            (_, None) => write!(f, "pod {}", self.uid),
        }
    }
}

impl fmt::Display for JobRow {
    /// `job 42.batch`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "job {}.{step}", self.id),
            None => write!(f, "job {}", self.id),
        }
    }
}
