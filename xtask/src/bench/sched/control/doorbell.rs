//! From a high client's first launch to a low one's closed gate.

use xsched_common::units::Class;

use super::{puppet, set_class};
use crate::bench::report::Metric;
use crate::bench::workbench::Workbench;
use crate::stats::{median, quantile, spread};

const RINGS: usize = 2_000;

/// The rings' times, us.
pub fn times(bench: &Workbench<'_>, rings: usize) -> anyhow::Result<Vec<f64>> {
    let run_dir = bench.run_dir();
    let mut low = puppet(bench, &["held"])?;
    let page = low.line()?;
    set_class(&run_dir, low.pid(), Class::Low)?;
    let mut high = puppet(bench, &["ring", &page, &rings.to_string()])?;
    high.line()?;
    set_class(&run_dir, high.pid(), Class::High)?;
    high.tell("go")?;
    let mut times = Vec::with_capacity(rings);
    for _ in 0..rings {
        times.push(high.line()?.parse::<f64>()? / 1_000.0);
    }
    Ok(times)
}

pub fn measure(bench: &Workbench<'_>) -> anyhow::Result<Vec<Metric>> {
    let _agent = bench.start_agent(&["--no-bpf"])?;
    let times = times(bench, RINGS)?;
    let (p50, p99) = (median(&times), quantile(&times, 0.99));
    Ok(vec![
        Metric::at_most("doorbell_p50_us", "us", p50, 45.0).spread(spread(&times)),
        Metric::at_most("doorbell_p99_us", "us", p99, 300.0),
    ])
}
