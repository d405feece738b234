//! `cargo xtask gpu-bench`: unmodified PyTorch on a real NVIDIA GPU.
//!
//! One run measures natively, with time slices, with the gate, with both, and
//! under MPS, in turns. The machine with the GPU needs Python with PyTorch and
//! no Rust: `--pack` makes a folder that runs there, and `--report` makes
//! figures and docs/GPU.md of what it brought back. A rehearsal on the
//! simulated driver goes the same way (`--simulated`).

mod cells;
mod clock;
mod metrics;
mod mps;
mod page;
mod parts;
mod plot;
mod raw;
mod stage;
mod tenants;
#[cfg(test)]
mod tests;
mod threads;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use clap::ValueEnum as _;

use crate::bench::report::{self, Report};
use crate::build::{self, Built, Profile};
use crate::platform::Platform;
use crate::progress::Steps;
use cells::Workers;
use clock::Clock;
use raw::Raw;
use stage::{AGENT, Loads, SHIM, Stage, Tools, XTOP};

/// Options of `gpu-bench`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask gpu-bench                     here: needs a GPU, PyTorch, root
  cargo xtask gpu-bench --pack /tmp/bundle  for a machine without Rust:
  sudo /tmp/bundle/run.sh /tmp/results      there, then here again:
  cargo xtask gpu-bench --report /tmp/results/raw.json
  cargo xtask gpu-bench --simulated         a rehearsal, without a GPU")]
pub struct Args {
    /// Make a folder that runs where there is no Rust
    #[arg(long, value_name = "DIR", conflicts_with_all = ["bundle", "report", "simulated"])]
    pack: Option<PathBuf>,
    /// Run from such a folder
    #[arg(long, value_name = "DIR", conflicts_with = "report")]
    bundle: Option<PathBuf>,
    /// Make figures, docs/results and docs/GPU.md of a run, or of several: of
    /// what two have measured the later one counts
    #[arg(long, value_name = "RAW.json", num_args = 1..)]
    report: Vec<PathBuf>,
    /// Measure these parts alone
    #[arg(long, value_enum, value_delimiter = ',')]
    part: Vec<Part>,
    /// Rehearse on the simulated driver: for seconds, and for no figures
    #[arg(long, conflicts_with = "report")]
    simulated: bool,
    /// Where the results go
    #[arg(long, value_name = "DIR", default_value = "gpu-bench")]
    out: PathBuf,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// What is measured, and for how long.
pub struct Plan {
    /// One cell, s.
    cell_s: f64,
    /// Of each cell.
    repetitions: u32,
    /// When nothing new is begun.
    until: Instant,
    progress: Steps,
}

/// A run ends itself before whoever lends the machine does.
const LONGEST: Duration = Duration::from_secs(9 * 60);

/// Files of the bundle beside the programs that are built.
const PROGRAMS: [&str; 5] = [
    "worker.py",
    "threads.py",
    "torch_loads.py",
    "simulated_loads.py",
    "semantics.py",
];

/// Does what the options say.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(dir) = &args.pack {
        return pack(dir, Profile::Release);
    }
    if !args.report.is_empty() {
        let raw = reported(&args.report)?;
        page::write(&raw)?;
        return show(&raw, args);
    }
    let own;
    let dir = match &args.bundle {
        Some(dir) => dir,
        None => {
            own = build::scratch("gpu-bundle")?;
            // A rehearsal's figures mean nothing.
            pack(
                &own,
                if args.simulated {
                    Profile::Dev
                } else {
                    Profile::Release
                },
            )?;
            &own
        }
    };
    fs::create_dir_all(&args.out)?;
    let raw = measure(dir, args);
    if args.bundle.is_none() {
        let _ = fs::remove_dir_all(dir);
    }
    show(&raw?, args)
}

/// Runs put together.
fn reported(files: &[PathBuf]) -> anyhow::Result<Raw> {
    let mut all = Raw::default();
    for file in files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let run: Raw =
            serde_json::from_str(&text).with_context(|| format!("{} is no run", file.display()))?;
        all.add(run);
    }
    Ok(all)
}

fn show(raw: &Raw, args: &Args) -> anyhow::Result<()> {
    let report = report(raw);
    match args.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", report.text()),
    }
    for left_out in &raw.left_out {
        eprintln!("left out: {}: {}", left_out.what, left_out.why);
    }
    Ok(())
}

/// A run's figures, as those of other benchmarks.
fn report(raw: &Raw) -> Report {
    Report::measured(
        raw.machine.clone(),
        raw.kernel.clone(),
        raw.commit.clone(),
        raw.device.clone(),
        metrics::of(raw),
    )
}

/// Everything that a run needs, in one folder.
fn pack(dir: &Path, profile: Profile) -> anyhow::Result<()> {
    eprintln!("building ...");
    let packages = ["xtask", "xsched-agent", "xsched-shim-cuda", "xtop"];
    let built = build::packages(profile, &packages)?;
    fs::create_dir_all(dir)?;
    for name in ["xtask", AGENT, SHIM, XTOP] {
        let to = dir.join(name);
        fs::copy(built.file(name), &to).with_context(|| format!("cannot copy {name}"))?;
        // Symbols are most of it, and bundles travel.
        build::run(Command::new("strip").arg("--strip-debug").arg(&to))?;
    }
    let programs = build::root().join("xtask/programs/gpu");
    for name in PROGRAMS {
        fs::copy(programs.join(name), dir.join(name))?;
    }
    // By a name of its own: the folder is the program's, not a package's.
    let hints = build::root().join("python/src/xsched/__init__.py");
    fs::copy(hints, dir.join("xsched_hints.py"))?;
    fs::write(dir.join("commit"), report::commit())?;
    let script = dir.join("run.sh");
    fs::write(
        &script,
        "#!/bin/sh\n# run.sh OUT [OPTION...]: measures on this machine's GPU; root.\n\
         here=$(cd \"$(dirname \"$0\")\" && pwd)\nout=$1\nshift\n\
         exec \"$here/xtask\" gpu-bench --bundle \"$here\" --out \"$out\" \"$@\"\n",
    )?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    eprintln!("{} is ready", dir.display());
    Ok(())
}

fn measure(dir: &Path, args: &Args) -> anyhow::Result<Raw> {
    let (loads, _runtime) = match args.simulated {
        true => {
            let (path, kept) = simulated()?;
            (Loads::Simulated(path), Some(kept))
        }
        false => (Loads::Torch, None),
    };
    let (cell_s, repetitions) = match args.simulated {
        true => (0.5, 1),
        // Many short turns: the host has its moods, of 5%.
        false => (1.9, 4),
    };
    // Cells of a repetition, and what comes beside them.
    let steps = repetitions * (24 + 9 + 3 + 1) + 26;
    let began = Instant::now();
    let plan = Plan {
        cell_s,
        repetitions,
        until: began + LONGEST,
        progress: Steps::new(steps),
    };
    let mut raw = facts(dir, args)?;
    raw.cell_s = cell_s;
    let tools = Tools {
        dir: fs::canonicalize(dir)?,
        loads,
    };
    let mut stage = Stage::new(tools)?;
    let clock = Clock::start();
    let measured = all(&mut stage, &clock, &plan, args, &mut raw);
    if measured.is_err() {
        fs::write(args.out.join("agent.log"), stage.agent_log())?;
    }
    raw.took_s = began.elapsed().as_secs_f64();
    keep(&raw, args)?;
    measured?;
    Ok(raw)
}

/// Whatever ends the run, what was measured until then is not lost.
fn keep(raw: &Raw, args: &Args) -> anyhow::Result<()> {
    let path = args.out.join("raw.json");
    fs::write(&path, serde_json::to_string(raw)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn all(
    stage: &mut Stage,
    clock: &Clock,
    plan: &Plan,
    args: &Args,
    raw: &mut Raw,
) -> anyhow::Result<()> {
    let wants = |part| args.part.is_empty() || args.part.contains(&part);
    stage.start_agent(&[])?;
    if wants(Part::Grid) {
        grid(stage, clock, plan, args, raw)?;
    }
    for part in Part::value_variants().iter().filter(|part| wants(**part)) {
        plan.progress.step(&format!("{part:?}"));
        let measured = match part {
            Part::Grid => continue,
            _ if Instant::now() >= plan.until => Err(anyhow!("no time was left")),
            Part::Semantics | Part::Threads if args.simulated => Err(anyhow!("not simulated")),
            Part::Mps => mps::measure(stage, clock, plan, raw),
            Part::Alone => parts::overhead(stage, plan, raw),
            Part::Tenants => tenants::measure(stage, plan, raw),
            Part::Shares => parts::shares(stage, plan, raw),
            Part::Semantics => parts::semantics(stage, raw),
            Part::Counts => parts::counts(stage, raw),
            Part::Observer => parts::observed(stage, plan, raw),
            Part::Kills => parts::kills(stage, raw),
            Part::Threads => threads::measure(stage, plan, raw),
        };
        if let Err(why) = measured {
            parts::left_out(raw, &format!("{part:?}"), format!("{why:#}"));
            // Whatever it left.
            let _ = stage.tell(&["mode", "priority"]);
            stage.start_agent(&[])?;
        }
        keep(raw, args)?;
    }
    Ok(())
}

fn grid(
    stage: &Stage,
    clock: &Clock,
    plan: &Plan,
    args: &Args,
    raw: &mut Raw,
) -> anyhow::Result<()> {
    plan.progress.step("programs start");
    let mut workers = Workers::start(stage)?;
    for number in 1..=plan.repetitions {
        cells::repetition(stage, &mut workers, clock, plan, number, raw)?;
        keep(raw, args)?;
        if number == 1 {
            keep_looks(stage, &mut workers, &args.out)?;
        }
    }
    Ok(())
}

/// What can be measured by itself, in the order in which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Services beside batches
    Grid,
    /// The same under MPS, with the gate and without; who goes on when a client is killed
    Mps,
    /// Programs alone, with the shim and without
    Alone,
    /// A service beside two batches
    Tenants,
    /// Two batches by weight
    Shares,
    /// What programs compute
    Semantics,
    /// Launches by three counts
    Counts,
    /// A batch with an agent and without
    Observer,
    /// Who goes on when somebody is killed
    Kills,
    /// Threads of one process, one favoured by hints
    Threads,
}

/// What users see of it, while everything is at work.
fn keep_looks(stage: &Stage, workers: &mut Workers, out: &Path) -> anyhow::Result<()> {
    let Workers {
        service,
        batch,
        gated_service,
        gated_batch,
        ..
    } = workers;
    stage.class(batch, "low")?;
    batch.work("resnet50")?;
    gated_batch.work("resnet50")?;
    gated_service.tell("serve decode 6")?;
    service.tell("serve service 6")?;
    std::thread::sleep(Duration::from_secs(2));
    let pid = batch.pid().to_string();
    let mut looks = String::new();
    for (title, text) in [
        ("xsched-agent check", stage.tell(&["check"])),
        ("xsched-agent ps", stage.tell(&["ps"])),
        (
            "xsched-agent explain --pid",
            stage.tell(&["explain", "--pid", &pid]),
        ),
        (
            "xsched-agent diagnose --pid",
            stage.tell(&["diagnose", "--pid", &pid, "--duration", "1s"]),
        ),
    ] {
        let text = text.unwrap_or_else(|e| format!("{e:#}\n"));
        looks += &format!("$ {title}\n{text}\n");
    }
    let xtop = stage
        .command(stage.tools.file(XTOP))
        .arg("--once")
        .output()?;
    looks += &format!("$ xtop --once\n{}", String::from_utf8_lossy(&xtop.stdout));
    fs::write(out.join("looks.txt"), looks)?;
    batch.stop()?;
    gated_batch.stop()?;
    gated_service.answer::<Vec<f64>>()?;
    service.answer::<Vec<f64>>()?;
    stage.class(batch, "normal")
}

/// The simulated driver, and what keeps its folder.
fn simulated() -> anyhow::Result<(PathBuf, tempfile::TempDir)> {
    let built: Built = build::packages(Profile::Dev, Platform::Cuda.packages())?;
    let folder = tempfile::tempdir()?;
    Platform::Cuda.install(&built, folder.path())?;
    Ok((folder.path().to_owned(), folder))
}

/// Where a run takes place.
fn facts(dir: &Path, args: &Args) -> anyhow::Result<Raw> {
    let told = |command: &mut Command| {
        let output = command.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let query = |what: &str| {
        let mut command = Command::new("nvidia-smi");
        command.args([&format!("--query-gpu={what}"), "--format=csv,noheader"]);
        told(&mut command).and_then(|text| Some(text.lines().next()?.to_owned()))
    };
    let torch =
        || told(Command::new("python3").args(["-c", "import torch; print(torch.__version__)"]));
    let commit = fs::read_to_string(dir.join("commit")).unwrap_or_default();
    let mut raw = Raw {
        machine: report::machine(),
        kernel: report::kernel(),
        commit: commit.trim().to_owned(),
        date: told(Command::new("date").args(["-u", "+%F"])).unwrap_or_default(),
        ..Raw::default()
    };
    if args.simulated {
        raw.device = "simulated".to_owned();
        return Ok(raw);
    }
    raw.device = query("name").context("nvidia-smi finds no GPU: --simulated needs none")?;
    raw.driver = query("driver_version").unwrap_or_default();
    raw.torch = torch().context("python3 has no PyTorch")?;
    ensure!(!raw.device.is_empty(), "the GPU has no name");
    Ok(raw)
}
