//! Launches of listed libraries pass the gate on purpose.

use xsched_common::api::Severity;

use super::super::bypass::Bypass;
use super::super::calls::{ObservedCall, is_launch};
use super::super::elf::Linkage;
use super::super::facts::Facts;
use super::super::shims::ShimKind;
use super::super::survey::{MappedObject, Role, basename};
use super::{Check, Details, effect};

pub const CHECK: Check = Check {
    code: "passthrough",
    check,
};

const OPTION: &str = "XSCHED_PASSTHROUGH_LIBS";

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let (_, ShimKind::Ours) = facts.shim()? else {
        return None;
    };
    let list = facts.environment.option(OPTION)?;
    let names: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .collect();
    let is_listed = |path: &str| names.iter().any(|name| basename(path).starts_with(name));
    let passed = |call: &ObservedCall| is_listed(&call.object);
    let launching = |o: &&MappedObject| {
        let launches =
            |s: &&super::super::elf::Symbol| s.linkage == Linkage::Imported && is_launch(&s.name);
        let observed = || facts.launches().any(|c| c.object == o.path);
        o.elf.symbols.values().any(|s| launches(&s)) || observed()
    };
    let objects = facts.survey.objects.iter();
    let found: Vec<&MappedObject> = objects
        .filter(|o| matches!(o.role, Role::Program | Role::Library) && is_listed(&o.path))
        .filter(launching)
        .collect();
    let first = found.first()?;
    let mut evidence = vec![format!(
        "{OPTION}={list} is in the environment that it was started with"
    )];
    evidence.extend(
        found
            .iter()
            .map(|o| format!("{} launches and is on the list", o.path)),
    );
    Some(Details {
        severity: Severity::Warning,
        title: format!("launches of {} pass the gate on purpose", first.basename()),
        evidence,
        effect: effect(facts, passed, "pass the gate on purpose"),
        fix: format!(
            "take the library off {OPTION} (collectives of RCCL pass without being listed); \
             libxsched_shim.so runs every call in the caller's thread, so libraries need no exception"
        ),
    })
}
