//! Diagnosis of real processes: planted faults, each with a healthy twin.

mod agent;
mod bindings;
mod bypasses;
mod calls;
mod churn;
mod cuda;
mod dispatch_table;
mod fork;
mod linker_rules;
mod not_loaded;
mod options;
mod planted;
mod predictions;
mod real;
mod refusals;
mod schema;
mod slow;

use std::time::Duration;

use xsched_common::api::Severity;
use xsched_diagnose::{CallSource, Error, Observed, Options, Report, diagnose_with};
use xsched_testkit::planted::{Process, fixtures};
use xsched_testkit::schema::{departures, diagnosis};

/// The options for a report on bindings.
fn options(pid: u32) -> Options {
    Options {
        pid,
        duration: Duration::ZERO,
        shim_names: Vec::new(),
    }
}

/// Examines bindings only.
fn examine(process: &Process) -> Report {
    let report = diagnose_with(&options(process.pid()), None).expect("it can be examined");
    checked(report)
}

/// A report whose JSON is as the schema says.
fn checked(report: Report) -> Report {
    let json = serde_json::to_value(&report).expect("serializable");
    assert_eq!(departures(&diagnosis(), &json), [""; 0]);
    report
}

/// The findings' codes with their severities, as the report orders them.
fn codes(report: &Report) -> Vec<(&str, Severity)> {
    let pairs = report.findings.iter();
    pairs.map(|f| (f.code.as_str(), f.severity)).collect()
}

/// Asserts that exactly one thing is wrong, and returns its evidence.
#[track_caller]
fn only(report: &Report, code: &str, severity: Severity) -> String {
    assert_eq!(codes(report), [(code, severity)], "{report}");
    let finding = &report.findings[0];
    assert_eq!(finding.pid, report.pid);
    assert!(!finding.fix.is_empty() && !finding.title.is_empty());
    assert!(!finding.evidence.is_empty());
    finding.evidence.join("\n")
}

/// The last component of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether this is root; says which test is skipped otherwise.
fn is_root(what: &str) -> bool {
    // SAFETY: geteuid has no preconditions.
    let root = unsafe { libc::geteuid() } == 0;
    if !root {
        eprintln!("LEFT OUT: {what} needs root");
    }
    root
}

/// A source that says what it is told.
struct Fake<F>(F);

impl<F: FnMut() -> Result<Observed, String>> CallSource for Fake<F> {
    fn observe(&mut self, _pid: u32, _duration: Duration) -> Result<Observed, String> {
        (self.0)()
    }
}

/// Examines with a source of calls.
fn examine_with(
    pid: u32,
    source: impl FnMut() -> Result<Observed, String>,
) -> Result<Report, Error> {
    let options = Options {
        duration: Duration::from_secs(1),
        ..options(pid)
    };
    diagnose_with(&options, Some(&mut Fake(source))).map(checked)
}

#[test]
fn the_document_has_an_entry_for_every_code_and_no_others() {
    let document = include_str!("../../../../docs/DIAGNOSE.md");
    let headings: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let codes: Vec<&str> = xsched_diagnose::codes().collect();
    assert_eq!(headings, codes);
}
