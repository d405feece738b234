//! What happened lately.

use serde::{Deserialize, Serialize};

use super::Severity;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventRow {
    /// Counts up by one with every event of this agent: a gap means that
    /// events between two snapshots were more than the agent keeps.
    pub number: u64,
    /// Time of day, ns since 1970.
    pub time_unix_ns: u64,
    /// The process that it is about.
    pub pid: Option<u32>,
    /// Who did it, where somebody did: user and process, kernel-verified, and
    /// that process's name then: `uid 1000 (pid 4242, bash)`.
    pub actor: Option<String>,
    /// What it is.
    pub kind: EventKind,
    /// One line for people.
    pub text: String,
}

/// Kinds of [`EventRow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A process has joined.
    Joined,
    /// A client is gone.
    Left,
    /// Terms of a process were changed, or a boost or suspension began or
    /// ended.
    Changed,
    /// A change was refused.
    Refused,
    /// The configuration was read again, or could not be.
    Configuration,
    /// A diagnosis found something this bad.
    Finding(Severity),
    /// The kernel could not count events.
    Dropped,
    /// A target was found out of reach, or reached again.
    Slo,
}

impl EventKind {
    /// Every kind's name, [`EventKind::index`] by index.
    pub const NAMES: [&str; 8] = [
        "joined",
        "left",
        "changed",
        "refused",
        "configuration",
        "finding",
        "dropped",
        "slo",
    ];

    /// Its place among the kinds, whatever else it carries.
    pub const fn index(self) -> usize {
        match self {
            EventKind::Joined => 0,
            EventKind::Left => 1,
            EventKind::Changed => 2,
            EventKind::Refused => 3,
            EventKind::Configuration => 4,
            EventKind::Finding(_) => 5,
            EventKind::Dropped => 6,
            EventKind::Slo => 7,
        }
    }

    /// As in JSON; a finding is one of any severity.
    pub const fn name(self) -> &'static str {
        EventKind::NAMES[self.index()]
    }
}
