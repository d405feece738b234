//! A shim was to be preloaded, but ld.so did not load it: it prints one line
//! and runs the program without.

use xsched_common::api::Severity;

use super::check::{Check, Details, effect};
use crate::bypasses::Bypass;
use crate::bypasses::absence::{self, Absence};
use crate::facts::Facts;
use crate::facts::preload::PreloadState;

pub const CHECK: Check = Check {
    code: "preload-missing",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let Absence::Failed(failed) = absence::of(facts)? else {
        return None;
    };
    let (mut evidence, mut fixes) = (Vec::new(), Vec::new());
    for preload in &failed {
        let (reason, fix) = match &preload.state {
            PreloadState::Mapped => continue,
            PreloadState::Missing(reason) => (
                reason,
                "correct the path (inside a container: mount the shim's directory into it)",
            ),
            PreloadState::NotLoadable(reason) => (
                reason,
                "install the shim built for this processor and system",
            ),
            PreloadState::NotMapped(reason) => (reason, "restart the process"),
        };
        evidence.push(format!(
            "{} names {}, which is not mapped: {reason}",
            preload.source.name(),
            preload.entry
        ));
        if !fixes.contains(&fix) {
            fixes.push(fix);
        }
    }
    let first = failed.first()?;
    Some(Details {
        severity: Severity::Error,
        title: format!(
            "the process runs unscheduled: {} could not be preloaded",
            first.entry
        ),
        evidence,
        effect: effect(facts, |_| true, "run unscheduled"),
        fix: format!(
            "{}; then start the process again, best with `xsched-agent run -- PROGRAM ...`, which \
             checks the path",
            fixes.join("; ")
        ),
    })
}
