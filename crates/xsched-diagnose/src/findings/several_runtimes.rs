//! More than one copy of the runtime is in the process: each has its own
//! streams, modules and devices.

use xsched_common::api::Severity;

use super::check::{Check, Details, mapped, place};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::bindings::Target;
use crate::facts::mapped::Role;

pub const CHECK: Check = Check {
    code: "several-runtimes",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    // One of each platform is no copy.
    let platform = facts.platform();
    let objects = facts.mapped.objects.iter().enumerate();
    let evidence: Vec<String> = objects
        .filter(|(_, o)| o.role == Role::Runtime(platform))
        .map(|(index, object)| {
            let users = facts
                .bindings
                .iter()
                .filter(|b| b.target == Target::Object(index))
                .count();
            format!("{}: {users} references lead to it", place(facts, object))
        })
        .collect();
    if evidence.len() < 2 {
        return None;
    }
    Some(Details {
        severity: Severity::Warning,
        title: format!(
            "{} copies of the {} runtime {}",
            evidence.len(),
            platform.names().title,
            mapped(facts)
        ),
        evidence,
        effect: None,
        fix: "load one runtime only: remove the copy that a Python wheel bundles or the one in \
              LD_LIBRARY_PATH, so that all libraries find the same file; handles of one copy are \
              invalid in the other (\"invalid device function\")"
            .into(),
    })
}
