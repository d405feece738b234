//! Threads of one process, one of them favoured by the others' hints.

use anyhow::{Context as _, ensure};
use serde::Deserialize;
use xsched_common::units::Class;

use super::Plan;
use super::raw::{Raw, Threads};
use super::stage::{Stage, Under};
use crate::stats::{median, quantile};

/// Threads, of which the first is measured.
const COUNTS: [u32; 2] = [8, 30];

/// How the others stand to it.
const NATIVE: &str = "native";
const HINTED: &str = "hinted";
const ALONE: &str = "alone";

#[derive(Deserialize)]
struct Printed {
    latencies_ms: Vec<f64>,
    all_per_s: f64,
    joined: bool,
}

/// Alone, natively and with hints under the shim, in turns.
pub fn measure(stage: &Stage, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    for repetition in 1..=plan.repetitions {
        for count in COUNTS {
            for (how, threads, by, under) in [
                (ALONE, 1, "none", Under::Nothing),
                (NATIVE, count, "none", Under::Nothing),
                (HINTED, count, "hint", Under::Shim(Class::Normal)),
            ] {
                plan.progress.step(&format!("{count} threads {how}"));
                let seconds = plan.cell_s.to_string();
                let arguments = [&threads.to_string(), by, &seconds];
                let mut command = stage.program("threads.py", under)?;
                let output = command.args(arguments).output()?;
                ensure!(
                    output.status.success(),
                    "threads.py: {}",
                    String::from_utf8_lossy(&output.stderr)
                );
                let text = String::from_utf8_lossy(&output.stdout);
                let line = text.lines().last().unwrap_or_default();
                let printed: Printed = serde_json::from_str(line)
                    .with_context(|| format!("threads.py printed {line:?}"))?;
                ensure!(
                    printed.joined == (how == HINTED),
                    "threads.py has{} joined",
                    if printed.joined { "" } else { " not" }
                );
                raw.threads.push(Threads {
                    repetition,
                    threads: count,
                    how: how.to_owned(),
                    p50_ms: median(&printed.latencies_ms),
                    p99_ms: quantile(&printed.latencies_ms, 0.99),
                    all_per_s: printed.all_per_s,
                });
            }
        }
    }
    Ok(())
}

/// The favoured thread's P50 as a multiple of alone, that natively, and the work of
/// all in percent of what is done natively: with `threads` threads, of each
/// repetition.
pub fn compared(raw: &Raw, threads: u32) -> Vec<[f64; 3]> {
    let of = |how: &str, repetition| {
        raw.threads.iter().find(|cell| {
            (cell.threads, cell.how.as_str(), cell.repetition) == (threads, how, repetition)
        })
    };
    let hinted = raw.threads.iter().filter(|cell| cell.how == HINTED);
    hinted
        .filter(|cell| cell.threads == threads)
        .filter_map(|cell| {
            let alone = of(ALONE, cell.repetition)?;
            let native = of(NATIVE, cell.repetition)?;
            Some([
                cell.p50_ms / alone.p50_ms,
                native.p50_ms / alone.p50_ms,
                cell.all_per_s / native.all_per_s * 100.0,
            ])
        })
        .collect()
}
