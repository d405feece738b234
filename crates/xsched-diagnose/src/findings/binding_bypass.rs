//! A reference that the shim's export would have satisfied is bound to the
//! runtime nevertheless.

use super::check::{Check, Details, bypass_effect, bypass_severity, importers};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::linker::{Cause, Explanation};

pub const CHECK: Check = Check {
    code: "binding-bypass",
    check,
};

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let found: Vec<&Bypass<'_>> = bypasses
        .iter()
        .filter(|b| matches!(b.explanation, Explanation::Remaining(_)))
        .collect();
    if found.is_empty() {
        return None;
    }
    let mut causes: Vec<Cause> = Vec::new();
    let mut evidence = Vec::new();
    for bypass in &found {
        evidence.push(format!(
            "{}, although the shim's export satisfies this reference",
            bypass.evidence(facts)
        ));
        if let Explanation::Remaining(remaining) = &bypass.explanation {
            Cause::add_new(&mut causes, remaining);
        }
    }
    for cause in &causes {
        evidence.push(format!("possible cause: {}", cause.text()));
    }
    let fixes: Vec<&str> = causes.iter().map(|c| fix(*c)).collect();
    Some(Details {
        severity: bypass_severity(&found),
        title: format!(
            "{} is bound to the runtime, past the shim",
            importers(facts, &found)
        ),
        evidence,
        effect: bypass_effect(facts, &found),
        fix: fixes.join("; or "),
    })
}

const fn fix(cause: Cause) -> &'static str {
    match cause {
        Cause::Deepbind => {
            "open the library without RTLD_DEEPBIND (Python: check sys.setdlopenflags and \
             ctypes modes; an interposed dlopen can drop the flag)"
        }
        Cause::Namespace => "open the library with dlopen instead of dlmopen",
        Cause::ShimNotFirst => {
            "preload the shim: start the process with `xsched-agent run` or LD_PRELOAD"
        }
        Cause::Patched => {
            "look for a tool that rewrites the GOT (profilers and sanitizers do) and run without it"
        }
    }
}
