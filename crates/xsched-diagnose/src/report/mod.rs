//! What `diagnose` prints: as JSON, and as text for people.

mod table;

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use xsched_common::api::{Finding, Severity};
use xsched_host::text::{counted, printable};

use crate::facts::Facts;
use crate::facts::bindings::{Binding, Target};
use crate::facts::calls::ObservedCall;

/// The report on one process. Its JSON is stable: fields are only added.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The process; 0 for a prediction from files.
    pub pid: u32,
    /// Path of its executable.
    pub exe: String,
    /// Path of the mapped shim.
    pub shim: Option<String>,
    /// Paths of the mapped runtimes.
    pub runtimes: Vec<String>,
    /// Where every reference to the runtime leads.
    pub bindings: Vec<BindingRow>,
    /// The observed calls.
    pub calls: Vec<ObservedCall>,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// What could not be seen.
    pub limits: Vec<String>,
    /// What was looked at, and how long that took.
    pub examined: Examined,
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindingRow {
    /// Path of the importing object.
    pub object: String,
    /// The function.
    pub symbol: String,
    /// The version node that the reference names.
    pub version: Option<String>,
    /// Path of the object that it leads to; or `unresolved` (bound at the
    /// first call), `none` (unsatisfied), `unknown`.
    pub bound_to: String,
    /// `jump_slot`, `glob_dat`, `absolute` or `relative`.
    pub via: &'static str,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// Mapped objects.
    pub objects: usize,
    /// Slots read.
    pub slots: usize,
    /// How long calls were observed, if they were.
    #[serde(rename = "observed_ns", serialize_with = "optional_ns")]
    pub observed: Option<Duration>,
    /// How long the examination took, observation included.
    #[serde(rename = "took_ns", serialize_with = "ns")]
    pub took: Duration,
}

fn ns<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn optional_ns<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => ns(duration, serializer),
        None => serializer.serialize_none(),
    }
}

impl Report {
    /// The report on `facts`; `limits` beyond those in the facts.
    pub fn new(facts: &Facts, mut findings: Vec<Finding>, limits: Vec<String>) -> Report {
        findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.code.cmp(&b.code)));
        let observed = facts.observed.as_ref();
        let mut all_limits = limits;
        all_limits.extend(facts.mapped.limits.iter().cloned());
        all_limits.extend(facts.environment.limits.iter().cloned());
        all_limits.extend(observed.iter().flat_map(|o| o.limits.iter().cloned()));
        Report {
            pid: facts.pid.unwrap_or(0),
            exe: facts.exe.clone(),
            shim: facts.shim().map(|(object, _)| object.path.clone()),
            runtimes: facts.mapped.runtimes().map(|o| o.path.clone()).collect(),
            bindings: facts.bindings.iter().map(|b| row(facts, b)).collect(),
            calls: observed.map(|o| o.calls.clone()).unwrap_or_default(),
            findings,
            limits: all_limits,
            examined: Examined {
                objects: facts.mapped.objects.len(),
                slots: facts.bindings.len(),
                observed: observed.map(|o| o.duration),
                took: Duration::ZERO,
            },
        }
    }
}

fn row(facts: &Facts, binding: &Binding) -> BindingRow {
    BindingRow {
        object: facts.object(binding.object).path.clone(),
        symbol: binding.symbol.clone(),
        version: binding.node.clone(),
        bound_to: match binding.target {
            Target::Object(to) => facts.object(to).path.clone(),
            Target::Unresolved => "unresolved".into(),
            Target::Nothing | Target::Unsatisfied => "none".into(),
            Target::Elsewhere(_) | Target::Unreadable => "unknown".into(),
        },
        via: binding.via.name(),
    }
}

/// Of a terminal that nobody made wider.
const WIDTH: usize = 80;

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        let worst = self.findings.iter().map(|f| f.severity).max();
        worst.is_none_or(|severity| severity == Severity::Info)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.pid, self.exe.as_str()) {
            (0, "") => writeln!(f, "prediction for libraries")?,
            (0, exe) => writeln!(f, "prediction for {}", printable(exe))?,
            (pid, exe) => writeln!(f, "process {pid}: {}", printable(exe))?,
        }
        let shim = self.shim.as_deref().unwrap_or("none");
        writeln!(f, "  shim:    {}", printable(shim))?;
        let runtimes = match self.runtimes.is_empty() {
            true => "none".to_owned(),
            false => self.runtimes.join(", "),
        };
        writeln!(f, "  runtime: {}", printable(&runtimes))?;
        for finding in &self.findings {
            write_finding(f, finding)?;
        }
        writeln!(f)?;
        let count = |severity| {
            let n = self
                .findings
                .iter()
                .filter(|x| x.severity == severity)
                .count();
            format!("{n} {}{}", severity.name(), if n == 1 { "" } else { "s" })
        };
        if self.is_clean() {
            writeln!(
                f,
                "No errors, no warnings: nothing that was examined escapes scheduling."
            )?;
        } else {
            writeln!(
                f,
                "{}, {}.",
                count(Severity::Error),
                count(Severity::Warning)
            )?;
        }
        let seen = &self.examined;
        let observed = match seen.observed {
            Some(time) => format!(
                "{} observed in {:.1} s",
                counted(self.calls.iter().map(|c| c.count).sum(), "call"),
                time.as_secs_f64()
            ),
            None => "no calls observed".to_owned(),
        };
        wrapped(
            f,
            "Examined: ",
            &format!(
                "{}, {}, {observed}; took {:.2} s.",
                counted(seen.objects as u64, "object"),
                counted(seen.slots as u64, "binding"),
                seen.took.as_secs_f64()
            ),
        )?;
        if self.limits.is_empty() {
            writeln!(f, "Limits: none.")?;
        }
        for limit in &self.limits {
            wrapped(f, "Limits: ", limit)?;
        }
        Ok(())
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, finding: &Finding) -> fmt::Result {
    writeln!(f)?;
    let head = format!("{} [{}]: ", finding.severity.name(), finding.code);
    wrapped_under(f, &head, "  ", &finding.title)?;
    for line in &finding.evidence {
        wrapped(f, "  evidence: ", line)?;
    }
    if let Some(effect) = &finding.effect {
        wrapped(f, "  effect:   ", effect)?;
    }
    wrapped(f, "  fix:      ", &finding.fix)
}

fn wrapped(f: &mut fmt::Formatter<'_>, head: &str, text: &str) -> fmt::Result {
    wrapped_under(f, head, &" ".repeat(head.len()), text)
}

/// Words are never broken: paths and commands stay whole for copying.
fn wrapped_under(f: &mut fmt::Formatter<'_>, head: &str, indent: &str, text: &str) -> fmt::Result {
    let text = printable(text);
    write!(f, "{head}")?;
    let mut column = head.chars().count();
    let mut first = true;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if !first && column + 1 + len > WIDTH {
            write!(f, "\n{indent}{word}")?;
            column = indent.chars().count() + len;
        } else {
            let blank = if first { "" } else { " " };
            write!(f, "{blank}{word}")?;
            column += blank.len() + len;
        }
        first = false;
    }
    writeln!(f)
}
