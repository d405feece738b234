//! The observed program, and the observers that are set on it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};

use super::super::workbench::{Shim, Workbench, cc, null_runtime};
use crate::build;

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

/// A child that is talked to by lines and killed when it goes out of scope.
pub struct Dialogue {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Dialogue {
    pub fn start(command: &mut Command, name: &str) -> anyhow::Result<Dialogue> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("its output is piped")?;
        Ok(Dialogue {
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
            name: name.to_owned(),
        })
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

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its next line.
    pub fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("{} ended early: {}", self.name, self.child.wait()?);
        }
        Ok(line.trim().to_owned())
    }

    pub fn ask(&mut self, command: &str) -> anyhow::Result<String> {
        let input = self.input.as_mut().context("its input is open")?;
        writeln!(input, "{command}").with_context(|| format!("{} has ended", self.name))?;
        self.line()
    }

    /// The number that answers a command.
    pub fn number(&mut self, command: &str) -> anyhow::Result<f64> {
        let answer = self.ask(command)?;
        answer
            .parse()
            .with_context(|| format!("{} answered {answer:?} to {command:?}", self.name))
    }

    /// Ends its input; its last line.
    pub fn finish(mut self) -> anyhow::Result<String> {
        drop(self.input.take());
        self.line()
    }
}

/// Our observer's parts by themselves (xsched-agent/examples/observing.rs).
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
