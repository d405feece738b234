//! The mapped shim and the agent speak binary contracts that exclude each
//! other: the agent refuses the shim, and the process runs as native.

use xsched_common::api::Severity;
use xsched_common::platform::names::ShimKind;
use xsched_common::{ABI, Abi};

use super::check::{Check, Details, effect};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "abi-mismatch",
    check,
};

/// The shim's ABI and the agent's, if they exclude each other. The agent is
/// the running one if it says; else this program.
pub fn abis(facts: &Facts) -> Option<(Abi, Abi)> {
    let (shim, ShimKind::Ours) = facts.shim()? else {
        return None;
    };
    let shim = shim.elf.shim_note?.abi;
    let running = facts.agent.as_ref().and_then(|agent| agent.abi);
    let agent = running.unwrap_or(ABI);
    (!agent.understands(shim)).then_some((shim, agent))
}

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let (of_shim, of_agent) = abis(facts)?;
    let (shim, _) = facts.shim()?;
    let version = shim
        .elf
        .shim_note
        .as_ref()
        .map_or("", |note| note.version());
    let (severity, agent) = match &facts.agent {
        Some(agent) if agent.abi.is_some() => (
            Severity::Error,
            format!(
                "the running agent is version {} with ABI {of_agent}",
                agent.version
            ),
        ),
        _ => (
            Severity::Warning,
            format!(
                "this xsched-agent is version {} with ABI {of_agent}; no running agent has said its own",
                env!("CARGO_PKG_VERSION")
            ),
        ),
    };
    Some(Details {
        severity,
        title: format!("shim and agent do not understand each other: ABI {of_shim} and {of_agent}"),
        evidence: vec![
            format!(
                "the note in {} says version {version}, ABI {of_shim}",
                shim.path
            ),
            agent,
        ],
        effect: effect(facts, |_| true, "run unscheduled"),
        fix: "install shim and agent of one release, and start the process again".into(),
    })
}
