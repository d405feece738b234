//! Launches were observed that passed no shim, and no reference explains
//! them: their address was looked up at run time.

use std::collections::BTreeMap;

use xsched_common::api::Severity;
use xsched_common::platform::names::ShimKind;

use super::check::{Check, Details, covers, effect, grouped};
use super::lookup_bypass;
use crate::bypasses::Bypass;
use crate::bypasses::lookups::past_the_shim;
use crate::facts::Facts;
use crate::facts::bindings::Target;
use crate::facts::calls::ObservedCall;
use crate::facts::mapped::Role;
use crate::linker::ShimEntry;

pub const CHECK: Check = Check {
    code: "observed-bypass",
    check,
};

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let (shim, _) = facts.shim()?;
    let looked_up = lookup_bypass::calls(facts, bypasses, &past_the_shim(facts));
    let unexplained = |call: &ObservedCall| {
        facts.is_direct(call)
            && !bypasses.iter().any(|b| covers(facts, b, call))
            && !looked_up.iter().any(|other| std::ptr::eq(*other, call))
    };
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for call in facts.launches().filter(|c| unexplained(c)) {
        *counts.entry((&call.object, &call.api)).or_default() += call.count;
    }
    let ((first, _), _) = counts.iter().max_by_key(|(_, count)| **count)?;
    let first = crate::facts::mapped::basename(first).to_owned();
    Some(Details {
        severity: Severity::Error,
        title: format!("launches of {first} never reach {}", shim.basename()),
        evidence: counts
            .iter()
            .map(|((object, api), count)| {
                format!(
                    "{object} called {api} of the runtime {} times without passing the shim; {}",
                    grouped(*count),
                    how(facts, object, api)
                )
            })
            .collect(),
        effect: effect(facts, unexplained, "never reach the shim"),
        fix: fix(facts),
    })
}

/// What helps against a look-up that the shim did not see.
fn fix(facts: &Facts) -> String {
    let names = facts.platform().names();
    let preload =
        "preload the shim: it was loaded after the look-up (xsched-agent run -- PROGRAM ...)";
    let ours = matches!(facts.shim(), Some((_, ShimKind::Ours)));
    match (ours, facts.scopes().shim()) {
        (false, _) => format!(
            "use {}, which also answers look-ups by dlsym and {}",
            names.shim, names.look_up
        ),
        (true, ShimEntry::Other) => preload.to_owned(),
        (true, ShimEntry::Preloaded) => {
            lookup_bypass::in_table(names).unwrap_or_else(|| preload.to_owned())
        }
    }
}

/// What the object's references say about the way its calls took.
fn how(facts: &Facts, path: &str, api: &str) -> String {
    let look_up = facts.platform().names().look_up;
    let bound_to_shim = facts.bindings.iter().any(|b| {
        b.symbol == api
            && facts.object(b.object).path == path
            && matches!(b.target, Target::Object(to)
                if matches!(facts.object(to).role, Role::Shim(_)))
    });
    let object = facts.mapped.objects.iter().find(|o| o.path == path);
    if is_foreign_function_interface(path) {
        "it calls for an interpreter (Python's ctypes or cffi, and others), which looked the \
         function up on the runtime's handle"
            .to_owned()
    } else if bound_to_shim {
        format!(
            "its slot leads to the shim, so it uses an address that it got otherwise: dlsym on a \
             handle, or {look_up}"
        )
    } else if object.is_some_and(|o| o.elf.imports_dlsym()) {
        format!(
            "it does not import that function but imports dlsym: a look-up on a handle, or {look_up}"
        )
    } else {
        "it does not import that function: it was given the address by other code".to_owned()
    }
}

/// Libraries whose work it is to call functions that were looked up.
fn is_foreign_function_interface(path: &str) -> bool {
    let name = crate::facts::mapped::basename(path);
    ["libffi", "_ctypes.", "_cffi_backend."]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}
