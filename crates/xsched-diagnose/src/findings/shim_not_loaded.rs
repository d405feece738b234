//! No shim is in the process, and nothing asked for one.

use std::collections::BTreeMap;

use xsched_common::api::Severity;

use super::check::{Check, Details, effect};
use crate::bypasses::Bypass;
use crate::bypasses::absence::{self, Absence};
use crate::facts::Facts;
use crate::facts::agent_view::AgentView;
use crate::facts::bindings::Target;
use crate::facts::calls::is_launch;

pub const CHECK: Check = Check {
    code: "shim-not-loaded",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    if !matches!(absence::of(facts)?, Absence::NeverAsked) {
        return None;
    }
    let runtime = facts.runtime()?;
    let mut evidence = vec![match facts.pid {
        Some(_) => format!("{} is mapped, no shim is", runtime.path),
        None => format!("{} would be loaded, no shim would", runtime.path),
    }];
    evidence.push(match &facts.environment.ld_preload {
        None => "LD_PRELOAD is not set".to_owned(),
        Some(value) => format!("LD_PRELOAD={value} names no known shim"),
    });
    let mut per_object: BTreeMap<&str, usize> = BTreeMap::new();
    for binding in facts.launch_bindings_to_runtime() {
        let object = facts.object(binding.object);
        *per_object.entry(object.path.as_str()).or_default() += 1;
    }
    for (object, count) in per_object {
        let functions = if count == 1 { "function" } else { "functions" };
        evidence.push(format!(
            "{object}: {count} launch {functions} bound directly to the runtime"
        ));
    }
    evidence.extend(strangers(facts));
    evidence.extend(facts.agent.iter().flat_map(AgentView::other_levers));
    Some(Details {
        severity: Severity::Error,
        title: "the process runs unscheduled: it was started without the shim".into(),
        evidence,
        effect: effect(facts, |_| true, "run unscheduled"),
        fix: format!(
            "start it with `xsched-agent run -- PROGRAM ...`, or with LD_PRELOAD naming {} by its \
             absolute path",
            facts.platform().names().shim
        ),
    })
}

/// Libraries that are neither shim nor runtime and yet receive launches: a
/// shim of another name, perhaps.
fn strangers(facts: &Facts) -> Vec<String> {
    let mut names: Vec<&str> = facts
        .bindings
        .iter()
        .filter(|b| is_launch(&b.symbol))
        .filter_map(|b| match b.target {
            Target::Object(to) if to != b.object && !facts.is_runtime(to) => {
                Some(facts.object(to).path.as_str())
            }
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .map(|path| {
            format!("{path} receives launches; if it is a scheduler's shim, name it with --shim")
        })
        .collect()
}
