//! What differs for CUDA: the programs, and what is counted of the driver's interface.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench, cc};
use crate::build;
use crate::conformance::agent::{Agent, Manner};

/// Look-ups of libcudart 13.5, and forms of launch.
const LOOK_UPS: f64 = 480.0;
const FORMS: f64 = 12.0;

/// A driver that does nothing in `null/`, the simulated one in `hip/`, and the programs: those for a simulated device are HIP's, in
/// CUDA's words.
pub fn compile(bench: &Workbench<'_>) -> anyhow::Result<()> {
    let root = build::root();
    let programs = root.join("xtask/programs");
    let null = bench.dir.join("null");
    std::fs::create_dir_all(&null)?;
    let driver = null.join("libcuda.so.1");
    let source = programs.join("cuda/null_driver.c");
    cc(&[
        "-shared".as_ref(),
        "-fPIC".as_ref(),
        // Its functions take any arguments.
        "-Wno-missing-prototypes".as_ref(),
        "-Wl,-soname,libcuda.so.1".as_ref(),
        source.as_ref(),
        "-o".as_ref(),
        driver.as_ref(),
    ])?;
    let simulated = bench.dir.join("hip");
    bench.platform.install(bench.built, &simulated)?;
    let simulated = simulated.join("libcuda.so.1");
    let program = |name: &str, source: PathBuf, driver: &Path, more: &[&OsStr]| {
        let out = bench.dir.join(name);
        let mut arguments: Vec<&OsStr> = more.to_vec();
        arguments.extend([source.as_os_str(), driver.as_os_str()]);
        arguments.extend(["-ldl", "-pthread", "-o"].map(OsStr::new));
        arguments.push(out.as_os_str());
        cc(&arguments)
    };
    for name in ["added", "syscalls", "allocations", "forms"] {
        let source = programs.join(format!("cuda/{name}.c"));
        program(name, source, &driver, &[])?;
    }
    let words = root.join("conformance/cases/cuda/words.h");
    let include = |folder| format!("-I{}", root.join(folder).display());
    let (samples, headers) = (include("hipsim/samples/c"), include("hipsim/include"));
    for name in ["round_trip", "first_launch"] {
        let source = programs.join(format!("{name}.c"));
        let more = [
            "-include".as_ref(),
            words.as_os_str(),
            samples.as_ref(),
            headers.as_ref(),
        ];
        program(name, source, &simulated, &more)?;
    }
    let source = root.join("hipsim/cuda/tests/c/lookups.c");
    program("lookups", source, &simulated, &[])
}

/// The look-ups of NVIDIA's runtime library that the simulated driver answers.
pub fn look_ups(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let table = build::root().join("xsched-common/data/cuda-versions.tsv");
    let mut list = String::new();
    for line in std::fs::read_to_string(&table)?.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[symbol, _, asked] = &columns[..] else {
            continue;
        };
        for (version, flags) in asked.split(',').filter_map(|one| one.split_once('/')) {
            list += &format!("{} {version} {flags} {symbol}\n", looked_up_as(symbol));
        }
    }
    let asked = bench.dir.join("asked");
    std::fs::write(&asked, list)?;
    let mut command = bench.command(&bench.dir.join("lookups"), "hip", Shim::Without);
    let text = printed(command.arg(&asked))?;
    let answered = text.lines().find_map(|line| line.strip_prefix("answered "));
    let answered: f64 = answered.context("lookups counted nothing")?.parse()?;
    Ok(Metric::at_least(
        "cudart_lookups_answered",
        "count",
        answered,
        LOOK_UPS,
    ))
}

/// The name that a symbol is looked up by: without its version and without the mark of its twin.
fn looked_up_as(symbol: &str) -> &str {
    let twin = symbol
        .strip_suffix("_ptsz")
        .or_else(|| symbol.strip_suffix("_ptds"));
    let plain = twin.unwrap_or(symbol);
    match plain.rsplit_once("_v") {
        Some((base, version)) if version.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => plain,
    }
}

/// Each form of launch once: how many of them the shim counts at its gate.
pub fn launches(bench: &Workbench<'_>) -> anyhow::Result<Metric> {
    let dir = bench.dir.join("counted");
    std::fs::create_dir_all(&dir)?;
    let agent = Agent::start(&dir, Manner::Open)?;
    let mut command = bench.command(&bench.dir.join("forms"), "null", Shim::With);
    printed(command.env("XSCHED_RUN_DIR", &dir))?;
    let counted = agent.stop()?.launches as f64;
    Ok(Metric::at_least(
        "launch_symbols_gated",
        "count",
        counted,
        FORMS,
    ))
}

fn printed(command: &mut Command) -> anyhow::Result<String> {
    let out = command.output().context("cannot start a program")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(out.status.success(), "{command:?} failed: {text}");
    Ok(text)
}
