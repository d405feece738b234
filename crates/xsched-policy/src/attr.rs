//! What a process was promised, and what takes precedence over it for a while.

pub use xsched_common::api::Override as OverrideKind;
use xsched_common::units::{Class, Nanos, Weight};

/// The attributes of a process: from rules, `run`, `set` or its ancestors, never
/// from itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SchedAttr {
    /// Strict: a class gets the time that no higher class wants.
    pub class: Class,
    /// Its share within the class ([`xsched_common::api::SharingMode::Share`]).
    pub weight: Weight,
    /// The P99 of its bursts to reach ([`xsched_common::api::SharingMode::Slo`]).
    pub slo_p99: Option<Nanos>,
}

impl SchedAttr {
    /// A class and nothing else.
    pub fn of_class(class: Class) -> SchedAttr {
        SchedAttr {
            class,
            ..SchedAttr::default()
        }
    }
}

/// A boost or a suspension. Every one ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Override {
    /// Above all classes, or closed.
    pub kind: OverrideKind,
    /// When it ends, by the agent's clock.
    pub until: Nanos,
}

impl Override {
    /// What is in force at `now`.
    pub fn in_force(hold: Option<Override>, now: Nanos) -> Option<Override> {
        hold.filter(|hold| hold.until > now)
    }
}
