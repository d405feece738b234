//! What the stack tier found.

use serde::Serialize;

use super::list::{Library, Varies};
use super::watch::{Observed, Packets};
use crate::conformance::agent::Seen;
use crate::conformance::exec::Ran;
use crate::conformance::report::Outcome;
use crate::real_runtime::Version;

/// One run, and what others saw of it.
pub struct Measured {
    pub ran: Ran,
    pub outcome: Outcome,
    pub seen: Seen,
    pub observed: Option<Observed>,
    pub packets: Packets,
}

/// One library.
#[derive(Serialize)]
pub struct Judged {
    pub name: String,
    pub version: String,
    pub source: String,
    pub native: Outcome,
    pub open: Outcome,
    pub stressed: Outcome,
    pub ok: bool,
    /// What is not ok, or why there is no run.
    pub why: Option<String>,
    /// It is not to be had here.
    #[serde(skip)]
    pub absent: bool,
    /// Natively; none without eBPF.
    pub calls: Option<Observed>,
    /// Natively.
    pub packets: Packets,
    /// Launches that waited at a random gate.
    pub waited: u64,
    /// What is not compared.
    #[serde(skip)]
    varies: Varies,
    #[serde(skip)]
    native_run: Option<Measured>,
}

/// All of them.
#[derive(Serialize)]
pub struct Report {
    pub libraries: Vec<Judged>,
    /// Those that ran, and were not the same under the shim.
    pub failed: usize,
}

fn source(library: &Library) -> String {
    match (library.wheels.first(), library.packages.first()) {
        (Some(wheel), _) => format!("PyPI {}", wheel.replace("==", " ")),
        (None, Some(package)) => format!("Debian {package}"),
        (None, None) => "-".to_owned(),
    }
}

impl Judged {
    /// A library that cannot be had.
    pub fn absent(library: &Library, why: String) -> Self {
        Self {
            name: library.name.clone(),
            version: String::new(),
            source: source(library),
            native: Outcome::Crash,
            open: Outcome::Crash,
            stressed: Outcome::Crash,
            ok: false,
            why: Some(why),
            absent: true,
            calls: None,
            packets: Packets::default(),
            waited: 0,
            varies: library.varies,
            native_run: None,
        }
    }

    /// From its native and its open run.
    pub fn new(library: &Library, version: &str, native: Measured, open: &Measured) -> Self {
        let mut judged = Self {
            name: library.name.clone(),
            version: version.to_owned(),
            source: source(library),
            native: native.outcome,
            open: Outcome::Ok,
            stressed: Outcome::Ok,
            ok: true,
            why: None,
            absent: false,
            calls: native.observed.clone(),
            packets: native.packets,
            waited: 0,
            varies: library.varies,
            native_run: None,
        };
        if native.outcome != Outcome::Ok {
            judged.note(format!(
                "native: {:?}: {}",
                native.ran.end,
                last(&native.ran)
            ));
        }
        // A program can go on without a device, and prints the same.
        if judged.packets.kernels == 0 {
            judged.note("native: no kernel reached the device".to_owned());
        }
        let (outcome, why) = compare(&native, open, library.varies);
        judged.open = outcome;
        why.into_iter()
            .for_each(|why| judged.note(format!("open: {why}")));
        judged.native_run = Some(native);
        judged
    }

    /// Adds a run under a random gate.
    pub fn stress(&mut self, run: &Measured) {
        let Some(native) = &self.native_run else {
            return;
        };
        let (outcome, why) = compare(native, run, self.varies);
        self.stressed = outcome;
        self.waited += run.seen.waits;
        why.into_iter()
            .for_each(|why| self.note(format!("stressed: {why}")));
    }

    fn note(&mut self, why: String) {
        self.ok = false;
        self.why.get_or_insert(why);
    }

    /// For people.
    pub fn line(&self) -> String {
        if self.absent {
            let why = self.why.as_deref().unwrap_or_default();
            return format!("LEFT OUT: {} ({}): {why}", self.name, self.source);
        }
        let calls = match &self.calls {
            Some(calls) => format!(
                "{} launches, {} copies, {} waits of {} callers, ",
                calls.all.launches,
                calls.all.copies,
                calls.all.waits,
                calls.callers.len()
            ),
            None => String::new(),
        };
        let mut line = format!(
            "{:<6} {:<10} {:<18} native {:<7} open {:<7} stressed {:<7} {calls}{} kernels; {} waited",
            if self.ok { "ok" } else { "FAILED" },
            self.name,
            self.version,
            self.native,
            self.open,
            self.stressed,
            self.packets.kernels,
            self.waited
        );
        if let Some(why) = &self.why {
            line += &format!("\n  {why}");
        }
        line
    }
}

/// How a run under the shim compares with the native one.
fn compare(native: &Measured, run: &Measured, varies: Varies) -> (Outcome, Option<String>) {
    if run.outcome != native.outcome {
        let why = format!("{:?}: {}", run.ran.end, last(&run.ran));
        return (run.outcome, Some(why));
    }
    let mut why = Vec::new();
    if run.ran.end != native.ran.end || run.ran.transcript != native.ran.transcript {
        why.push("another output".to_owned());
    }
    if run.packets.kernels != native.packets.kernels {
        let (ours, theirs) = (run.packets.kernels, native.packets.kernels);
        why.push(format!(
            "{ours} kernels reached the device, natively {theirs}"
        ));
    }
    if let (Some(ours), Some(theirs)) = (&run.observed, &native.observed) {
        if ours.compared(varies) != theirs.compared(varies) {
            why.push(format!("calls {ours:?}, natively {theirs:?}"));
        }
        if run.seen.launches != ours.all.launches {
            let (shim, ebpf) = (run.seen.launches, ours.all.launches);
            why.push(format!("the shim counts {shim} launches, eBPF {ebpf}"));
        }
    }
    match why.is_empty() {
        true => (Outcome::Ok, None),
        false => (Outcome::Differs, Some(why.join("; "))),
    }
}

fn last(ran: &Ran) -> &str {
    let lines = ran.errors.lines().chain(ran.transcript.lines());
    lines.last().unwrap_or("(it says nothing)")
}

impl Report {
    /// Of all libraries.
    pub fn new(libraries: Vec<Judged>) -> Self {
        let failed = libraries.iter().filter(|one| !one.ok && !one.absent);
        Self {
            failed: failed.count(),
            libraries,
        }
    }

    /// For people.
    pub fn summary(&self) -> String {
        let absent = self.libraries.iter().filter(|one| one.absent).count();
        format!(
            "{} libraries, {} failed, {absent} left out",
            self.libraries.len(),
            self.failed
        )
    }

    /// A table for the docs.
    pub fn table(&self, version: Version) -> String {
        let mut text = format!(
            "| library | version | from | on {version} | launches | copies | waits | kernels | callers |\n\
             |---|---|---|---|---|---|---|---|---|\n"
        );
        for one in &self.libraries {
            let verdict = match (one.ok, one.absent) {
                (true, _) => match one.varies {
                    Varies::Nothing => "the same".to_owned(),
                    Varies::Waits => "the same but for waits".to_owned(),
                },
                (false, true) => format!("left out: {}", one.why.as_deref().unwrap_or("-")),
                (false, false) => format!("differs: {}", one.why.as_deref().unwrap_or("-")),
            };
            let calls = match &one.calls {
                Some(calls) => {
                    let all = &calls.all;
                    let names: Vec<_> = calls.callers.keys().map(String::as_str).collect();
                    let counts = [all.launches, all.copies, all.waits].map(|n| n.to_string());
                    (counts, names.join(", "))
                }
                None => (["-", "-", "-"].map(str::to_owned), "-".to_owned()),
            };
            let ([launches, copies, waits], callers) = calls;
            text += &format!(
                "| {} | {} | {} | {verdict} | {launches} | {copies} | {waits} | {} | {callers} |\n",
                one.name, one.version, one.source, one.packets.kernels
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::watch::Calls;
    use super::*;
    use crate::conformance::exec::End;

    fn run(waits: u64) -> Measured {
        let all = Calls {
            waits,
            ..Calls::default()
        };
        Measured {
            ran: Ran {
                pid: 1,
                transcript: "done".to_owned(),
                errors: String::new(),
                end: End::Exited(0),
            },
            outcome: Outcome::Ok,
            seen: Seen::default(),
            observed: Some(Observed {
                all,
                ..Observed::default()
            }),
            packets: Packets { kernels: 1, own: 0 },
        }
    }

    fn judged(library: &Library, native: Measured, open: &Measured) -> Judged {
        Judged::new(library, "1", native, open)
    }

    #[test]
    fn a_program_that_does_without_the_device_has_failed() {
        let idle = || Measured {
            packets: Packets::default(),
            ..run(0)
        };
        let judged = judged(&Library::default(), idle(), &idle());
        assert!(!judged.ok, "{}", judged.line());
    }

    #[test]
    fn what_varies_natively_is_not_held_against_the_shim() {
        let mut library = Library::default();
        assert!(judged(&library, run(28), &run(28)).ok);
        assert!(!judged(&library, run(28), &run(29)).ok);
        library.varies = Varies::Waits;
        assert!(judged(&library, run(28), &run(29)).ok);
        let fewer = Measured {
            packets: Packets::default(),
            ..run(28)
        };
        assert!(!judged(&library, run(28), &fewer).ok);
    }
}
