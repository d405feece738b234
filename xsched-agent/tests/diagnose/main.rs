//! Diagnosis of real processes by the command, the agent and the observer.

mod all;
mod bombs;
mod command;
mod hostile;
mod live;
mod other_users;
mod python;
mod real_shim;
mod size;
mod socket;

use std::time::Duration;

use xsched_agent::diagnosis::Probes;
use xsched_common::api::Severity;
use xsched_diagnose::{Options, Report, diagnose, diagnose_with};
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
    checked(diagnose_with(&options(process.pid()), None).expect("it can be examined"))
}

/// A report whose JSON is as the schema says.
fn checked(report: Report) -> Report {
    let json = serde_json::to_value(&report).expect("serializable");
    assert_eq!(departures(&diagnosis(), &json), [""; 0]);
    report
}

/// Examines bindings, and calls for a second.
fn examine_and_observe(process: &Process) -> Report {
    let options = Options {
        duration: Duration::from_secs(1),
        ..options(process.pid())
    };
    let report = diagnose(&options, Probes::with(&options), || None);
    checked(report.expect("it can be examined"))
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
    report.findings[0].evidence.join("\n")
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
