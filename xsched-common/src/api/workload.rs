//! Whose work a process is in a cluster's terms.

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
