//! No object defines a function or a version node that is asked for: ld.so
//! ends the program.

use std::collections::HashMap;

use xsched_common::api::Severity;
use xsched_common::platform::names;
use xsched_host::elf::{Linkage, Symbol, versioned_name};

use super::check::{Check, Details};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::bindings::{Binding, Target};
use crate::facts::mapped::Contents;
use crate::linker::{Origin, Reference, satisfies};

pub const CHECK: Check = Check {
    code: "unsatisfied-reference",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let mut evidence: Vec<String> = unsatisfied(facts)
        .map(|b| {
            format!(
                "{} refers to {}, which no object defines",
                facts.object(b.object).path,
                versioned_name(&b.symbol, b.node.as_deref())
            )
        })
        .collect();
    evidence.dedup();
    evidence.extend(missing_nodes(facts));
    if evidence.is_empty() {
        return None;
    }
    evidence.extend(
        facts
            .mapped
            .runtimes()
            .map(|r| format!("the runtime is {}", r.path)),
    );
    let title = match facts.pid {
        None => "functions or versions are missing: ld.so would end the program, or dlopen fail",
        Some(_) => "functions are missing: the first call of one ends the program",
    };
    Some(Details {
        severity: Severity::Error,
        title: title.into(),
        evidence,
        effect: None,
        fix: "use the release of the runtime that the program was built with, or a later one of \
              the same SONAME; a library that the program opens can be named with --lib"
            .into(),
    })
}

/// References that nothing satisfies, or, of a process, would at their first
/// call.
fn unsatisfied(facts: &Facts) -> impl Iterator<Item = &Binding> {
    let of_runtime = |b: &Binding| {
        b.node
            .as_deref()
            .is_some_and(|node| names::node(node).is_some())
    };
    let mut runtimes = facts.mapped.runtimes().peekable();
    let has_runtime = runtimes.peek().is_some() && runtimes.all(|r| r.contents == Contents::Read);
    let mut definitions: HashMap<&str, Vec<&Symbol>> = HashMap::new();
    for object in facts.mapped.objects.iter().filter(|_| facts.pid.is_some()) {
        let defined = object.elf.symbols.values();
        for symbol in defined.filter(|s| s.linkage == Linkage::Defined) {
            definitions.entry(&symbol.name).or_default().push(symbol);
        }
    }
    facts.bindings.iter().filter(move |b| match b.target {
        // Without all libraries nothing can be said about what they lack, but
        // only the runtime defines what stands under its nodes.
        Target::Unsatisfied => facts.missing.is_empty() || has_runtime && of_runtime(b),
        Target::Unresolved => {
            let reference = Reference {
                node: b.node.as_deref(),
                origin: Origin::Relocation,
            };
            let found = definitions.get(b.symbol.as_str());
            has_runtime
                && of_runtime(b)
                && !found.is_some_and(|found| satisfies(reference, found.iter().copied()))
        }
        _ => false,
    })
}

/// ld.so checks at the start that every library defines the nodes that others
/// insist on, whoever defines the functions (`_dl_check_map_versions`). One
/// without any nodes is let through with a message.
fn missing_nodes(facts: &Facts) -> Vec<String> {
    let mut out = Vec::new();
    if !facts.missing.is_empty() {
        return out;
    }
    for object in &facts.mapped.objects {
        for needed in &object.elf.needed_nodes {
            let provider = facts
                .mapped
                .runtimes()
                .find(|r| r.elf.soname.as_deref().unwrap_or(r.basename()) == needed.library);
            if let Some(runtime) = provider
                && facts.pid.is_none()
                && runtime.elf.is_versioned()
                && !runtime.elf.defined_nodes.contains(&needed.node)
            {
                out.push(format!(
                    "{} insists on version {} of {}, which {} does not define",
                    object.path, needed.node, needed.library, runtime.path
                ));
            }
        }
    }
    out
}
