//! Two batch programs of one class, by weight.

use std::time::Duration;

use super::stage::{Sharing, Stage, Under, work};
use super::{Model, REPETITIONS};
use crate::bench::report::Metric;
use crate::stats::{median, spread};

/// Kernel times, in us, of the program of three quarters and of the other.
const KERNELS: [(u64, u64); 2] = [(60, 60), (5_000, 60)];
const HEAVY: Under<'static> = Under::Shim(&["--class", "normal", "--weight", "300"]);
const LIGHT: Under<'static> = Under::Shim(&["--class", "normal", "--weight", "100"]);
const MEASURE: Duration = Duration::from_secs(2);

pub fn measure(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Vec<Metric>> {
    eprintln!("share_75_25_err_rt, share_sum_pct_rt ...");
    stage.share(Sharing::Weights)?;
    let (mut errors, mut spreads, mut sums) = (Vec::new(), Vec::new(), Vec::new());
    let (mut native, mut each) = (Vec::new(), Vec::new());
    for kernels in KERNELS {
        let (mut got, mut sum) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            native.push((run(stage, kernels, Under::Native, Under::Native)?.0 - 75.0).abs());
            let (heavy, total) = run(stage, kernels, HEAVY, LIGHT)?;
            got.push(heavy);
            sum.push(total);
        }
        let heavy = median(&got);
        errors.push((heavy - 75.0).abs());
        spreads.push(spread(&got));
        sums.push(median(&sum));
        each.push(format!(
            "{} and {} us: {heavy:.1}/{:.1}, together {:.1}%",
            kernels.0,
            kernels.1,
            100.0 - heavy,
            median(&sum)
        ));
    }
    stage.share(Sharing::Default)?;
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        model
            .at_most("share_75_25_err_rt", "points", most(&errors))?
            .beside(median(&native))
            .spread(most(&spreads))
            .detail(each.join("; ")),
        model.at_least(
            "share_sum_pct_rt",
            "%",
            sums.iter().copied().fold(100.0, f64::min),
        )?,
    ])
}

/// The first program's share of what both got, and both's of what a program
/// alone gets, in percent.
fn run(
    stage: &Stage<'_>,
    (first, second): (u64, u64),
    heavy: Under<'_>,
    light: Under<'_>,
) -> anyhow::Result<(f64, f64)> {
    let alone = |us: u64| Ok(stage.batch_alone(&format!("{us}us"), Under::Native)?.per_s);
    let alone: [anyhow::Result<f64>; 2] = [alone(first), alone(second)];
    let programs = [
        stage.batch(&format!("{first}us"), heavy)?,
        stage.batch(&format!("{second}us"), light)?,
    ];
    std::thread::sleep(MEASURE);
    // Both first hear of it, then are waited for: none has the device alone.
    for program in &programs {
        program.ask_to_stop();
    }
    let shares = programs
        .into_iter()
        .zip(alone)
        .map(|(program, alone)| Ok(work(program)?.per_s / alone?))
        .collect::<anyhow::Result<Vec<f64>>>()?;
    let total: f64 = shares.iter().sum();
    Ok((shares[0] / total * 100.0, total * 100.0))
}
