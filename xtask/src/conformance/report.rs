//! What the suite found.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::agent::Seen;
use crate::real_runtime::Version;

/// How one run compares with the native one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The same.
    Ok,
    /// Another transcript or exit status.
    Differs,
    /// The watchdog ended it.
    Hang,
    /// A signal ended it; of a native run also: it failed or said nothing.
    Crash,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Outcome::Ok => "ok",
            Outcome::Differs => "differs",
            Outcome::Hang => "hang",
            Outcome::Crash => "crash",
        })
    }
}

/// Where hipsim departs from a real runtime: the first such line of a transcript, or the ends.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// The real runtime's.
    pub real: String,
    /// hipsim's.
    pub simulated: String,
}

/// One case's three runs.
#[derive(Debug, Serialize)]
pub struct CaseResult {
    /// The case.
    pub name: String,
    /// Without the shim.
    pub native: Outcome,
    /// With the gate open.
    pub open: Outcome,
    /// With the gate changing at random.
    pub stressed: Outcome,
    /// All three are right.
    pub ok: bool,
    /// The runtime does not survive it natively, so there is nothing to compare: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// On a real runtime: where hipsim's native run departs from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<Difference>,
    /// The shim was to be strict, the runtime has a dispatch table, and it was not.
    #[serde(skip)]
    pub refused_strict: bool,
    /// What the agent of the open run saw.
    #[serde(skip)]
    pub open_seen: Seen,
    /// What the agent of the stressed run saw.
    #[serde(skip)]
    pub stressed_seen: Seen,
    /// All three runs together.
    #[serde(skip)]
    pub took: Duration,
    /// For people: what went wrong.
    #[serde(skip)]
    pub details: Vec<String>,
}

/// How much of the suite was run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    Suite,
    /// Cases chosen by name: some have nothing that could wait.
    Selected,
}

/// The whole result.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order they are defined.
    pub cases: Vec<CaseResult>,
    /// Cases that are not ok, plus one for each reason in `invalid`.
    pub failed: usize,
    /// Why the suite as a whole proves nothing.
    pub invalid: Vec<&'static str>,
    /// Of the random gates.
    pub seed: u64,
    /// Launches that waited at a gate, over all stressed runs.
    pub waits: u64,
}

impl Report {
    /// Sums up.
    pub fn new(cases: Vec<CaseResult>, seed: u64, scope: Scope) -> Report {
        let waits = cases.iter().map(|case| case.stressed_seen.waits).sum();
        let mut invalid = Vec::new();
        if cases.iter().any(|case| case.refused_strict) {
            invalid.push("strict mode was not in force on a runtime that has a dispatch table");
        }
        if scope == Scope::Suite {
            if !cases.iter().any(|case| case.open_seen.launches > 0) {
                invalid.push("with the gate open no launch went through the shim");
            }
            if waits == 0 {
                invalid.push("under stress no launch ever waited at the gate");
            }
        }
        Report {
            failed: cases.iter().filter(|case| !case.ok).count() + invalid.len(),
            cases,
            invalid,
            seed,
            waits,
        }
    }

    /// The last lines, for people.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{} cases, {} failed, {} left out; {} launches waited at the gate (seed {})",
            self.cases.len(),
            self.failed,
            self.cases
                .iter()
                .filter(|case| case.left_out.is_some())
                .count(),
            self.waits,
            self.seed
        );
        for reason in &self.invalid {
            text += &format!("\nFAILED: {reason}");
        }
        text
    }
}

/// A table of where hipsim departs from the real runtime, for docs.
pub fn differences(cases: &[CaseResult], version: Version) -> String {
    let mut text = format!("| case | AMD's {version} | hipsim |\n|---|---|---|\n");
    for case in cases {
        if let Some(difference) = &case.difference {
            let cell = |line: &str| line.replace('|', "\\|");
            text += &format!(
                "| `{}` | {} | {} |\n",
                case.name,
                cell(&difference.real),
                cell(&difference.simulated)
            );
        }
    }
    text
}

/// One case, for people.
pub fn line(case: &CaseResult) -> String {
    if let (Some(why), true) = (&case.left_out, case.ok) {
        return format!("LEFT OUT: {}: {why} ({})", case.name, case.native);
    }
    let mut text = format!(
        "{:<6} {:<46} native {:<7} open {:<7} stressed {:<7} {:>5} waits {:>6.2} s",
        if case.ok { "ok" } else { "FAILED" },
        case.name,
        case.native,
        case.open,
        case.stressed,
        case.stressed_seen.waits,
        case.took.as_secs_f64()
    );
    if let Some(difference) = &case.difference {
        text += &format!(
            "\n  hipsim: {} instead of {}",
            difference.simulated, difference.real
        );
    }
    for detail in &case.details {
        text += &format!("\n  {}", detail.replace('\n', "\n  "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(stressed: Outcome, launches: u64, waits: u64) -> CaseResult {
        let seen = Seen {
            joined: 1,
            launches,
            waits,
        };
        CaseResult {
            name: "a".to_owned(),
            native: Outcome::Ok,
            open: Outcome::Ok,
            stressed,
            ok: stressed == Outcome::Ok,
            left_out: None,
            difference: None,
            refused_strict: false,
            open_seen: seen,
            stressed_seen: seen,
            took: Duration::ZERO,
            details: Vec::new(),
        }
    }

    #[test]
    fn a_suite_without_waits_or_launches_fails() {
        let report = |launches, waits, scope| {
            Report::new(vec![case(Outcome::Ok, launches, waits)], 1, scope).failed
        };
        assert_eq!(report(5, 1, Scope::Suite), 0);
        assert_eq!(report(5, 0, Scope::Suite), 1);
        assert_eq!(report(0, 0, Scope::Suite), 2);
        assert_eq!(report(0, 0, Scope::Selected), 0);
    }

    #[test]
    fn the_json_has_its_documented_shape() {
        let report = Report::new(vec![case(Outcome::Hang, 1, 1)], 7, Scope::Suite);
        let json = serde_json::to_value(&report).expect("serialises");
        assert_eq!(
            json["cases"][0],
            serde_json::json!({"name": "a", "native": "ok", "open": "ok", "stressed": "hang", "ok": false})
        );
        assert_eq!(json["failed"], 1);
    }
}
