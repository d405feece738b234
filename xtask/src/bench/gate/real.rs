//! `bench gate --runtime`: the shim's cost on AMD's own runtime, over the simulated HSA library.

use anyhow::Context as _;
use simdevice::code::{self, Kernel};

use super::{Bench, PAIRS, number};
use crate::bench::report::Metric;
use crate::bench::workbench::{Shim, Workbench, cc};
use crate::build::{self, Built};
use crate::real_runtime::{self, Version};
use crate::stats::{median, spread};

/// The processor of the simulated device.
const ARCHITECTURE: &str = "gfx942";
const KERNELS: [Kernel<'static>; 1] = [Kernel {
    name: "hipsim_spin",
    arguments: &[8],
}];

/// Rounds of launches of one run, and of round trips with their kernel's time in ns.
const LAUNCHES: &str = "400";
const ROUND_TRIPS: [&str; 2] = ["10000", "2000"];

/// All metrics on this runtime. This process goes to where it is.
pub fn measure(built: &Built, version: Version) -> anyhow::Result<Vec<Metric>> {
    let bench = Bench(Workbench::new(built)?);
    let dir = &bench.0.dir;
    let (hip, code) = (dir.join("hip"), dir.join("code.bundle"));
    hipsim::install::install(&built.file("libhipsim.so"), &hip)?;
    std::fs::write(&code, code::bundle(&[ARCHITECTURE], &KERNELS))?;
    let root = build::root();
    for name in ["launches", "round_trip"] {
        let include = ["hipsim/samples/c", "hipsim/include"]
            .map(|dir| format!("-I{}", root.join(dir).display()));
        let source = root.join(format!("xtask/programs/{name}.c"));
        let (out, runtime) = (dir.join(name), hip.join(version.soname()));
        cc(&[
            include[0].as_ref(),
            include[1].as_ref(),
            source.as_os_str(),
            runtime.as_os_str(),
            "-o".as_ref(),
            out.as_os_str(),
        ])?;
    }
    real_runtime::enter(
        version,
        &built.file("libhsasim.so"),
        &dir.join("real"),
        real_runtime::Above::default(),
    )?;
    let _agent = bench.0.start_agent(&["--no-bpf"])?;
    let mut metrics = bench.real_launches(&code)?;
    metrics.push(bench.real_round_trip(&code)?);
    Ok(metrics)
}

impl Bench<'_> {
    fn real(
        &self,
        name: &str,
        shim: Shim,
        code: &std::path::Path,
        arguments: &[&str],
    ) -> anyhow::Result<Vec<f64>> {
        let mut command = self.0.command(&self.0.dir.join(name), "none", shim);
        let out = command
            .env("HIPSIM_CODE", code)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot start {name}"))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        anyhow::ensure!(
            out.status.success(),
            "{name} failed ({}): {}{text}",
            out.status,
            String::from_utf8_lossy(&out.stderr)
        );
        text.split_whitespace()
            .map(|word| number(name, word))
            .collect()
    }

    /// Through the shim less straight into the runtime, both in one process.
    fn real_launches(&self, code: &std::path::Path) -> anyhow::Result<Vec<Metric>> {
        let [mut added, mut straight, mut locked, mut large] = [const { Vec::new() }; 4];
        for _ in 0..PAIRS {
            let took = self.real("launches", Shim::With, code, &[LAUNCHES])?;
            let [through, direct, two_locked, as_large] = took[..] else {
                anyhow::bail!("launches printed {took:?}");
            };
            added.push(through - direct);
            straight.push(direct);
            locked.push(two_locked - direct);
            large.push(as_large - direct);
        }
        let native = median(&straight);
        Ok(vec![
            Metric::at_most("gate_open_added_ns", "ns", median(&added), 25.0)
                .spread(spread(&added))
                .beside(native)
                .detail(format!(
                    "in its place two locked additions {:.1} ns; a function of 16 lines of code and 12 of data {:.1} ns",
                    median(&locked),
                    median(&large)
                )),
            Metric::at_most(
                "gate_open_added_percent",
                "%",
                median(&added) / native * 100.0,
                1.0,
            )
            .spread(spread(&added) / native * 100.0),
        ])
    }

    /// A launch and a synchronise around a kernel of 10 us.
    fn real_round_trip(&self, code: &std::path::Path) -> anyhow::Result<Metric> {
        let (mut native, mut shimmed) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            native.extend(self.real("round_trip", Shim::Without, code, &ROUND_TRIPS)?);
            shimmed.extend(self.real("round_trip", Shim::With, code, &ROUND_TRIPS)?);
        }
        let ratio = median(&shimmed) / median(&native);
        let metric = Metric::at_most("launch_sync_ratio", "x", ratio, 1.05);
        Ok(metric
            .spread(spread(&shimmed) / median(&native))
            .beside(1.0))
    }
}
