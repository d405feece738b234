//! What a pod or job asks for itself, and how far it is heard.
//!
//! Whoever may create a pod writes its annotations, and whoever submits a job
//! its comment: a wish. It always lowers. It raises as far as the rule that
//! applies allows (`may_ask`). What only a job's environment says never
//! raises: any process of the job can have written it.

use std::fmt;

use xsched_common::units::Nanos;
use xsched_host::cgroup::Workload;

use crate::rules::{self, Facts, Match, Rule, SchedAttrPatch, Unknown};
use crate::workloads::Asks;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who asks, for people.
    pub by: String,
    /// What for.
    pub patch: SchedAttrPatch,
    /// Whether a rule can let it raise.
    pub may_raise: bool,
    /// What cannot be understood.
    pub unclear: Vec<String>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.patch.is_empty() {
            true => write!(f, "{} asks for nothing", self.by)?,
            false => write!(f, "{} asks for {}", self.by, self.patch)?,
        }
        if !self.unclear.is_empty() {
            write!(f, "; not understood: {}", self.unclear.join(", "))?;
        }
        Ok(())
    }
}

/// What the process's pod or job asks for.
///
/// # Errors
/// It takes what is not to be read.
pub fn of(facts: &Facts, rules: &[Rule]) -> Result<Option<Asked>, Unknown> {
    let known = |by: String, asks: &Asks| {
        let Asks {
            class,
            weight,
            slo_p99,
            unclear,
        } = asks.clone();
        (!asks.is_empty()).then_some(Asked {
            by,
            patch: SchedAttrPatch {
                class,
                weight,
                slo_p99,
            },
            may_raise: true,
            unclear,
        })
    };
    if let Some(pod) = facts.pod() {
        return Ok(known(
            format!("pod {}/{}", pod.namespace, pod.name),
            &pod.asks,
        ));
    }
    let Some(Workload::Job(place)) = facts.workload()? else {
        return Ok(None);
    };
    let by = format!("job {}", place.id);
    if let Some(job) = facts.job() {
        return Ok(known(by, &job.asks));
    }
    let Some(job) = facts.job_by_itself()? else {
        return Ok(None);
    };
    let by = format!("the environment of {by}");
    let asked = known(by.clone(), &job.asks).unwrap_or(Asked {
        by,
        patch: SchedAttrPatch::default(),
        may_raise: false,
        unclear: Vec::new(),
    });
    // A rule for its partition, QOS or account, as if these were true.
    let by_rule = match rules::first_match(rules, &facts.believing(job)) {
        Match::Rule(rule) if rule.conditions.cluster.is_of_jobs() => rule.attr,
        _ => SchedAttrPatch::default(),
    };
    Ok(Some(Asked {
        patch: asked.patch.or(SchedAttrPatch {
            slo_p99: None,
            ..by_rule
        }),
        may_raise: false,
        ..asked
    })
    .filter(|asked| !asked.patch.is_empty() || !asked.unclear.is_empty()))
}

impl Asked {
    /// What a rule gives that lets workloads ask for up to `up_to`.
    pub fn raise(&self, given: SchedAttrPatch, up_to: SchedAttrPatch) -> SchedAttrPatch {
        if !self.may_raise {
            return given;
        }
        let SchedAttrPatch {
            class,
            weight,
            slo_p99,
        } = self.patch;
        SchedAttrPatch {
            class: higher(given.class, class, up_to.class),
            weight: higher(given.weight, weight, up_to.weight),
            slo_p99: match (slo_p99, up_to.slo_p99.or(given.slo_p99)) {
                (Some(asked), Some(shortest)) if asked > Nanos::ZERO => Some(asked.max(shortest)),
                _ => given.slo_p99,
            },
        }
    }

    /// What of it lowers, whatever the rules say; attributes above those that
    /// hold count for nothing.
    pub fn lowering(&self) -> SchedAttrPatch {
        SchedAttrPatch {
            slo_p99: self.patch.slo_p99.filter(|target| *target == Nanos::ZERO),
            ..self.patch
        }
    }
}

fn higher<T: Ord>(given: Option<T>, asked: Option<T>, up_to: Option<T>) -> Option<T> {
    match (asked, up_to) {
        (Some(asked), Some(limit)) => given.max(Some(asked.min(limit))),
        _ => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use xsched_common::units::{Class, Weight};

    fn patch(class: Option<Class>, weight: Option<u16>, ms: Option<u64>) -> SchedAttrPatch {
        SchedAttrPatch {
            class,
            weight: weight.map(|weight| Weight::new(weight).expect("a weight")),
            slo_p99: ms.map(Nanos::from_millis),
        }
    }

    fn asked(patch: SchedAttrPatch) -> Asked {
        Asked {
            by: "pod a/b".to_owned(),
            patch,
            may_raise: true,
            unclear: Vec::new(),
        }
    }

    #[test]
    fn a_wish_is_heard_up_to_the_ceiling() {
        let wish = asked(patch(Some(Class::Realtime), Some(500), Some(5)));
        let given = patch(Some(Class::Normal), None, None);
        assert_eq!(wish.raise(given, SchedAttrPatch::default()), given);
        let up_to = patch(Some(Class::High), Some(300), Some(10));
        let heard = patch(Some(Class::High), Some(300), Some(10));
        assert_eq!(wish.raise(given, up_to), heard);
        // Below the ceiling as it is; a longer target than the rule's is no raise.
        let wish = asked(patch(Some(Class::High), None, Some(50)));
        let given = patch(Some(Class::Normal), Some(100), Some(20));
        let up_to = patch(Some(Class::Realtime), None, None);
        let heard = patch(Some(Class::High), Some(100), Some(50));
        assert_eq!(wish.raise(given, up_to), heard);
        let no_word = Asked {
            may_raise: false,
            ..wish
        };
        assert_eq!(no_word.raise(given, up_to), given);
    }

    #[test]
    fn what_lowers_is_no_target() {
        let wish = asked(patch(Some(Class::Low), None, Some(5)));
        assert_eq!(wish.lowering(), patch(Some(Class::Low), None, None));
        let none = asked(patch(None, None, Some(0)));
        assert_eq!(none.lowering().slo_p99, Some(Nanos::ZERO));
    }

    fn any_patch() -> impl Strategy<Value = SchedAttrPatch> {
        let class = prop::option::of(prop::sample::select(Class::ALL.to_vec()));
        let weight = prop::option::of(1..=10_000u16);
        let target = prop::option::of(1..=1_000u64);
        (class, weight, target).prop_map(|(class, weight, ms)| patch(class, weight, ms))
    }

    proptest! {
        /// Whatever is asked for: nobody gets more than the rule gives or
        /// allows.
        #[test]
        fn nobody_asks_for_more(wish in any_patch(), given in any_patch(), up_to in any_patch()) {
            let heard = asked(wish).raise(given, up_to);
            prop_assert!(heard.class <= given.class.max(up_to.class));
            prop_assert!(heard.weight <= given.weight.max(up_to.weight));
            if let Some(target) = heard.slo_p99 {
                let shortest = [given.slo_p99, up_to.slo_p99].into_iter().flatten().min();
                prop_assert!(Some(target) >= shortest);
            }
        }
    }
}
