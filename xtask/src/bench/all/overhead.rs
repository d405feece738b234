//! One model alone, with the shim and without, on both platforms.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::samples::{Overhead, Raw};
use crate::bench::workbench::{Shim, Workbench};
use crate::build::Built;
use crate::child::ended;
use crate::platform::Platform;
use crate::progress::Steps;

/// A request as ResNet-18's: so many launches, the host between them, little
/// work for the device.
const REQUEST: [&str; 8] = [
    "--kernels",
    "110",
    "--kernel-time",
    "4us",
    "--think",
    "20us",
    "--period",
    "5ms",
];

pub const PLATFORMS: [(Platform, &str); 2] = [(Platform::Hip, "HIP"), (Platform::Cuda, "CUDA")];

/// Pairs in turns, on one platform after the other.
pub fn measure(
    built: &Built,
    cell: Duration,
    repetitions: u32,
    steps: &Steps,
    raw: &mut Raw,
) -> anyhow::Result<()> {
    for (platform, name) in PLATFORMS {
        let bench = Workbench::of(built, platform)?;
        platform.install(built, &bench.dir.join("hip"))?;
        let _agent = bench.start_agent(&["--no-bpf"])?;
        for repetition in 1..=repetitions {
            steps.step(&format!("overhead on {name}, repetition {repetition}"));
            // Whoever is first: the machine may get slower or faster meanwhile.
            let mut shims = [Shim::Without, Shim::With];
            if repetition % 2 == 0 {
                shims.reverse();
            }
            let mut pair = [(0.0, 0.0); 2];
            for shim in shims {
                pair[usize::from(shim == Shim::With)] = alone(&bench, cell, shim)?;
            }
            let [native, with] = pair;
            raw.overhead.push(Overhead {
                platform: name.to_owned(),
                repetition,
                native_ms: native.0,
                shim_ms: with.0,
                native_cpu_s: native.1,
                shim_cpu_s: with.1,
            });
        }
    }
    Ok(())
}

/// Median request, ms, and processor time, s.
fn alone(bench: &Workbench<'_>, cell: Duration, shim: Shim) -> anyhow::Result<(f64, f64)> {
    let program = format!("{}-service", bench.platform.samples());
    let program = bench.built.file(&program);
    let child = bench
        .command(&program, "hip", shim)
        .args(REQUEST)
        .args(["--json", "--duration", &format!("{}ms", cell.as_millis())])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = ended(child)?;
    let report: Value = serde_json::from_str(ended.text.trim()).context("a service's report")?;
    let p50 = report["p50_ns"].as_f64().context("no p50_ns")?;
    Ok((p50 / 1e6, ended.cpu.as_secs_f64()))
}
