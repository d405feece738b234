//! The same scenarios in real time: hipsim, the real shim, the real agent.
//! This machine is noisy, so each figure is a median over repetitions of the
//! P90 over alone, and its bound is the model's figure and a quarter.

mod asynchronous;
mod beside;
mod sharing;
pub mod stage;
mod tenants;
mod threads;

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
    metrics.extend(asynchronous::measure(&stage, &model)?);
    metrics.extend(threads::measure(&stage, &model)?);
    Ok(metrics)
}

/// What the model found, under the names without `_rt`.
struct Model<'m>(&'m [Metric]);

impl Model<'_> {
    /// A real figure that must not exceed the model's and the room.
    fn at_most(
        &self,
        name: &'static str,
        unit: &'static str,
        value: f64,
    ) -> anyhow::Result<Metric> {
        let bound = self.value(name)? * ROOM;
        Ok(Metric::at_most(name, unit, value, bound))
    }

    /// One that must not fall below the model's less the room.
    fn at_least(
        &self,
        name: &'static str,
        unit: &'static str,
        value: f64,
    ) -> anyhow::Result<Metric> {
        let bound = self.value(name)? / ROOM;
        Ok(Metric::at_least(name, unit, value, bound))
    }

    fn value(&self, name: &str) -> anyhow::Result<f64> {
        let modelled = name.strip_suffix("_rt");
        let metric = modelled.and_then(|of| self.0.iter().find(|metric| metric.name == of));
        metric
            .map(|metric| metric.value)
            .with_context(|| format!("the model has no figure for {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_models_with_room() {
        let modelled = [Metric::at_most("a", "x", 2.0, 3.0)];
        let model = Model(&modelled);
        let most = model.at_most("a_rt", "x", 2.4).expect("modelled");
        assert_eq!((most.name, most.bound, most.ok), ("a_rt", 2.5, true));
        let least = model.at_least("a_rt", "x", 1.5).expect("modelled");
        assert_eq!((least.bound, least.ok), (1.6, false));
        assert!(model.at_most("a", "x", 2.0).is_err());
        assert!(model.at_most("b_rt", "x", 2.0).is_err());
    }
}
