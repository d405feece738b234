//! The same scenarios in real time: hipsim, the real shim, the real agent.
//! This machine is noisy, so each figure is a median over repetitions of the
//! P90 over alone, and its bound is the model's figure and a quarter.

mod beside;
mod sharing;
mod stage;
mod tenants;

use anyhow::Context as _;

use crate::bench::report::Metric;
use crate::bench::workbench::Workbench;
use crate::build::Built;
use stage::Stage;

/// Of everything, in turns.
const REPETITIONS: usize = 3;
/// How far a figure may be from the model's.
const ROOM: f64 = 1.25;

/// All of them; `modelled` has the figures that they are held against.
pub fn measure(built: &Built, modelled: &[Metric]) -> anyhow::Result<Vec<Metric>> {
    let bench = Workbench::new(built)?;
    hipsim::install::install(&built.file("libhipsim.so"), &bench.dir.join("hip"))?;
    let stage = Stage::new(&bench)?;
    let model = Model(modelled);
    let mut metrics = beside::measure(&stage, &model)?;
    metrics.extend(sharing::measure(&stage, &model)?);
    metrics.extend(tenants::measure(&stage, &model)?);
    Ok(metrics)
}

/// What the model found.
struct Model<'m>(&'m [Metric]);

impl Model<'_> {
    /// The most that the real figure of `name` may be.
    fn most(&self, name: &str) -> anyhow::Result<f64> {
        Ok(self.value(name)? * ROOM)
    }

    /// The least.
    fn least(&self, name: &str) -> anyhow::Result<f64> {
        Ok(self.value(name)? / ROOM)
    }

    fn value(&self, name: &str) -> anyhow::Result<f64> {
        let metric = self.0.iter().find(|metric| metric.name == name);
        metric
            .map(|metric| metric.value)
            .with_context(|| format!("the model has no {name}"))
    }
}
