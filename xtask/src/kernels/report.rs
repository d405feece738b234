//! What every kernel said, as JSON and for people.

use serde::Serialize;

use super::console::Check;
use super::machine::Accel;

/// All kernels that were asked for.
#[derive(Serialize)]
pub struct Report {
    /// In the order of the question.
    pub kernels: Vec<Kernel>,
    /// How many of them are not as they should be.
    pub failed: usize,
}

/// One of them.
#[derive(Serialize)]
pub struct Kernel {
    /// `uname -r`, or what was asked for if it did not run.
    pub version: String,
    /// The package or file it is from; null if there is none.
    pub source: Option<String>,
    /// Who executed it; null if it did not run.
    pub accel: Option<Accel>,
    /// What was looked at.
    pub checks: Vec<Check>,
    /// Whether all is well.
    pub ok: bool,
    /// If not, why.
    pub why: Option<String>,
}

impl Kernel {
    /// One that could not be run.
    pub fn missing(version: String, why: String) -> Kernel {
        Kernel {
            version,
            source: None,
            accel: None,
            checks: Vec::new(),
            ok: false,
            why: Some(why),
        }
    }
}

impl Report {
    /// Of these.
    pub fn of(kernels: Vec<Kernel>) -> Report {
        let failed = kernels.iter().filter(|kernel| !kernel.ok).count();
        Report { kernels, failed }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for kernel in &self.kernels {
            let accel = kernel.accel.map_or("not run", Accel::name);
            let source = kernel.source.as_deref().unwrap_or("no source");
            out += &format!("Linux {} ({source}, {accel})\n", kernel.version);
            for check in &kernel.checks {
                let mark = match check.ok {
                    true => "ok    ",
                    false => "FAILED",
                };
                out += &format!("  {mark}  {:<12}  {}\n", check.name, check.detail);
            }
            if let Some(why) = &kernel.why {
                out += &format!("  FAILED  {why}\n");
            }
        }
        out += &format!("{} kernels, {} failed\n", self.kernels.len(), self.failed);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_that_cannot_be_had_is_named_and_counts() {
        let ran = Kernel {
            version: "6.1.0".to_owned(),
            source: Some("linux-image-6.1.0".to_owned()),
            accel: Some(Accel::Emulated),
            checks: vec![Check {
                name: "object".to_owned(),
                ok: true,
                detail: "loads".to_owned(),
            }],
            ok: true,
            why: None,
        };
        let missing = Kernel::missing("5.10".to_owned(), "no package".to_owned());
        let report = Report::of(vec![ran, missing]);
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["failed"], 1);
        assert_eq!(json["kernels"][0]["accel"], "emulated");
        assert_eq!(json["kernels"][0]["checks"][0]["name"], "object");
        assert_eq!(json["kernels"][1]["ok"], false);
        assert_eq!(json["kernels"][1]["source"], serde_json::Value::Null);
        let text = report.text();
        assert!(text.contains("Linux 5.10 (no source, not run)\n  FAILED  no package"));
        assert!(text.ends_with("2 kernels, 1 failed\n"), "{text}");
    }
}
