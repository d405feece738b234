//! Somebody else's library stands before the runtime as well, for an end of its
//! own.

use xsched_common::api::Severity;
use xsched_common::platform::names::{self, Interposer};

use super::check::{Check, Details, place};
use crate::bypasses::Bypass;
use crate::facts::Facts;
use crate::facts::bindings::Target;
use crate::facts::calls::is_launch;
use crate::facts::mapped::{MappedObject, ObjectIndex, Role};

pub const CHECK: Check = Check {
    code: "other-interposer",
    check,
};

const UNSEEN: &str = "what was looked up is not seen";

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let objects = facts.mapped.objects.iter().enumerate();
    let found: Vec<(ObjectIndex, &MappedObject, &Interposer)> = objects
        // One that the user has named is a shim.
        .filter(|(_, object)| object.role == Role::Library)
        .filter_map(|(index, object)| {
            let known = names::interposer(object.path.as_bytes())?;
            Some((index, object, known))
        })
        .collect();
    let (_, first, known) = found.first()?;
    let ours = facts.platform().names().shim;
    let mut evidence = Vec::new();
    for (index, object, known) in &found {
        evidence.push(format!(
            "{}: {}'s, it {}",
            place(facts, object),
            known.owner,
            known.does
        ));
        let launches = facts.bindings.iter().filter(|binding| {
            is_launch(&binding.symbol) && binding.target == Target::Object(*index)
        });
        match launches.count() {
            0 => {}
            1 => evidence.push(format!(
                "1 reference to launch functions leads to it; {UNSEEN}"
            )),
            n => evidence.push(format!(
                "{n} references to launch functions lead to it; {UNSEEN}"
            )),
        }
    }
    if let Some((shim, _)) = facts.shim() {
        evidence.push(format!(
            "{} {}, too: which of them a launch passes depends on how its function was come by; it \
             goes on to the driver itself",
            shim.basename(),
            match facts.pid {
                Some(_) => "is mapped",
                None => "would be loaded",
            },
        ));
    }
    Some(Details {
        severity: Severity::Warning,
        title: format!(
            "{} of {} stands before the driver as well, and {}",
            first.basename(),
            known.owner,
            known.does
        ),
        evidence,
        effect: None,
        fix: format!(
            "use one of the two: {ours} for classes, or {} for what it does",
            first.basename()
        ),
    })
}
