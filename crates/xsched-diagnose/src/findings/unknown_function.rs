//! The program refers to functions of the runtime that are newer than this
//! release.

use std::collections::BTreeMap;

use xsched_common::api::Severity;
use xsched_common::platform::{entry_point, names, symbol_node};

use super::check::{Check, Details};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::bindings::Target;

pub const CHECK: Check = Check {
    code: "unknown-function",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let unknown = facts.bindings.iter().filter(|binding| {
        let name = binding.symbol.as_str();
        matches!(binding.target, Target::Object(to) if facts.is_runtime(to))
            && names::function(name.as_bytes()).is_some()
            && entry_point(name).is_none()
            && symbol_node(name).is_none()
    });
    let mut by_object: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for binding in unknown {
        let object = &facts.object(binding.object).path;
        by_object.entry(object).or_default().push(&binding.symbol);
    }
    let runtime = facts.runtime().filter(|_| !by_object.is_empty())?;
    Some(Details {
        severity: Severity::Info,
        title: format!(
            "functions of {} are used that this release does not know",
            runtime.basename()
        ),
        evidence: by_object
            .iter()
            .map(|(object, names)| format!("{object} refers to {}", names.join(", ")))
            .collect(),
        effect: None,
        fix: "nothing, if they launch no work: what does is neither gated nor counted; a newer \
              release of xsched may know them"
            .into(),
    })
}
