//! A launch function that the mapped shim does not export at all.

use super::check::{Check, Details, bypass_effect, bypass_severity, importers};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::linker::Explanation;

pub const CHECK: Check = Check {
    code: "api-not-covered",
    check,
};

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let found: Vec<&Bypass<'_>> = bypasses
        .iter()
        .filter(|b| b.explanation == Explanation::NotExported)
        .collect();
    if found.is_empty() {
        return None;
    }
    let (shim, _) = facts.shim()?;
    let mut functions: Vec<&str> = found.iter().map(|b| b.binding.symbol.as_str()).collect();
    functions.sort_unstable();
    functions.dedup();
    Some(Details {
        severity: bypass_severity(&found),
        title: format!(
            "{} does not schedule {}, which {} uses",
            shim.basename(),
            functions.join(", "),
            importers(facts, &found)
        ),
        evidence: found
            .iter()
            .map(|b| format!("{}; {} does not export it", b.evidence(facts), shim.path))
            .collect(),
        effect: bypass_effect(facts, &found),
        fix: format!(
            "use a shim that covers these functions ({} exports every function that launches)",
            facts.platform().names().shim
        ),
    })
}
