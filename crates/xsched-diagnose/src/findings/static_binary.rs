//! The program is linked statically: no dynamic linker, no preload.

use xsched_common::api::Severity;

use super::check::{Check, Details, effect};
use crate::bypasses::Bypass;
use crate::bypasses::absence::{self, Absence};
use crate::facts::Facts;
use crate::facts::environment::GpuUse;

pub const CHECK: Check = Check {
    code: "static-binary",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    if !matches!(absence::of(facts)?, Absence::Static) {
        return None;
    }
    let names = facts.platform().names();
    let mut evidence = vec![format!(
        "{} names no interpreter (PT_INTERP), so no ld.so has loaded it",
        facts.exe
    )];
    if let Some(value) = &facts.environment.ld_preload {
        evidence.push(format!("LD_PRELOAD={value} is set, but nothing reads it"));
    }
    if let GpuUse::Open(_) = facts.environment.gpu {
        evidence.push(format!(
            "it holds {} open: it uses the GPU",
            names.devices[0]
        ));
    }
    Some(Details {
        severity: Severity::Error,
        title: "the process runs unscheduled: a static program cannot be given a shim".into(),
        evidence,
        effect: effect(facts, |_| true, "run unscheduled"),
        fix: format!("link the program dynamically, against {}.so", names.runtime),
    })
}
