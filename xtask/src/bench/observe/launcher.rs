//! The observed program, and the observers that are set on it.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use super::super::workbench::{Shim, Workbench, cc, null_runtime};
use crate::build;
use crate::dialogue::Dialogue;

/// Runtimes by what their functions begin with, and the program.
pub fn compile(bench: &Workbench<'_>) -> anyhow::Result<()> {
    // With a frame pointer, functions begin as those of real runtimes do.
    let frame = "-fno-omit-frame-pointer";
    null_runtime(&bench.dir.join("push"), &[frame, "-fcf-protection=none"])?;
    null_runtime(
        &bench.dir.join("endbr64"),
        &[frame, "-fcf-protection=branch"],
    )?;
    let root = build::root();
    let include = format!("-I{}", root.join("xsched-shim/tests/programs").display());
    let arguments: [&OsStr; 7] = [
        include.as_ref(),
        &root.join("xtask/programs/launcher.c").into_os_string(),
        &bench.dir.join("push/libamdhip64.so.5").into_os_string(),
        "-ldl".as_ref(),
        "-pthread".as_ref(),
        "-o".as_ref(),
        &bench.dir.join("launcher").into_os_string(),
    ];
    cc(&arguments)
}

/// The launcher on a runtime, with further libraries.
pub fn launcher(
    bench: &Workbench<'_>,
    runtime: &str,
    shim: Shim,
    libraries: &[PathBuf],
) -> anyhow::Result<Dialogue> {
    let mut command = bench.command(&bench.dir.join("launcher"), runtime, shim);
    Dialogue::start(command.args(libraries), "the launcher")
}

/// Our observer's parts by themselves (crates/xsched-observe/examples/observing.rs).
pub fn observing(bench: &Workbench<'_>, arguments: &[&str]) -> anyhow::Result<Dialogue> {
    let mut command = Command::new(bench.built.file("examples/observing"));
    let mut observing = Dialogue::start(command.args(arguments), "the observer")?;
    let ready = observing.line()?;
    anyhow::ensure!(ready == "ready", "the observer says {ready:?}");
    Ok(observing)
}

/// What it counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    pub events: u64,
    pub counted: u64,
    pub dropped: u64,
}

impl Counted {
    /// Stops an observer.
    pub fn of(observing: Dialogue) -> anyhow::Result<Counted> {
        let line = observing.finish()?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [events, counted, dropped] = numbers[..] else {
            bail!("the observer counted {line:?}");
        };
        Ok(Counted {
            events,
            counted,
            dropped,
        })
    }
}
