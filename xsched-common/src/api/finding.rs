//! What `diagnose` says.

use serde::{Deserialize, Serialize};

use crate::platform::Platform;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing is wrong.
    Info,
    /// Scheduling works worse than it could.
    Warning,
    /// Work escapes scheduling.
    Error,
}

impl Severity {
    /// The name in JSON and on screen.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One proven statement about a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Finding {
    /// Stable code, lower-case with dashes; docs/DIAGNOSE.md has an entry
    /// for each.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// The process.
    pub pid: u32,
    /// Whose runtime it is about.
    #[serde(default)]
    pub platform: Platform,
    /// One line for people.
    pub title: String,
    /// What was seen: addresses, libraries, symbols, versions, counts.
    pub evidence: Vec<String>,
    /// What it costs, in numbers, where they were measured.
    pub effect: Option<String>,
    /// What to do.
    pub fix: String,
}
