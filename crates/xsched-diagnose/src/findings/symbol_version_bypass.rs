//! The shim exports the function, but under another version node than the
//! reference names: ld.so passes over it without a word.

use xsched_common::api::Severity;

use super::check::{Check, Details, bypass_effect, bypass_severity, importers};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::linker::Explanation;

pub const CHECK: Check = Check {
    code: "symbol-version-bypass",
    check,
};

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let found: Vec<&Bypass<'_>> = bypasses
        .iter()
        .filter(|b| matches!(b.explanation, Explanation::WrongNode { .. }))
        .collect();
    let first = found.first()?;
    let (shim, _) = facts.shim()?;
    let evidence = found
        .iter()
        .map(|b| match &b.explanation {
            Explanation::WrongNode { shim_nodes } => format!(
                "{}; {} exports {} under {} only",
                b.evidence(facts),
                shim.basename(),
                b.binding.symbol,
                shim_nodes.join(", ")
            ),
            _ => b.evidence(facts),
        })
        .collect();
    let severity = bypass_severity(&found);
    let calls = match severity {
        Severity::Error => "launches",
        _ => "calls",
    };
    Some(Details {
        severity,
        title: format!(
            "{calls} of {} go past the shim: it lacks version {}",
            importers(facts, &found),
            first.binding.node.as_deref().unwrap_or("(none)")
        ),
        evidence,
        effect: bypass_effect(facts, &found),
        fix: format!(
            "use a shim that exports these functions under the nodes in the evidence; {} was built \
             for another release of the runtime",
            shim.path
        ),
    })
}
