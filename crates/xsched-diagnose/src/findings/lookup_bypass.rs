//! An object looks the runtime's functions up past the shim: its dlsym is not
//! the shim's.

use std::collections::{BTreeMap, BTreeSet};

use xsched_common::api::Severity;
use xsched_common::platform::names::Names;
use xsched_host::elf::versioned_name;

use super::check::{Check, Details, covers, effect, grouped};
use crate::bypasses::Bypass;
use crate::bypasses::lookups::{Lookup, past_the_shim};
use crate::facts::Facts;
use crate::facts::bindings::Target;
use crate::facts::calls::ObservedCall;
use crate::facts::mapped::ObjectIndex;
use crate::facts::mapped::basename;
use crate::linker::{Cause, Explanation};

pub const CHECK: Check = Check {
    code: "lookup-bypass",
    check,
};

fn check(facts: &Facts, bypasses: &[Bypass<'_>]) -> Option<Details> {
    let (shim, _) = facts.shim()?;
    let lookups = past_the_shim(facts);
    let calls = calls(facts, bypasses, &lookups);
    let path = |lookup: &&Lookup<'_>| facts.object(lookup.binding.object).path.as_str();
    let calling: BTreeSet<&str> = calls.iter().map(|call| call.object.as_str()).collect();
    let holding: BTreeSet<ObjectIndex> = held(facts).map(|held| held.object).collect();
    // Others may look anything up: it is proven for those that call, or have
    // got an address.
    let proven: Vec<&Lookup<'_>> = lookups
        .iter()
        .filter(|l| holding.contains(&l.binding.object) || calling.contains(path(l)))
        .collect();
    let first = proven.first()?;
    let mut evidence: Vec<String> = proven
        .iter()
        .map(|lookup| {
            let binding = lookup.binding;
            let Target::Object(to) = binding.target else {
                return String::new();
            };
            format!(
                "{}: {} {:#x} of {} leads to {}, not to the one of {}",
                facts.object(binding.object).path,
                binding.via.name(),
                binding.slot,
                versioned_name(&binding.symbol, binding.node.as_deref()),
                facts.object(to).path,
                shim.basename()
            )
        })
        .collect();
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for call in &calls {
        *counts.entry((&call.object, &call.api)).or_default() += call.count;
    }
    evidence.extend(counts.iter().map(|((object, api), count)| {
        format!(
            "{object} called {api} of the runtime {} times without passing the shim",
            grouped(*count)
        )
    }));
    let mut functions: BTreeMap<(ObjectIndex, &str), u64> = BTreeMap::new();
    for held in held(facts) {
        functions
            .entry((held.object, &held.symbol))
            .or_insert(held.at);
    }
    evidence.extend(functions.iter().map(|((object, symbol), at)| {
        let path = &facts.object(*object).path;
        format!("{path}: its data at {at:#x} holds the address of {symbol} in the runtime")
    }));
    let mut causes: Vec<Cause> = Vec::new();
    for lookup in &proven {
        match &lookup.explanation {
            Explanation::Remaining(remaining) => Cause::add_new(&mut causes, remaining),
            Explanation::OtherNamespace => causes.push(Cause::Namespace),
            Explanation::WrongNode { .. } | Explanation::NotExported => {}
        }
    }
    evidence.extend(
        causes
            .iter()
            .map(|cause| format!("possible cause: {}", cause.text())),
    );
    let strict = facts.environment.option("XSCHED_STRICT") == Some("1");
    if strict {
        evidence.push(
            "XSCHED_STRICT=1 is set, and the runtime's table does not lead to the shim".into(),
        );
    }
    let name = basename(path(first));
    let passed = |call: &ObservedCall| calls.iter().any(|other| std::ptr::eq(*other, call));
    Some(Details {
        severity: match facts.observed.is_some() && calls.is_empty() {
            true => Severity::Warning,
            false => Severity::Error,
        },
        title: format!(
            "{name} looks {} functions up past {}",
            facts.platform().names().title,
            shim.basename()
        ),
        evidence,
        effect: effect(facts, passed, "never reach the shim"),
        fix: fix(&causes, strict, facts.platform().names()),
    })
}

fn fix(causes: &[Cause], strict: bool, names: &Names) -> String {
    let open =
        "open the library without RTLD_DEEPBIND (Python: sys.setdlopenflags and ctypes modes)";
    let preload = "preload the shim: start the process with `xsched-agent run` or LD_PRELOAD";
    let mut fixes = Vec::new();
    if let (false, Some(table)) = (strict, in_table(names)) {
        fixes.push(table);
    }
    if causes.contains(&Cause::Deepbind) {
        fixes.push(open.to_owned());
    }
    if causes.contains(&Cause::ShimNotFirst) {
        fixes.push(preload.to_owned());
    }
    if fixes.is_empty() {
        fixes.push(match names.strict {
            Some(since) => {
                format!("use a runtime of {since}, whose table XSCHED_STRICT=1 gates")
            }
            None => "find who gave it the address, and load the shim before that".to_owned(),
        });
    }
    fixes.join("; or ")
}

/// Addresses that lead past the shim even by the runtime's table.
fn held(facts: &Facts) -> impl Iterator<Item = &crate::facts::held::Held> {
    facts
        .held
        .iter()
        .filter(|held| !facts.returns_to_shim(held.runtime, &held.symbol))
}

/// Observed launches that such look-ups explain.
pub fn calls<'f>(
    facts: &'f Facts,
    bypasses: &[Bypass<'_>],
    lookups: &[Lookup<'_>],
) -> Vec<&'f ObservedCall> {
    let objects: BTreeSet<&str> = lookups
        .iter()
        .map(|lookup| facts.object(lookup.binding.object).path.as_str())
        .collect();
    facts
        .launches()
        .filter(|call| facts.is_direct(call) && objects.contains(call.object.as_str()))
        .filter(|call| !bypasses.iter().any(|b| covers(facts, b, call)))
        .collect()
}

/// What strict mode does about it, where the platform has that.
pub fn in_table(names: &Names) -> Option<String> {
    names.strict.map(|since| {
        format!(
            "start it with XSCHED_STRICT=1 ({since}), which gates launches in the runtime's own \
             table, whoever looked them up"
        )
    })
}
