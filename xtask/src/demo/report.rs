//! The demo's figures, as JSON and as a table.

use serde::Serialize;
use serde_json::Value;

/// Everything the demo prints.
#[derive(Serialize)]
pub struct Report {
    pub service: Service,
    pub batch: Batch,
    /// Whether the observer could see processes without the shim.
    pub ebpf: bool,
    pub events: Events,
    /// `None` on a real runtime, which does not start the program that is diagnosed.
    pub diagnosis: Option<Vec<Value>>,
    #[serde(skip)]
    pub device: String,
    #[serde(skip)]
    pub left_out: Option<String>,
    #[serde(skip)]
    pub load: String,
}

#[derive(Serialize)]
pub struct Service {
    pub alone: Latency,
    pub native: Latency,
    pub scheduled: Latency,
}

/// Medians over the repetitions; requests are summed.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Latency {
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
    pub requests: u64,
}

#[derive(Serialize)]
pub struct Batch {
    pub alone_per_s: f64,
    pub native_per_s: f64,
    pub scheduled_per_s: f64,
    /// Scheduled throughput over what the service leaves of the device.
    pub leftover_kept: f64,
}

#[derive(Serialize)]
pub struct Events {
    pub captured: u64,
    pub dropped: u64,
}

impl Report {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = format!("\nSimulated device ({}), {}\n\n", self.device, self.load);
        out += "                          alone      native   scheduled\n";
        let row = |name: &str, pick: fn(&Latency) -> u64| {
            let ms = |l: &Latency| format!("{:.2} ms", pick(l) as f64 / 1e6);
            let s = &self.service;
            format!(
                "{name:<20}{:>11}{:>12}{:>12}\n",
                ms(&s.alone),
                ms(&s.native),
                ms(&s.scheduled)
            )
        };
        out += &row("service   P50", |l| l.p50_ns);
        out += &row("          P99", |l| l.p99_ns);
        out += &row("          max", |l| l.max_ns);
        let ratio = |l: &Latency| l.p99_ns as f64 / self.service.alone.p99_ns.max(1) as f64;
        out += &format!(
            "{:<20}{:>11}{:>11.2}x{:>11.2}x\n",
            "      P99/alone",
            "1x",
            ratio(&self.service.native),
            ratio(&self.service.scheduled)
        );
        let rate = |per_s: f64| format!("{per_s:.0}/s");
        out += &format!(
            "{:<20}{:>11}{:>12}{:>12}\n",
            "batch     kernels",
            rate(self.batch.alone_per_s),
            rate(self.batch.native_per_s),
            rate(self.batch.scheduled_per_s)
        );
        out += &format!(
            "\nThe batch keeps {:.0}% of what the service leaves over.\n",
            self.batch.leftover_kept * 100.0
        );
        match &self.left_out {
            Some(what) => out += &format!("Left out: {what}\n"),
            None => {
                out += &format!(
                    "eBPF counted {} calls of all processes, {} dropped.\n",
                    self.events.captured, self.events.dropped
                );
            }
        }
        if let Some(findings) = &self.diagnosis {
            out += &diagnosed(findings);
        }
        out += "\nNext: start xtop beside your own programs, see README.md.\n";
        out
    }
}

fn diagnosed(findings: &[Value]) -> String {
    let mut out = String::from(
        "\nA third process runs under the shim, and yet its launches escape. `xsched-agent diagnose` says:\n",
    );
    if findings.is_empty() {
        out += "  nothing found\n";
    }
    for finding in findings {
        let text = |key: &str| finding.get(key).and_then(Value::as_str).unwrap_or_default();
        out += &format!(
            "\n  {} [{}]: {}\n",
            text("severity"),
            text("code"),
            text("title")
        );
        for line in finding
            .get("evidence")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            out += &format!("    seen:   {}\n", line.as_str().unwrap_or_default());
        }
        if let Some(effect) = finding.get("effect").and_then(Value::as_str) {
            out += &format!("    effect: {effect}\n");
        }
        out += &format!("    fix:    {}\n", text("fix"));
    }
    out
}
