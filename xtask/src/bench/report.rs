//! What every benchmark prints.

use std::process::Command;

use serde::Serialize;

/// A benchmark's figures and where they were measured.
#[derive(Serialize)]
pub struct Report {
    machine: String,
    kernel: String,
    commit: String,
    device: String,
    metrics: Vec<Metric>,
}

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub struct Metric {
    /// Stable name.
    pub name: &'static str,
    /// Unit of value, baseline, spread and bound.
    pub unit: &'static str,
    /// What was measured: a median.
    pub value: f64,
    /// The same without us, where there is such a thing.
    pub baseline: Option<f64>,
    /// Value over baseline.
    pub ratio: Option<f64>,
    /// Interquartile range of the measurements.
    pub spread: Option<f64>,
    /// The most that the value may be, or the least.
    pub bound: f64,
    /// Whether it is.
    pub ok: bool,
    /// The figures behind it, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Metric {
    /// A value that must not exceed `bound`.
    pub fn at_most(name: &'static str, unit: &'static str, value: f64, bound: f64) -> Metric {
        Metric {
            name,
            unit,
            value,
            baseline: None,
            ratio: None,
            spread: None,
            bound,
            detail: None,
            ok: value <= bound,
        }
    }

    /// A value that must not fall below `bound`.
    pub fn at_least(name: &'static str, unit: &'static str, value: f64, bound: f64) -> Metric {
        Metric {
            ok: value >= bound,
            ..Metric::at_most(name, unit, value, bound)
        }
    }

    /// With a bound that is so much further away; one that says yes or no, or
    /// nothing at all, stays.
    pub fn with_room(self, room: f64) -> Metric {
        let at_most = self.ok == (self.value <= self.bound);
        match self.unit {
            "" | "count" => self,
            _ if at_most => Metric {
                bound: self.bound * room,
                ok: self.value <= self.bound * room,
                ..self
            },
            _ => Metric {
                bound: self.bound / room,
                ok: self.value >= self.bound / room,
                ..self
            },
        }
    }

    /// Adds what it is compared with.
    pub fn beside(mut self, baseline: f64) -> Metric {
        self.baseline = Some(baseline);
        self.ratio = (baseline != 0.0).then(|| self.value / baseline);
        self
    }

    /// Adds the figures behind it.
    pub fn detail(mut self, detail: String) -> Metric {
        self.detail = Some(detail);
        self
    }

    /// Adds how far the measurements lie apart.
    pub fn spread(mut self, spread: f64) -> Metric {
        self.spread = Some(spread);
        self
    }
}

impl Report {
    /// With the facts of another machine, or an earlier day.
    pub fn measured(
        machine: String,
        kernel: String,
        commit: String,
        device: String,
        metrics: Vec<Metric>,
    ) -> Report {
        Report {
            machine,
            kernel,
            commit,
            device,
            metrics,
        }
    }

    /// With the facts of this machine.
    pub fn of(metrics: Vec<Metric>) -> Report {
        Report {
            machine: machine(),
            kernel: kernel(),
            commit: commit(),
            device: "simulated (hipsim)".to_owned(),
            metrics,
        }
    }

    /// The figures.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Whether every bound holds.
    pub fn ok(&self) -> bool {
        self.metrics.iter().all(|metric| metric.ok)
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{}; Linux {}; commit {}; device {}\n\n",
            self.machine, self.kernel, self.commit, self.device
        );
        out += &format!(
            "{:<24}{:>12}{:>12}{:>9}{:>12}  \n",
            "", "value", "baseline", "ratio", "bound"
        );
        for m in &self.metrics {
            let number = |n: f64| format!("{n:.3} {}", m.unit).replace(".000", "");
            let optional = |n: Option<f64>| n.map_or_else(|| "-".to_owned(), number);
            out += &format!(
                "{:<24}{:>12}{:>12}{:>9}{:>12}  {}\n",
                m.name,
                number(m.value),
                optional(m.baseline),
                m.ratio
                    .map_or_else(|| "-".to_owned(), |r| format!("{r:.3}x")),
                number(m.bound),
                if m.ok { "ok" } else { "MISSED" }
            );
            if let Some(detail) = &m.detail {
                out += &format!("    {detail}\n");
            }
        }
        out
    }
}

/// The running kernel's release.
pub fn kernel() -> String {
    read("/proc/sys/kernel/osrelease")
}

/// The processor and its number of cores.
pub fn machine() -> String {
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    format!("{count} x {model}")
}

/// The checkout's.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let out = Command::new("git")
            .args(arguments)
            .current_dir(crate::build::root())
            .output()
            .ok()?;
        out.status
            .success()
            .then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(head) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".to_owned();
    };
    match git(&["status", "--porcelain"]) {
        Some(changes) if changes.is_empty() => head,
        _ => format!("{head} with changes"),
    }
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_on_the_far_side_of_a_bound() {
        let most = Metric::at_most("a", "x", 1.05, 1.0).with_room(1.10);
        assert!(most.ok && (most.bound - 1.1).abs() < 1e-9);
        let least = Metric::at_least("b", "%", 90.0, 97.0).with_room(1.10);
        assert!(least.ok && least.bound < 90.0);
        assert!(!Metric::at_least("c", "%", 80.0, 97.0).with_room(1.10).ok);
        assert!(!Metric::at_least("d", "", 0.0, 1.0).with_room(1.10).ok);
    }
}
