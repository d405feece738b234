//! A fork's child uses a runtime that its parent had initialised before.

use xsched_common::api::Severity;

use super::check::{Check, Details, effect, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "fork-after-init",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let fork = facts.environment.fork?;
    // Children that leave the runtime alone (a data loader's) are healthy.
    let calls: u64 = facts.observed.as_ref()?.calls.iter().map(|c| c.count).sum();
    if calls == 0 {
        return None;
    }
    let gpu = facts.platform().names().title;
    Some(Details {
        severity: Severity::Error,
        title: format!(
            "the process was forked from {}, which had already initialised {gpu}, and uses {gpu} \
             itself",
            fork.parent
        ),
        evidence: vec![
            format!(
                "descriptor {} of the driver is the parent's open file (kcmp): it was inherited",
                fork.descriptor
            ),
            format!(
                "it has executed no program since the fork: the random bytes of its auxiliary \
                 vector (AT_RANDOM) are those of process {}",
                fork.parent
            ),
            format!("{} calls of {gpu} functions were observed", grouped(calls)),
        ],
        effect: effect(
            facts,
            |_| true,
            "are made on a context that does not survive a fork",
        ),
        fix: format!(
            "start workers before {gpu} is first used, or by exec (Python: multiprocessing with \
             the start method spawn or forkserver)"
        ),
    })
}
