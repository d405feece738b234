//! A library that is needed is not found: ld.so ends the program, or dlopen
//! fails.

use xsched_common::api::Severity;

use super::check::{Check, Details};
use crate::bypasses::Bypass;
use crate::facts::Facts;

pub const CHECK: Check = Check {
    code: "library-missing",
    check,
};

fn check(facts: &Facts, _: &[Bypass<'_>]) -> Option<Details> {
    let first = facts.missing.first()?;
    Some(Details {
        severity: Severity::Error,
        title: format!(
            "{} would not be found, and the program would not run",
            first.name
        ),
        evidence: facts
            .missing
            .iter()
            .map(|m| {
                format!(
                    "{} needs {}, which is in no directory that ld.so searches for it",
                    m.needed_by, m.name
                )
            })
            .collect(),
        effect: None,
        fix: "install the library, or name its directory in LD_LIBRARY_PATH (a runtime: --runtime \
              FILE)"
            .into(),
    })
}
