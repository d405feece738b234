//! Launches on the default stream (NULL or legacy): how many, and whether the
//! mapped shim schedules them.

use std::collections::BTreeMap;

use xsched_common::api::Severity;
use xsched_common::platform::names::CREATED_BY_PYTORCH;

use super::check::{Check, Details, effect, grouped};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::calls::ObservedCall;
use crate::facts::shims::DefaultStream;

pub const CHECK: Check = Check {
    code: "default-stream",
    check,
};

/// A few launches during initialisation are nobody's concern.
pub const MIN_SHARE: f64 = 0.05;

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    // What never reaches the shim is another finding.
    let shim = facts.shim();
    let on_default = |call: &ObservedCall| {
        call.stream.is_default() && (shim.is_none() || !facts.is_direct(call))
    };
    let sum = |calls: &mut dyn Iterator<Item = &ObservedCall>| calls.map(|c| c.count).sum::<u64>();
    let total = sum(&mut facts.launches());
    let affected = sum(&mut facts.launches().filter(|c| on_default(c)));
    if affected == 0 || (affected as f64) < MIN_SHARE * total as f64 {
        return None;
    }
    let mut evidence = by_caller(facts);
    let ours = facts.platform().names().shim;
    let Some((shim, kind)) = shim else {
        evidence.push(format!(
            "{ours} would schedule them; XSched's shim would not"
        ));
        return Some(Details {
            severity: Severity::Info,
            title: "the process launches on the default stream".into(),
            evidence,
            effect: effect(facts, on_default, "are on the default stream"),
            fix: format!("run it under {ours}: xsched-agent run -- PROGRAM ..."),
        });
    };
    let shim = shim.basename();
    let (severity, title, what, fix) = match DefaultStream::under(kind) {
        DefaultStream::Scheduled => {
            evidence.push(format!("{shim} gates them like any other launch"));
            (
                Severity::Info,
                format!("launches on the default stream are scheduled: {shim} gates them"),
                "are on the default stream, gated",
                "nothing".into(),
            )
        }
        DefaultStream::Unscheduled => {
            evidence.push(format!(
                "{shim} is XSched's shim: it makes a queue for a stream when the program creates it, \
                 and nobody creates the default stream"
            ));
            (
                Severity::Error,
                "launches on the default stream run unscheduled".into(),
                "are on the default stream, unscheduled",
                format!(
                    "use {ours}, which schedules them too (xsched-agent run -- PROGRAM ...); or \
                     launch on a created stream ({CREATED_BY_PYTORCH})"
                ),
            )
        }
        DefaultStream::Unknown => {
            evidence.push(format!("what {shim} does with them is not known"));
            (
                Severity::Warning,
                format!("launches on the default stream may run unscheduled under {shim}"),
                "are on the default stream",
                format!("find out whether {shim} schedules the NULL stream; {ours} does"),
            )
        }
    };
    Some(Details {
        severity,
        title,
        evidence,
        effect: effect(facts, on_default, what),
        fix,
    })
}

/// Launches on the default stream by caller, as lines of evidence.
pub fn by_caller(facts: &Facts) -> Vec<String> {
    let mut counts: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for call in facts.launches().filter(|c| c.stream.is_default()) {
        let name = match call.stream {
            xsched_common::units::StreamClass::Legacy => "legacy",
            _ => "NULL",
        };
        *counts.entry((&call.object, &call.api, name)).or_default() += call.count;
    }
    let line = |((object, api, name), count): (_, u64)| {
        format!(
            "{object}: {} calls of {api} on the {name} stream",
            grouped(count)
        )
    };
    counts.into_iter().map(line).collect()
}
