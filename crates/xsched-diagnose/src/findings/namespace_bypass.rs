//! The calling library is in a link namespace of its own, where no shim is.

use super::check::{Check, Details, bypass_effect, bypass_severity, importers, place};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::linker::Explanation;

pub const CHECK: Check = Check {
    code: "namespace-bypass",
    check,
};

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let found: Vec<&Bypass<'_>> = bypasses
        .iter()
        .filter(|b| b.explanation == Explanation::OtherNamespace)
        .collect();
    if found.is_empty() {
        return None;
    }
    let mut evidence: Vec<String> = found.iter().map(|b| b.evidence(facts)).collect();
    let mut places: Vec<String> = found
        .iter()
        .map(|b| place(facts, facts.object(b.binding.object)))
        .collect();
    places.dedup();
    evidence.extend(places);
    let shims = facts.mapped.shims();
    evidence.extend(shims.map(|(shim, _)| place(facts, shim)));
    Some(Details {
        severity: bypass_severity(&found),
        title: format!(
            "{} was opened by dlmopen into a link namespace without the shim",
            importers(facts, &found)
        ),
        evidence,
        effect: bypass_effect(facts, &found),
        fix: "open the library with dlopen instead of dlmopen: nothing is preloaded into further \
              namespaces"
            .into(),
    })
}
