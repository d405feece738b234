//! Launches on the default stream and on created ones in turn: the legacy
//! default stream waits for all blocking streams, and they for it.

use xsched_common::api::Severity;
use xsched_common::platform::names::CREATED_BY_PYTORCH;

use super::check::{Check, Details, effect, grouped};
use super::default_stream::{MIN_SHARE, by_caller};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::calls::ObservedCall;

pub const CHECK: Check = Check {
    code: "legacy-stream",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let on_default = |call: &ObservedCall| call.stream.is_default();
    let sum = |calls: &mut dyn Iterator<Item = &ObservedCall>| calls.map(|c| c.count).sum::<u64>();
    let total = sum(&mut facts.launches());
    let default = sum(&mut facts.launches().filter(|c| on_default(c)));
    let others = total - default;
    // A few launches of initialisation, on either, are nobody's concern.
    let least = MIN_SHARE * total as f64;
    if total == 0 || (default as f64) < least || (others as f64) < least {
        return None;
    }
    let mut evidence = by_caller(facts);
    evidence.push(format!("{} launches on other streams", grouped(others)));
    let names = facts.platform().names();
    let independent = names.independent;
    evidence.push(format!(
        "not seen: which of those were created with {independent} and are exempt"
    ));
    Some(Details {
        severity: Severity::Warning,
        title: "launches on the default stream serialise the process's blocking streams".into(),
        evidence,
        effect: effect(
            facts,
            on_default,
            "wait for all blocking streams, which wait for them",
        ),
        fix: format!(
            "compile with {}, or launch on a created stream ({CREATED_BY_PYTORCH}); streams made by \
             {independent} do not take part",
            names.per_thread
        ),
    })
}
