//! Programs built with the compiler's sanitizers end as they end natively.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench, cc};
use crate::build::{self, Built};

/// A sanitizer: its name, its flags, and what its programs do wrong.
type Sanitizer = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const SANITIZERS: [Sanitizer; 5] = [
    ("TSan", &["-fsanitize=thread"], &["race"]),
    (
        "static ASan",
        &["-fsanitize=address", "-static-libasan"],
        &["overflow", "leak"],
    ),
    ("ASan", &["-fsanitize=address"], &["overflow", "leak"]),
    ("LSan", &["-fsanitize=leak"], &["leak"]),
    (
        "UBSan",
        &["-fsanitize=undefined", "-fno-sanitize-recover=all"],
        &["undefined"],
    ),
];

const RUNS: usize = 3;

/// How a program is started.
#[derive(Clone, Copy)]
enum Start {
    Natively,
    /// By LD_PRELOAD alone.
    Preloaded,
    /// By `xsched-agent run`.
    Run,
}

/// 1 if every program ends with the exit code that it has natively.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    eprintln!("programs with sanitizers ...");
    let bench = Workbench::new(built)?;
    let hip = bench.dir.join("hip");
    hipsim::install::install(&built.file("libhipsim.so"), &hip)?;
    let _agent = bench.start_agent(&["--no-bpf"])?;
    let (mut runs, mut differ) = (0, Vec::new());
    for (name, flags, errors) in SANITIZERS {
        let program = compile(&bench, &hip, name, flags)?;
        for what in errors.iter().chain(&["nothing"]) {
            // By turns, so that the machine is the same for both.
            for _ in 0..RUNS {
                let native = exit_code(&bench, &program, what, Start::Natively)?;
                let mut ways = vec![("run", Start::Run)];
                // A runtime that is a library of its own must come first in
                // LD_PRELOAD, which only `run` sees to.
                if name != "ASan" {
                    ways.push(("preloaded", Start::Preloaded));
                }
                for (way, start) in ways {
                    runs += 1;
                    let code = exit_code(&bench, &program, what, start)?;
                    if code != native {
                        differ.push(format!(
                            "{name} {what} {way}: {code:?}, natively {native:?}"
                        ));
                    }
                }
            }
        }
    }
    let ok = if differ.is_empty() { 1.0 } else { 0.0 };
    let detail = if differ.is_empty() {
        format!("{runs} runs beside native ones")
    } else {
        differ.join("; ")
    };
    Ok(vec![
        Metric::at_least("asan_tsan_ok", "", ok, 1.0)
            .beside(1.0)
            .detail(detail),
    ])
}

/// The program of the shim's own tests.
fn compile(
    bench: &Workbench<'_>,
    hip: &Path,
    name: &str,
    flags: &[&str],
) -> anyhow::Result<PathBuf> {
    let root = build::root();
    let source = root.join("xsched-shim/tests/programs/simulated/sanitized.c");
    let program = bench.dir.join(name.replace(' ', "-"));
    let (include, runtime) = (root.join("hipsim/include"), hip.join("libamdhip64.so.6"));
    let mut arguments: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
    arguments.extend(["-I".as_ref(), include.as_os_str(), source.as_os_str()]);
    arguments.extend([runtime.as_os_str(), "-pthread".as_ref()]);
    arguments.extend(["-o".as_ref(), program.as_os_str()]);
    cc(&arguments).with_context(|| format!("the compiler has no {name}"))?;
    Ok(program)
}

fn exit_code(
    bench: &Workbench<'_>,
    program: &Path,
    what: &str,
    start: Start,
) -> anyhow::Result<Option<i32>> {
    let mut command = match start {
        Start::Natively => bench.command(program, "hip", Shim::Without),
        Start::Preloaded => bench.command(program, "hip", Shim::With),
        Start::Run => {
            let agent = bench.built.file("xsched-agent");
            let mut command: Command = bench.command(&agent, "hip", Shim::Without);
            command.args(["run", "--shim"]);
            command.arg(bench.built.file("libxsched_shim.so"));
            command.arg("--").arg(program);
            command
        }
    };
    // The device is not built with it, and its own locks are unknown.
    command
        .arg(what)
        .env("TSAN_OPTIONS", "ignore_noninstrumented_modules=1");
    let output = command.output().context("cannot start a program")?;
    Ok(output.status.code())
}
