//! `bench gate`: what the shim costs while the gate is open.
//!
//! The cost of a launch is measured on a runtime that does nothing (the one
//! of the shim's own tests), since any real work would drown 25 ns; round
//! trips and first launches on hipsim. Native and shimmed runs alternate.

mod cuda;
pub mod real;

use std::ffi::OsStr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};

use super::report::Metric;
use super::workbench::{Shim, Workbench, cc, null_runtime};
use crate::build::{self, Built};
use crate::platform::Platform;
use crate::stats::{median, spread};

/// Alternating pairs of runs.
const PAIRS: usize = 7;
/// Alternating pairs of program starts: one takes a millisecond, so many.
const STARTS: usize = 60;
/// Libraries mapped for `attach_500_objects_ms`.
const OBJECTS: usize = 500;

struct Bench<'b>(Workbench<'b>);

/// All metrics of the benchmark.
pub fn measure(built: &Built, platform: Platform) -> anyhow::Result<Vec<Metric>> {
    let bench = Bench(Workbench::of(built, platform)?);
    match platform {
        Platform::Hip => bench.compile()?,
        Platform::Cuda => cuda::compile(&bench.0)?,
    }
    let agent = bench.0.start_agent(&["--no-bpf"])?;
    let mut metrics = vec![
        bench.open_added("gate_open_added_ns", 25.0, &[])?,
        bench.open_allocations()?,
        bench.open_syscalls()?,
        bench.round_trip()?,
        bench.startup()?,
        bench.attach()?,
        page_bytes(),
    ];
    metrics.extend(match platform {
        // It knows no platform, and is measured once.
        Platform::Hip => vec![
            caller_lookup()?,
            bench.open_added("gate_open_added_ns_groups", 12.0, &["groups".to_owned()])?,
        ],
        Platform::Cuda => vec![cuda::look_ups(&bench.0)?, cuda::launches(&bench.0)?],
    });
    drop(agent);
    Ok(metrics)
}

/// Alternating pairs of a check.
const CHECK_PAIRS: usize = 3;

/// In seconds, of a debug build (in which the shim is optimised): whether a
/// change has spoilt something. Ratios with room, since anything may run beside.
pub fn check(built: &Built) -> anyhow::Result<Vec<Metric>> {
    let bench = Bench(Workbench::new(built)?);
    bench.compile()?;
    let _agent = bench.0.start_agent(&["--no-bpf"])?;
    let (mut through, mut straight) = (Vec::new(), Vec::new());
    for _ in 0..CHECK_PAIRS {
        let text = bench.output("added", "null", Shim::With, &[])?;
        let mut words = text.split_whitespace();
        through.push(number("added", words.next().unwrap_or_default())?);
        straight.push(number("added", words.next().unwrap_or_default())?);
    }
    // 18 to 36 ns beside 6 to 9 (docs/BENCHMARKS.md): a lock or a system call
    // would take several times as long.
    let ratio = median(&through) / median(&straight);
    Ok(vec![
        Metric::at_most("gate_open_ratio", "x", ratio, 10.0).beside(1.0),
        bench.open_allocations()?,
        bench.open_syscalls()?,
        bench.round_trip()?.with_room(1.25),
        page_bytes(),
    ])
}

/// The shim's own cache of callers, warm, without the launch around it.
fn caller_lookup() -> anyhow::Result<Metric> {
    let mut runs = Vec::new();
    for _ in 0..PAIRS {
        let out = build::cargo()
            .args([
                "run",
                "--release",
                "--quiet",
                "--package",
                "xsched-shim",
                "--example",
                "caller_lookup",
            ])
            .output()
            .context("cannot start the example caller_lookup")?;
        let text = String::from_utf8_lossy(&out.stdout);
        runs.push(
            text.trim()
                .parse()
                .with_context(|| format!("caller_lookup printed {text:?}"))?,
        );
    }
    Ok(Metric::at_most("caller_lookup_ns", "ns", median(&runs), 5.0).spread(spread(&runs)))
}

fn page_bytes() -> Metric {
    use xsched_common::page::{ControlPage, StatusPage};
    let bytes = size_of::<ControlPage>() + size_of::<StatusPage>();
    Metric::at_most("page_bytes", "B", bytes as f64, 65536.0)
}

impl Bench<'_> {
    /// The runtime that does nothing in `null/`, hipsim in `hip/`, programs.
    fn compile(&self) -> anyhow::Result<()> {
        let root = build::root();
        let shim_programs = root.join("xsched-shim/tests/programs");
        let programs = root.join("xtask/programs");
        let samples = [root.join("hipsim/samples/c"), root.join("hipsim/include")];
        let (null, hip) = (self.0.dir.join("null"), self.0.dir.join("hip"));
        hipsim::install::install(&self.0.built.file("libhipsim.so"), &hip)?;
        let runtime = null_runtime(&null, &[])?;
        let include = samples
            .iter()
            .map(|dir| format!("-I{}", dir.display()))
            .collect::<Vec<_>>();
        let program = |source: &Path, name: &str, runtime: &Path| {
            let out = self.0.dir.join(name);
            let mut arguments: Vec<&OsStr> = include.iter().map(OsStr::new).collect();
            arguments.extend([
                source.as_os_str(),
                runtime.as_os_str(),
                "-ldl".as_ref(),
                "-pthread".as_ref(),
            ]);
            arguments.extend(["-o".as_ref(), out.as_os_str()]);
            cc(&arguments)
        };
        let hipsim_runtime = hip.join("libamdhip64.so.5");
        program(&shim_programs.join("bench.c"), "added", &runtime)?;
        program(&shim_programs.join("quiet.c"), "syscalls", &runtime)?;
        program(&programs.join("allocations.c"), "allocations", &runtime)?;
        program(
            &programs.join("round_trip.c"),
            "round_trip",
            &hipsim_runtime,
        )?;
        program(
            &programs.join("first_launch.c"),
            "first_launch",
            &hipsim_runtime,
        )
    }

    /// Runs a program to its end.
    fn output(
        &self,
        name: &str,
        runtime: &str,
        shim: Shim,
        arguments: &[String],
    ) -> anyhow::Result<String> {
        let out = self
            .0
            .command(&self.0.dir.join(name), runtime, shim)
            .args(arguments)
            .output()
            .with_context(|| format!("cannot start {name}"))?;
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if !out.status.success() {
            bail!(
                "{name} failed ({}): {}{text}",
                out.status,
                String::from_utf8_lossy(&out.stderr)
            );
        }
        Ok(text)
    }

    /// Runs a program that prints numbers.
    fn numbers(
        &self,
        name: &str,
        runtime: &str,
        shim: Shim,
        arguments: &[String],
    ) -> anyhow::Result<Vec<f64>> {
        let text = self.output(name, runtime, shim, arguments)?;
        text.split_whitespace()
            .map(|word| number(name, word))
            .collect()
    }

    /// Through the shim less straight into the runtime, both in one process.
    /// Runs in which somebody's probes sat on the shim do not count.
    fn open_added(
        &self,
        name: &'static str,
        bound: f64,
        arguments: &[String],
    ) -> anyhow::Result<Metric> {
        let (mut added, mut straight) = (Vec::new(), Vec::new());
        for _ in 0..10 * PAIRS {
            let text = self.output("added", "null", Shim::With, arguments)?;
            let words: Vec<&str> = text.split_whitespace().collect();
            match words[..] {
                [through, direct, "clean"] => {
                    let direct = number("added", direct)?;
                    added.push(number("added", through)? - direct);
                    straight.push(direct);
                }
                [_, _, "probed"] => {}
                _ => bail!("added printed {text:?}"),
            }
            if added.len() == PAIRS {
                let metric = Metric::at_most(name, "ns", median(&added), bound);
                return Ok(metric.spread(spread(&added)).beside(median(&straight)));
            }
        }
        bail!("an agent on this machine probes the shim: stop it while measuring")
    }

    fn open_allocations(&self) -> anyhow::Result<Metric> {
        let counted = self.numbers("allocations", "null", Shim::With, &[])?;
        let counted = counted
            .first()
            .copied()
            .context("allocations printed nothing")?;
        Ok(Metric::at_most("gate_open_allocs", "count", counted, 0.0))
    }

    /// Under a filter that ends the program at its first system call; a run
    /// with one on purpose shows that the filter bites.
    fn open_syscalls(&self) -> anyhow::Result<Metric> {
        let run = |arguments: &[&str]| {
            let program = self.0.dir.join("syscalls");
            self.0
                .command(&program, "null", Shim::With)
                .args(arguments)
                .status()
        };
        ensure!(
            !run(&["10", "forbidden"])?.success(),
            "the filter of system calls does not bite"
        );
        let made = f64::from(u8::from(!run(&["1000"])?.success()));
        Ok(Metric::at_most("gate_open_syscalls", "count", made, 0.0))
    }

    /// A launch and a synchronise around a kernel of 10 us.
    fn round_trip(&self) -> anyhow::Result<Metric> {
        let arguments = ["10000".to_owned(), "2000".to_owned()];
        let (mut native, mut shimmed) = (Vec::new(), Vec::new());
        for _ in 0..PAIRS {
            native.extend(self.numbers("round_trip", "hip", Shim::Without, &arguments)?);
            shimmed.extend(self.numbers("round_trip", "hip", Shim::With, &arguments)?);
        }
        let ratio = median(&shimmed) / median(&native);
        let metric = Metric::at_most("launch_sync_ratio", "x", ratio, 1.05);
        Ok(metric
            .spread(spread(&shimmed) / median(&native))
            .beside(1.0))
    }

    /// Starting a program that does nothing.
    fn startup(&self) -> anyhow::Result<Metric> {
        let start = |shim| -> anyhow::Result<f64> {
            let began = Instant::now();
            let status = self
                .0
                .command(Path::new("/bin/true"), "hip", shim)
                .status()?;
            ensure!(status.success(), "/bin/true failed");
            Ok(began.elapsed().as_secs_f64() * 1e3)
        };
        let (mut native, mut shimmed) = (Vec::new(), Vec::new());
        for _ in 0..STARTS {
            native.push(start(Shim::Without)?);
            shimmed.push(start(Shim::With)?);
        }
        let added = median(&shimmed) - median(&native);
        Ok(Metric::at_most("preload_startup_ms", "ms", added, 3.0)
            .spread(spread(&shimmed))
            .beside(median(&native)))
    }

    /// The first launch of a program with 500 libraries: finding the runtime
    /// among them, and joining.
    fn attach(&self) -> anyhow::Result<Metric> {
        let (native, shimmed) = self.first_launches(OBJECTS, PAIRS)?;
        let added = median(&shimmed) - median(&native);
        Ok(Metric::at_most("attach_500_objects_ms", "ms", added, 10.0)
            .spread(spread(&shimmed))
            .beside(median(&native)))
    }

    /// First launches of a program with so many libraries, without and with
    /// the shim, ms.
    fn first_launches(&self, objects: usize, pairs: usize) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let libraries = self.0.dir.join("libraries");
        std::fs::create_dir_all(&libraries)?;
        let source = libraries.join("empty.c");
        std::fs::write(&source, "int xsched_bench_empty;\n")?;
        let first = libraries.join("lib0.so");
        cc(&[
            "-shared".as_ref(),
            "-fPIC".as_ref(),
            source.as_ref(),
            "-o".as_ref(),
            first.as_ref(),
        ])?;
        let mut paths = vec![first.display().to_string()];
        for i in 1..objects {
            let copy = libraries.join(format!("lib{i}.so"));
            std::fs::copy(&first, &copy)?;
            paths.push(copy.display().to_string());
        }
        let (mut native, mut shimmed) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            native.extend(self.numbers("first_launch", "hip", Shim::Without, &paths)?);
            shimmed.extend(self.numbers("first_launch", "hip", Shim::With, &paths)?);
        }
        Ok((native, shimmed))
    }
}

/// What the shim adds to the first launch of a program, by the number of its
/// libraries, ms.
pub fn attach_growth(built: &Built, objects: &[usize]) -> anyhow::Result<Vec<(f64, f64)>> {
    let bench = Bench(Workbench::new(built)?);
    bench.compile()?;
    let _agent = bench.0.start_agent(&["--no-bpf"])?;
    let point = |&objects: &usize| {
        let pairs = if objects > 1_000 { 1 } else { 3 };
        let (native, shimmed) = bench.first_launches(objects, pairs)?;
        Ok((objects as f64, median(&shimmed) - median(&native)))
    };
    objects.iter().map(point).collect()
}

fn number(name: &str, word: &str) -> anyhow::Result<f64> {
    word.parse()
        .with_context(|| format!("{name} printed {word:?} for a number"))
}
