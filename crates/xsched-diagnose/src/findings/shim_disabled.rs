//! Our shim is mapped and was told to do nothing.

use xsched_common::api::Severity;
use xsched_common::platform::names::ShimKind;

use super::check::{Check, Details, effect};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "shim-disabled",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let (shim, ShimKind::Ours) = facts.shim()? else {
        return None;
    };
    if facts.environment.option("XSCHED_DISABLE")? != "1" {
        return None;
    }
    Some(Details {
        severity: Severity::Error,
        title: "the process runs unscheduled: the shim is switched off".into(),
        evidence: vec![
            "XSCHED_DISABLE=1 is in the environment that it was started with".into(),
            format!("{} is mapped", shim.path),
        ],
        effect: effect(facts, |_| true, "run unscheduled"),
        fix: "start it without XSCHED_DISABLE".into(),
    })
}
