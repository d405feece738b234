//! Rules: which processes get which attributes.
//!
//! The first rule in the file whose conditions hold applies. What is compared
//! comes from the kernel (`/proc`), not from the client.

mod conditions;
mod facts;
mod pattern;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xsched_common::api::Attr;
use xsched_common::units::{Class, Nanos, Weight};
use xsched_policy::SliceChoice;

pub use conditions::{Account, ClusterConditions, Conditions, Feigner, MatchOutcome};
pub use facts::{Facts, Reach, Unknown};
pub use pattern::{BadPattern, Pattern};

use crate::control::Passthrough;
pub use crate::control::ThreadClasses;

/// Attributes that one source gives; what is `None` is left to weaker sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedAttrPatch {
    /// The class.
    pub class: Option<Class>,
    /// The share within the class.
    pub weight: Option<Weight>,
    /// The P99 of bursts to reach; zero says that there is no target.
    pub slo_p99: Option<Nanos>,
}

impl SchedAttrPatch {
    /// Whether it gives nothing.
    pub fn is_empty(&self) -> bool {
        *self == SchedAttrPatch::default()
    }

    /// It without some of its attributes.
    pub fn forgetting(mut self, attr: &[Attr]) -> SchedAttrPatch {
        for term in attr {
            match term {
                Attr::Class => self.class = None,
                Attr::Weight => self.weight = None,
                Attr::Slo => self.slo_p99 = None,
            }
        }
        self
    }

    /// What it gives that `other` does not.
    pub fn without(self, other: SchedAttrPatch) -> SchedAttrPatch {
        SchedAttrPatch {
            class: self.class.filter(|_| other.class.is_none()),
            weight: self.weight.filter(|_| other.weight.is_none()),
            slo_p99: self.slo_p99.filter(|_| other.slo_p99.is_none()),
        }
    }

    /// Fills what `self` leaves open from `weaker`.
    pub fn or(self, weaker: SchedAttrPatch) -> SchedAttrPatch {
        SchedAttrPatch {
            class: self.class.or(weaker.class),
            weight: self.weight.or(weaker.weight),
            slo_p99: self.slo_p99.or(weaker.slo_p99),
        }
    }
}

impl fmt::Display for SchedAttrPatch {
    /// For people: `class high, weight 300, P99 30.0 ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class.map(|class| format!("class {class}"));
        let weight = self.weight.map(|weight| format!("weight {weight}"));
        let target = self.slo_p99.map(|target| match target {
            Nanos::ZERO => "no target".to_owned(),
            target => format!("P99 {target}"),
        });
        let parts: Vec<String> = [class, weight, target].into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// A rule of the configuration.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name, unique in the file.
    pub name: String,
    /// The line in the file at which it begins.
    pub line: usize,
    /// When it applies.
    pub conditions: Conditions,
    /// What it gives.
    pub attr: SchedAttrPatch,
    /// How far a pod or job may raise that by what it asks for: the highest
    /// class, the largest weight, the shortest P99.
    pub may_ask: SchedAttrPatch,
    /// Which work of its processes is not gated, in place of the file's own
    /// list.
    pub passthrough: Option<Arc<Passthrough>>,
    /// Whether its time slices are set, if the rule says so.
    pub time_slices: Option<SliceChoice>,
    /// Which of its threads have classes of their own, if the rule says so.
    pub threads: Option<Arc<ThreadClasses>>,
}

/// What the rules say of a process.
#[derive(Clone, Copy, Debug)]
pub enum Match<'r> {
    /// This rule, the first that holds, applies.
    Rule(&'r Rule),
    /// None does.
    None,
    /// It takes facts that were not to be read.
    Undecided,
}

/// The first of `rules` that holds.
pub fn first_match<'r>(rules: &'r [Rule], facts: &Facts) -> Match<'r> {
    for rule in rules {
        match rule.conditions.evaluate(facts) {
            MatchOutcome::Holds(_) => return Match::Rule(rule),
            MatchOutcome::Fails(_) => {}
            MatchOutcome::Undecided => return Match::Undecided,
        }
    }
    Match::None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stronger_sources_leave_open_what_they_do_not_say() {
        let class = SchedAttrPatch {
            class: Some(Class::Low),
            ..SchedAttrPatch::default()
        };
        let both = SchedAttrPatch {
            class: Some(Class::High),
            weight: Some(Weight::MAX),
            slo_p99: Some(Nanos::ZERO),
        };
        let merged = class.or(both);
        assert_eq!(merged.class, Some(Class::Low));
        assert_eq!((merged.weight, merged.slo_p99), (both.weight, both.slo_p99));
        assert!(SchedAttrPatch::default().is_empty() && !class.is_empty());
    }
}
