//! Three classes at once, and a video call beside a job.

use std::time::Duration;

use super::stage::{HIGH, LOW, MEASURE, REQUESTS, Requests, Sharing, Stage, Under, work};
use super::{Model, REPETITIONS, ROOM};
use crate::bench::report::Metric;
use crate::stats::{median, spread};

pub fn measure(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Vec<Metric>> {
    let mut metrics = vec![three(stage)?];
    metrics.extend(video(stage, model)?);
    Ok(metrics)
}

const REALTIME: Requests = Requests {
    kernels: 10,
    period: Duration::from_millis(50),
    ..REQUESTS
};
const NORMAL: Requests = Requests {
    kernels: 60,
    ..REQUESTS
};

/// A tenth, three tenths and all that is left, as the model's.
fn three(stage: &Stage<'_>) -> anyhow::Result<Metric> {
    eprintln!("three_tenants_order_ok_rt ...");
    let (mut realtime, mut normal, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let rate = stage.batch_alone("60us", Under::Native)?.per_s;
        let top_alone = stage.service(REALTIME, MEASURE, Under::Native)?.finish()?;
        let mid_alone = stage.service(NORMAL, MEASURE, Under::Native)?.finish()?;
        let batch = stage.batch("60us", LOW)?;
        let top = Under::Shim(&["--class", "realtime"]);
        let top = stage.service(REALTIME, MEASURE, top)?;
        let mid = Under::Shim(&["--class", "normal"]);
        let mid = stage.service(NORMAL, MEASURE, mid)?;
        let (top, mid) = (top.finish()?, mid.finish()?);
        let got = work(batch)?.per_s;
        realtime.push(top.p90 / top_alone.p90);
        normal.push(mid.p90 / mid_alone.p90);
        kept.push(got / (rate * (1.0 - top.busy - mid.busy)) * 100.0);
    }
    let (top, mid, low) = (median(&realtime), median(&normal), median(&kept));
    // The order is the model's; the low program keeps 97%, with the room.
    let in_order = top <= mid && low >= 97.0 / ROOM;
    Ok(Metric::at_least(
        "three_tenants_order_ok_rt",
        "",
        f64::from(u8::from(in_order)),
        1.0,
    )
    .detail(format!(
        "P90 over alone: realtime {top:.2}, normal {mid:.2}; low keeps {low:.1}% of the rest"
    )))
}

/// 25 frames per second of 15 ms.
const CALL: Requests = Requests {
    kernels: 30,
    period: Duration::from_millis(40),
    gaps: "fixed",
    ..REQUESTS
};

/// The call beside a job of 1.5 s, once per repetition.
fn video(stage: &Stage<'_>, model: &Model<'_>) -> anyhow::Result<Vec<Metric>> {
    eprintln!("video_p99_rt, video_batch_s_rt ...");
    let run = |call: Under<'_>, job: Under<'_>| -> anyhow::Result<(f64, f64)> {
        let call = stage.service(CALL, MEASURE + Duration::from_secs(1), call)?;
        let took = stage.job("300us", 5_000, job)?;
        Ok((call.finish()?.p90, took))
    };
    let (mut native, mut ours, mut without) = (Vec::new(), Vec::new(), Vec::new());
    let (mut native_job, mut our_job) = (Vec::new(), Vec::new());
    for _ in 0..REPETITIONS {
        let alone = stage.service(CALL, MEASURE, Under::Native)?.finish()?.p90;
        let (frames, job) = run(Under::Native, Under::Native)?;
        native.push(frames / alone);
        native_job.push(job);
        let (frames, job) = run(HIGH, LOW)?;
        ours.push(frames / alone);
        our_job.push(job);
        stage.share(Sharing::NoLinger)?;
        without.push(run(HIGH, LOW)?.0 / alone);
        stage.share(Sharing::Default)?;
    }
    Ok(vec![
        model
            .at_most("video_p99_rt", "x", median(&ours))?
            .beside(median(&native))
            .spread(spread(&ours))
            .detail(format!(
                "P90 of a frame; without linger {:.3}",
                median(&without)
            )),
        model
            .at_most("video_batch_s_rt", "s", median(&our_job))?
            .beside(median(&native_job))
            .spread(spread(&our_job)),
    ])
}
