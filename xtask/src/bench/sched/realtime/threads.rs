//! Threads of one process, one of them favoured by the others' hints.

use super::stage::{Stage, Under};
use super::{Model, REPETITIONS, ROOM};
use crate::bench::report::Metric;
use crate::stats::{median, spread};

/// One process under the shim, of the class that everybody has.
const OURS: Under<'static> = Under::Shim(&["--class", "normal"]);

pub fn measure(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Vec<Metric>> {
    eprintln!("threads8_p50_rt, threads30_p50_rt, trainer_server_p99_rt ...");
    let mut metrics = Vec::new();
    for (name, threads) in [("threads8_p50_rt", 8), ("threads30_p50_rt", 30)] {
        let (mut native, mut ours, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            let alone = stage.threads(1, &[], Under::Native)?.p50;
            let bare = stage.threads(threads, &[], Under::Native)?;
            let hinted = stage.threads(threads, &["--by", "hint"], OURS)?;
            native.push(bare.p50 / alone);
            ours.push(hinted.p50 / alone);
            kept.push(hinted.kernels / bare.kernels * 100.0);
        }
        metrics.push(
            model
                .at_most(name, "x", median(&ours))?
                .beside(median(&native))
                .spread(spread(&ours)),
        );
        if threads == 30 {
            let metric = model.at_least("threads30_work_pct_rt", "%", median(&kept))?;
            metrics.push(metric.spread(spread(&kept)));
        }
    }
    // A trainer with one thread of longer kernels, and a server's requests.
    let server = ["--kernels", "64", "--kernel-time", "300us"];
    let (mut native, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let alone = stage.threads(1, &server, Under::Native)?.p99;
        native.push(stage.threads(2, &server, Under::Native)?.p99 / alone);
        let hinted = [&server[..], &["--by", "hint"]].concat();
        ours.push(stage.threads(2, &hinted, OURS)?.p99 / alone);
    }
    metrics.push(
        model
            .at_most("trainer_server_p99_rt", "x", median(&ours))?
            .beside(median(&native))
            .spread(spread(&ours))
            .detail(format!(
                "bound: the model's and {:.0}%",
                (ROOM - 1.0) * 100.0
            )),
    );
    Ok(metrics)
}
