//! Plays the experiments: each variant in turn, again and again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use serde::Deserialize;

use super::cast::{Cast, Part, Variant};
use super::samples::{Cell, Played, Raw};
use crate::bench::sched::realtime::stage::{Sharing, Stage, Under};
use crate::child::Guarded;
use crate::progress::Steps;

/// Not measured at first: caps and gaps are learnt, queues reach their depth.
const WARM_UP: Duration = Duration::from_millis(600);
/// From the services' start to the batches': a service is there first.
const JOINED: Duration = Duration::from_millis(150);

/// What `hipsim-replay` prints, as far as it is used.
#[derive(Deserialize)]
struct Report {
    launches: u64,
    device_ns: u64,
    seconds: f64,
    threads: Vec<Requests>,
}

#[derive(Deserialize)]
struct Requests {
    arrived_ns: Vec<u64>,
    took_ns: Vec<u64>,
}

/// All experiments, interleaved: one repetition of each variant of each, then
/// the next repetition.
pub fn measure(
    stage: &Stage<'_>,
    casts: &[Cast],
    cell: Duration,
    repetitions: u32,
    steps: &Steps,
    raw: &mut Raw,
) -> anyhow::Result<()> {
    for repetition in 1..=repetitions {
        for cast in casts {
            stage.share(cast.sharing)?;
            for variant in Variant::ALL {
                let name = variant.name();
                steps.step(&format!("{} {name}, repetition {repetition}", cast.key));
                let programs = play(stage, cast, variant, cell, repetition)
                    .with_context(|| format!("{} {name}", cast.key))?;
                raw.cells.push(Cell {
                    experiment: cast.key.to_owned(),
                    variant,
                    repetition,
                    programs,
                });
            }
        }
    }
    stage.share(Sharing::Default)
}

fn play(
    stage: &Stage<'_>,
    cast: &Cast,
    variant: Variant,
    cell: Duration,
    repetition: u32,
) -> anyhow::Result<Vec<Played>> {
    let workload = cast.workload(variant);
    let file = stage.bench().dir.join("workload.json");
    std::fs::write(&file, workload.text())?;
    let mut playing = Vec::new();
    // Services first.
    for batches in [false, true] {
        for (number, program) in workload.programs.iter().enumerate() {
            let role = cast.role(&program.name).context("a role")?;
            if (role.part == Part::Batch) != batches {
                continue;
            }
            let class = role.class.map(|class| class.to_string());
            let terms: Vec<&str> = match &class {
                Some(class) => vec!["--class", class],
                None => Vec::new(),
            };
            let under = match variant {
                Variant::Alone | Variant::Native => Under::Native,
                Variant::Ours => Under::Shim(&terms),
            };
            let seed = u64::from(repetition) * 100 + number as u64;
            playing.push((
                program.name.clone(),
                start(stage, &file, &program.name, under, cell, seed)?,
            ));
        }
        if !batches {
            std::thread::sleep(JOINED);
        }
    }
    playing
        .into_iter()
        .map(|(name, program)| {
            let text = program.finish((WARM_UP + cell) * 4 + Duration::from_secs(10))?;
            played(name, &text)
        })
        .collect()
}

fn start(
    stage: &Stage<'_>,
    file: &Path,
    name: &str,
    under: Under<'_>,
    cell: Duration,
    seed: u64,
) -> anyhow::Result<Guarded> {
    let mut command = stage.program("hipsim-replay", under);
    let ms = |time: Duration| format!("{}ms", time.as_millis());
    command
        .arg(file)
        .args(["--program", name])
        .args(["--warmup", &ms(WARM_UP), "--duration", &ms(cell)])
        .args(["--seed", &seed.to_string()])
        // Copies of callers' libraries go where everything of the run goes.
        .env("TMPDIR", PathBuf::from(&stage.bench().dir));
    Guarded::start(&mut command, name)
}

fn played(program: String, text: &str) -> anyhow::Result<Played> {
    let report: Report = serde_json::from_str(text.trim()).context("a replay's report")?;
    let first = report.threads.into_iter().next().context("no thread")?;
    Ok(Played {
        program,
        seconds: report.seconds,
        launches: report.launches,
        device_ns: report.device_ns,
        arrived_ns: first.arrived_ns,
        took_ns: first.took_ns,
    })
}
