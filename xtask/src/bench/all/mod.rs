//! `bench all`: the study that xsched began with, experiment by experiment,
//! in one run.
//!
//! Every program is a workload (docs/REPLAY.md) that `hipsim-replay` plays,
//! alone, natively and under xsched in turns; the same workloads go through
//! the model in virtual time. Raw samples are kept.

mod cast;
mod compare;
mod growth;
mod html;
mod metrics;
mod overhead;
mod page;
mod play;
mod predict;
mod real;
mod samples;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::report::{self, Report};
use super::sched::realtime::stage::Stage;
use super::workbench::Workbench;
use crate::build::{self, Built, Profile};
use crate::progress::Steps;
use cast::Cast;
use samples::Raw;

/// Options of `bench all`.
#[derive(clap::Args)]
#[group(id = "all")]
pub struct Args {
    /// Of all: at most twelve minutes on two cores
    #[arg(long)]
    quick: bool,
    /// Of all: where results.json, raw.json and report.html go
    #[arg(long, value_name = "DIR", default_value = "bench-all")]
    out: PathBuf,
    /// Of all: also say how each figure differs from those of an earlier run
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Of all: make the report and docs/BENCHMARKS.md of what is in --out,
    /// without measuring
    #[arg(long)]
    report: bool,
    /// Of all: only these experiments (two_heavy, resnet, ...); no overhead, no
    /// growth
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Of all: repetitions of each variant [default: 7, or 5 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repetitions: Option<u32>,
    /// Of all: how the parts are built; in dev a decision of the agent takes
    /// ten times as long, and every request has two
    #[arg(long, value_enum, default_value_t = Profile::Release)]
    profile: Profile,
}

/// How long and how often.
struct Plan {
    cell: Duration,
    repetitions: u32,
    growth: &'static growth::Sizes,
}

const QUICK: Plan = Plan {
    cell: Duration::from_millis(1_200),
    repetitions: 5,
    growth: &growth::QUICK,
};

const FULL: Plan = Plan {
    cell: Duration::from_secs(4),
    repetitions: 7,
    growth: &growth::FULL,
};

/// What runs; nothing else is built in release.
const PACKAGES: [&str; 6] = [
    "hipsim",
    "hipsim-samples",
    "cudasim",
    "xsched-agent",
    "xsched-shim",
    "xsched-shim-cuda",
];

/// Measures, reports, and says whether a bound was missed. `runtime` is a real
/// HIP runtime in place of the simulator.
pub fn run(args: &Args, json: bool, runtime: Option<&Path>) -> anyhow::Result<ExitCode> {
    let raw = match args.report {
        true => {
            let file = args.out.join("raw.json");
            let text = fs::read_to_string(&file)
                .with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_str(&text).with_context(|| format!("{} is no run", file.display()))?
        }
        false => measured(args, runtime)?,
    };
    let casts = cast::all();
    let report = Report::measured(
        raw.machine.clone(),
        raw.kernel.clone(),
        raw.commit.clone(),
        raw.device.clone(),
        metrics::of(&raw),
    );
    let compared = args
        .compare
        .as_deref()
        .map(|old| compare::with(&report, old))
        .transpose()?;
    fs::write(
        args.out.join("results.json"),
        serde_json::to_string_pretty(&report)? + "\n",
    )?;
    let real = real::of_docs();
    let page = html::page(&raw, &casts, &report, real.as_ref(), compared.as_deref())?;
    fs::write(args.out.join("report.html"), page)?;
    if args.report {
        page::update(&raw, &casts, &report, real.as_ref())?;
    }
    match json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print!("{}", report.text()),
    }
    if let Some(compared) = compared {
        eprint!("\n{}", compare::text(&compared));
    }
    for left_out in &raw.left_out {
        eprintln!("left out: {}: {}", left_out.what, left_out.why);
    }
    eprintln!("the report is {}", args.out.join("report.html").display());
    Ok(ExitCode::from(u8::from(!report.ok())))
}

fn measured(args: &Args, runtime: Option<&Path>) -> anyhow::Result<Raw> {
    let casts = chosen(&args.only)?;
    eprintln!("building ...");
    let built = build::packages(args.profile, &PACKAGES)?;
    fs::create_dir_all(&args.out)?;
    let standard = if args.quick { &QUICK } else { &FULL };
    let plan = &Plan {
        repetitions: args.repetitions.unwrap_or(standard.repetitions),
        ..*standard
    };
    let began = Instant::now();
    let mut raw = Raw {
        machine: report::machine(),
        kernel: report::kernel(),
        commit: report::commit(),
        device: match runtime {
            Some(file) => real::device(file)?,
            None => "simulated (hipsim)".to_owned(),
        },
        date: today()?,
        build: match args.profile {
            Profile::Dev => "a debug build: what runs in programs is optimised, the agent is not",
            Profile::Release => "a release build",
        }
        .to_owned(),
        cell_s: plan.cell.as_secs_f64(),
        repetitions: plan.repetitions,
        ..Raw::default()
    };
    let done = all(args, plan, &casts, &built, runtime, &mut raw);
    raw.took_s = began.elapsed().as_secs_f64();
    // Whatever ends the run, what was measured until then is not lost.
    fs::write(args.out.join("raw.json"), serde_json::to_string(&raw)?)?;
    done?;
    Ok(raw)
}

fn all(
    args: &Args,
    plan: &Plan,
    casts: &[Cast],
    built: &Built,
    runtime: Option<&Path>,
    raw: &mut Raw,
) -> anyhow::Result<()> {
    let whole = args.only.is_empty();
    let cells = casts.len() as u32 * 3 * plan.repetitions;
    let beside = match whole && runtime.is_none() {
        true => 2 * plan.repetitions + plan.growth.steps(),
        false => 0,
    };
    let steps = Steps::new(cells + beside);
    {
        let bench = Workbench::new(built)?;
        let hip = bench.dir.join("hip");
        match runtime {
            Some(file) => real::install(file, &hip)?,
            None => hipsim::install::install(&built.file("libhipsim.so"), &hip)?,
        }
        let stage = Stage::new(&bench)?;
        play::measure(&stage, casts, plan.cell, plan.repetitions, &steps, raw)?;
    }
    // The model is hipsim's device.
    if runtime.is_none() {
        eprintln!("the same in virtual time ...");
        raw.predictions = casts
            .iter()
            .flat_map(|cast| predict::of(cast, raw))
            .collect();
    }
    if beside > 0 {
        overhead::measure(built, plan.cell, plan.repetitions, &steps, raw)?;
        growth::measure(built, plan.growth, &steps, raw);
    }
    Ok(())
}

fn chosen(only: &[String]) -> anyhow::Result<Vec<Cast>> {
    let mut casts = cast::all();
    for name in only {
        let names: Vec<&str> = casts.iter().map(|cast| cast.key).collect();
        ensure!(
            names.contains(&name.as_str()),
            "no experiment {name:?}: there are {}",
            names.join(", ")
        );
    }
    casts.retain(|cast| only.is_empty() || only.iter().any(|name| name == cast.key));
    Ok(casts)
}

fn today() -> anyhow::Result<String> {
    let out = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}
