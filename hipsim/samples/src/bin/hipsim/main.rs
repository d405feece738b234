//! Workloads (docs/REPLAY.md): made of recordings, shown, and played.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};
use tempfile::TempDir;
use xsched_workload::{Workload, import};

/// Brings a program's pattern of launches to the simulated device.
///
/// `xsched-agent record` writes what a program does, `hipsim trace import`
/// makes a workload of it, `hipsim replay` plays that, as `xsched-agent
/// what-if` does in virtual time.
#[derive(Parser)]
#[command(after_help = "\
Examples:
  sudo xsched-agent record 4242 -o serve.pftrace --duration 10
  hipsim trace import serve.pftrace -o serve.json --origin 'serve.py on MI300X, 2026-11-30'
  hipsim trace show serve.json
  hipsim replay serve.json")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Make a workload of a recording, or show one
    #[command(subcommand)]
    Trace(Trace),
    /// Play all programs of a workload at once, each in a process of its own
    Replay(Replay),
}

#[derive(Subcommand)]
enum Trace {
    /// Make a workload of what `xsched-agent record` wrote
    ///
    /// Kernels' times are worked out from the ends of waits: record the program
    /// alone on its device. The result says what is estimated (limits).
    Import {
        /// The recording
        recording: PathBuf,
        /// The workload
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// What it is [default: the recording's file name]
        #[arg(long)]
        name: Option<String>,
        /// Where it comes from: machine, program, date [default: this tool and
        /// the recording's name]
        #[arg(long)]
        origin: Option<String>,
    },
    /// Print what a workload holds
    Show {
        /// The workload
        file: PathBuf,
    },
}

#[derive(clap::Args)]
struct Replay {
    /// The workload
    file: PathBuf,
    /// Only these programs
    #[arg(long)]
    program: Vec<String>,
    /// How long, for steps that are repeated
    #[arg(long, default_value = "5s")]
    duration: String,
    /// Folder of the HIP runtime [default: the simulator, unless LD_LIBRARY_PATH
    /// is set]
    #[arg(long)]
    runtime: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Trace(Trace::Import {
            recording,
            output,
            name,
            origin,
        }) => make(&recording, &output, name, origin),
        Task::Trace(Trace::Show { file }) => show(&file),
        Task::Replay(options) => replay(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("hipsim: {message}");
            ExitCode::from(2)
        }
    }
}

fn make(
    recording: &Path,
    output: &Path,
    name: Option<String>,
    origin: Option<String>,
) -> Result<(), String> {
    let bytes = xsched_workload::read_file(recording).map_err(|bad| bad.to_string())?;
    let file = recording.file_name().unwrap_or_default().to_string_lossy();
    let name = name.unwrap_or_else(|| file.clone().into_owned());
    let origin = origin.unwrap_or_else(|| format!("hipsim trace import of {file}"));
    let workload = import::import(&bytes, &name, &origin).map_err(|error| error.to_string())?;
    fs::write(output, workload.text())
        .map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    print(&workload);
    Ok(())
}

fn show(file: &Path) -> Result<(), String> {
    print(&Workload::read(file).map_err(|bad| bad.to_string())?);
    Ok(())
}

fn print(workload: &Workload) {
    println!("{}\norigin: {}", workload.name, workload.origin);
    for limit in &workload.limits {
        println!("limit: {limit}");
    }
    for program in &workload.programs {
        let totals = program.totals();
        println!(
            "{}: {} threads, {} launches of {:.3} ms in all, {} waits, {} requests",
            program.name,
            program.threads.len(),
            totals.launches,
            totals.device_ns as f64 / 1e6,
            totals.waits,
            totals.arrivals,
        );
    }
}

fn replay(options: &Replay) -> Result<(), String> {
    let workload = Workload::read(&options.file).map_err(|bad| bad.to_string())?;
    let here = std::env::current_exe().map_err(|error| error.to_string())?;
    let here = here.parent().unwrap_or(Path::new(".")).to_owned();
    let simulator = simulator(options, &here)?;
    let runtime = simulator.as_ref().map(TempDir::path);
    let runtime = runtime.or(options.runtime.as_deref());
    let mut children = Vec::new();
    for program in &workload.programs {
        if !options.program.is_empty() && !options.program.contains(&program.name) {
            continue;
        }
        let mut command = Command::new(here.join("hipsim-replay"));
        command
            .arg(&options.file)
            .args(["--program", &program.name, "--duration", &options.duration])
            .stdout(Stdio::piped());
        if let Some(runtime) = runtime {
            command.env("LD_LIBRARY_PATH", runtime);
        }
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start hipsim-replay: {error}"))?;
        children.push(child);
    }
    if children.is_empty() {
        return Err("no such program: `hipsim trace show` lists them".to_owned());
    }
    children.into_iter().try_for_each(finish)
}

fn finish(child: Child) -> Result<(), String> {
    let out = child
        .wait_with_output()
        .map_err(|error| error.to_string())?;
    print!("{}", String::from_utf8_lossy(&out.stdout));
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("a program ended with {}", out.status)),
    }
}

/// A folder with the simulator under the runtime's name, removed at the end:
/// none where another runtime is to be used. Nobody else can write to it, since
/// code is loaded from it.
fn simulator(options: &Replay, here: &Path) -> Result<Option<TempDir>, String> {
    if options.runtime.is_some() || std::env::var_os("LD_LIBRARY_PATH").is_some() {
        return Ok(None);
    }
    let library = here.join("libhipsim.so");
    let lay_out = || -> io::Result<TempDir> {
        let dir = tempfile::Builder::new().prefix("hipsim-").tempdir()?;
        fs::copy(&library, dir.path().join("libamdhip64.so.5"))?;
        Ok(dir)
    };
    let dir = lay_out();
    dir.map(Some)
        .map_err(|error| format!("cannot lay {} out: {error}", library.display()))
}
