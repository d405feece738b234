//! The program runs with raised privileges: ld.so ignores LD_PRELOAD.

use xsched_common::api::Severity;

use super::check::{Check, Details, effect};
use crate::bypasses::Bypass;
use crate::bypasses::absence::{self, Absence};
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "secure-exec",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    if !matches!(absence::of(facts)?, Absence::Secure) {
        return None;
    }
    let raised = format!(
        "{} is set-user-ID or set-group-ID, or has file capabilities",
        facts.exe
    );
    let mut evidence = vec![match facts.pid {
        Some(_) => format!("AT_SECURE is set in the auxiliary vector: {raised}"),
        None => raised,
    }];
    if let Some(value) = &facts.environment.ld_preload {
        evidence.push(format!("LD_PRELOAD={value} is set, and ld.so ignores it"));
    }
    Some(Details {
        severity: Severity::Error,
        title: "the process runs unscheduled: ld.so preloads nothing into privileged programs"
            .into(),
        evidence,
        effect: effect(facts, |_| true, "run unscheduled"),
        fix:
            "run the program without the set-user-ID bit or file capabilities (give the rights to \
              the user or the service instead), or name the shim in /etc/ld.so.preload"
                .into(),
    })
}
