//! What a process was promised, and what takes precedence over it for a while.

pub use xsched_common::api::Hold as HoldKind;
use xsched_common::units::{Class, Nanos, Weight};

/// The terms of a process: from rules, `run`, `set` or its ancestors, never
/// from itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Strict: a class gets the time that no higher class wants.
    pub class: Class,
    /// Its share within the class ([`xsched_common::api::SharingMode::Share`]).
    pub weight: Weight,
    /// The P99 of its bursts to reach ([`xsched_common::api::SharingMode::Slo`]).
    pub slo_p99: Option<Nanos>,
}

impl Terms {
    /// A class and nothing else.
    pub fn of_class(class: Class) -> Terms {
        Terms {
            class,
            ..Terms::default()
        }
    }
}

/// A boost or a suspension. Every one ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Above all classes, or closed.
    pub kind: HoldKind,
    /// When it ends, by the agent's clock.
    pub until: Nanos,
}

impl Hold {
    /// What is in force at `now`.
    pub fn in_force(hold: Option<Hold>, now: Nanos) -> Option<Hold> {
        hold.filter(|hold| hold.until > now)
    }
}
