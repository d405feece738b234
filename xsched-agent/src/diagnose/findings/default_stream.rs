//! Launches on the default stream (NULL or legacy), which waits for every
//! blocking stream of the process and makes them wait.

use std::collections::BTreeMap;

use xsched_common::api::Severity;

use super::super::bypass::Bypass;
use super::super::calls::ObservedCall;
use super::super::facts::Facts;
use super::super::shims::DefaultStream;
use super::{Check, Details, effect, grouped};

pub const CHECK: Check = Check {
    code: "default-stream",
    check,
};

/// A few launches during initialisation are nobody's concern.
const MIN_SHARE: f64 = 0.05;

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let on_default = |call: &ObservedCall| call.stream.is_default();
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.sum::<u64>();
    let total = sum(&mut facts.launches().map(|c| c.count));
    let affected = sum(&mut facts.launches().filter(|c| on_default(c)).map(|c| c.count));
    if affected == 0 || (affected as f64) < MIN_SHARE * total as f64 {
        return None;
    }
    let shim = facts.shim();
    let treatment = shim.map(|(_, kind)| kind.default_stream());
    let mut evidence: Vec<String> = by_caller(facts)
        .into_iter()
        .map(|((object, api, name), count)| {
            format!(
                "{object}: {} calls of {api} on the {name} stream",
                grouped(count)
            )
        })
        .collect();
    if let Some((object, kind)) = shim {
        evidence.push(match kind.default_stream() {
            DefaultStream::Scheduled => {
                format!("{} gates them like any other launch", object.basename())
            }
            DefaultStream::Unscheduled => format!(
                "{} is XSched's shim: it schedules only streams that the program creates",
                object.basename()
            ),
            DefaultStream::Unknown => {
                format!("what {} does with them is not known", object.basename())
            }
        });
    }
    let streams = "pass a created stream (hipStreamCreateWithFlags with hipStreamNonBlocking; in \
                   PyTorch torch.cuda.stream(torch.cuda.Stream())), or compile with \
                   -fgpu-default-stream=per-thread";
    Some(match treatment {
        Some(DefaultStream::Unscheduled) => Details {
            severity: Severity::Error,
            title: "launches on the default stream run unscheduled".into(),
            evidence,
            effect: effect(facts, on_default, "run on the default stream, unscheduled"),
            fix: format!("use libxsched_shim.so, which schedules them too; or {streams}"),
        },
        _ => Details {
            severity: Severity::Warning,
            title: "launches on the default stream serialise the process's streams".into(),
            evidence,
            effect: effect(facts, on_default, "run on the default stream"),
            fix: format!("{streams}; nothing needs to change if the program uses one stream only"),
        },
    })
}

type Caller<'a> = (&'a str, &'a str, &'static str);

fn by_caller(facts: &Facts) -> BTreeMap<Caller<'_>, u64> {
    let mut out = BTreeMap::new();
    for call in facts.launches().filter(|c| c.stream.is_default()) {
        let name = match call.stream {
            xsched_common::units::StreamClass::Legacy => "legacy",
            _ => "NULL",
        };
        *out.entry((call.object.as_str(), call.api.as_str(), name))
            .or_default() += call.count;
    }
    out
}
