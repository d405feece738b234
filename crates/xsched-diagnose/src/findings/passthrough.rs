//! Launches of listed libraries pass the gate on purpose.

use xsched_common::api::Severity;
use xsched_common::platform::Platform;
use xsched_common::platform::names::{self, ShimKind};
use xsched_host::elf::{Linkage, Symbol};

use super::check::{Check, Details, effect, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::calls::{ObservedCall, is_launch};
use crate::facts::mapped::basename;
use crate::facts::mapped::{MappedObject, Role};

pub const CHECK: Check = Check {
    code: "passthrough",
    check,
};

const OPTION: &str = "XSCHED_PASSTHROUGH_LIBS";

/// Why a library is let pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Our shim lets collectives pass without being told
    /// (`xsched-shim-core/src/options.rs`): one waits for its peers on other
    /// devices, and one that is held back holds all of them.
    Collectives(Platform),
    Environment,
    /// The agent has counted such launches: its configuration says so.
    Agent(u64),
}

impl Reason {
    fn is_meant(self) -> bool {
        matches!(self, Reason::Collectives(_))
    }
}

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let (shim, ShimKind::Ours) = facts.shim()? else {
        return None;
    };
    let list = facts.environment.option(OPTION).unwrap_or_default();
    let named: Vec<&str> = list
        .split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .collect();
    let reason = |path: &str| {
        let name = basename(path);
        if let Some(platform) = names::collectives(name.as_bytes()) {
            return Some(Reason::Collectives(platform));
        }
        if named.iter().any(|listed| name.starts_with(listed)) {
            return Some(Reason::Environment);
        }
        counted(facts, name).map(Reason::Agent)
    };
    let objects = facts.mapped.objects.iter();
    let found: Vec<(&MappedObject, Reason)> = objects
        .filter(|o| matches!(o.role, Role::Program | Role::Library) && launches(facts, o))
        .filter_map(|o| Some((o, reason(&o.path)?)))
        .collect();
    let (first, _) = found
        .iter()
        .find(|(_, reason)| !reason.is_meant())
        .or(found.first())?;
    let meant = found.iter().all(|(_, reason)| reason.is_meant());
    let shim = shim.basename();
    let collectives = facts.platform().names().collectives_title;
    let passed = |call: &ObservedCall| !facts.is_direct(call) && reason(&call.object).is_some();
    let evidence = found.iter().map(|(o, reason)| match reason {
        Reason::Collectives(of) => format!(
            "{} launches; {shim} lets {}'s collectives pass: they wait for their peers, and one that is \
             held back holds all of them",
            o.path,
            of.names().collectives_title
        ),
        Reason::Environment => format!("{} launches and is on the list {OPTION}={list}", o.path),
        Reason::Agent(n) => format!(
            "{} launches; the agent has counted {} of its launches that the shim let pass \
             (`xsched-agent config show`: [passthrough]; or captured into a graph)",
            o.path,
            grouped(*n)
        ),
    });
    let (severity, fix) = match meant {
        true => (
            Severity::Info,
            "nothing: collectives are meant to pass".to_owned(),
        ),
        false => (
            Severity::Warning,
            format!(
                "take the library off {OPTION} or the agent's [passthrough] (collectives of {collectives} \
                 pass without being listed); {shim} runs every call in the caller's thread, so libraries \
                 need no exception"
            ),
        ),
    };
    Some(Details {
        severity,
        title: format!("launches of {} pass the gate on purpose", first.basename()),
        evidence: evidence.collect(),
        effect: effect(facts, passed, "pass the gate on purpose"),
        fix,
    })
}

/// Whether a library launches, by its references or as observed.
fn launches(facts: &Facts, object: &MappedObject) -> bool {
    let imports = |s: &Symbol| s.linkage == Linkage::Imported && is_launch(&s.name);
    object.elf.symbols.values().any(imports)
        || facts.launches().any(|c| c.object == object.path)
        || counted(facts, object.basename()).is_some()
}

/// Launches of a library that passed on purpose, as the running agent has
/// counted them; a few are captures of graphs.
fn counted(facts: &Facts, name: &str) -> Option<u64> {
    let callers = &facts.agent.as_ref()?.process.as_ref()?.callers;
    let caller = callers.iter().find(|caller| caller.library == name)?;
    let routes = caller.launches;
    let most = routes.passthrough > routes.gated && routes.passthrough > routes.bypass;
    most.then_some(routes.passthrough)
}
