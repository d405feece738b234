//! Three tenants: a service beside two batches.

use std::time::Duration;

use xsched_common::units::Class;

use super::Plan;
use super::cells::{has_slices, prepare};
use super::raw::{Batch, Config, Load, Raw, Tenants};
use super::stage::{Stage, Under, Worker};

const LOADS: [Load; 2] = [Load::Service, Load::Decode];

/// A service and what runs beside it.
struct Three {
    service: Worker,
    batches: [Worker; 2],
}

impl Three {
    fn start(stage: &Stage, under: [Under; 2]) -> anyhow::Result<Three> {
        let [high, low] = under;
        let mut three = Three {
            service: stage.worker("a service", high)?,
            batches: [
                stage.worker("a batch", low)?,
                stage.worker("another batch", low)?,
            ],
        };
        prepare(&mut three.service, &LOADS.map(Load::name))?;
        for batch in &mut three.batches {
            prepare(batch, &[Batch::Resnet50.name()])?;
        }
        Ok(three)
    }

    fn classes(&self, stage: &Stage, service: &str, batches: &str) -> anyhow::Result<()> {
        stage.class(&self.service, service)?;
        for batch in &self.batches {
            stage.class(batch, batches)?;
        }
        Ok(())
    }

    fn measure(
        &mut self,
        plan: &Plan,
        config: Config,
        repetition: u32,
        raw: &mut Raw,
    ) -> anyhow::Result<()> {
        let Three { service, batches } = self;
        for batch in &mut *batches {
            batch.work(Batch::Resnet50.name())?;
        }
        // Until both are known to be at work.
        std::thread::sleep(Duration::from_millis(1500));
        for load in LOADS {
            plan.progress
                .step(&format!("three tenants, {config:?} {load:?}"));
            let [one, other] = batches;
            let before = [one.progress()?, other.progress()?];
            let latencies_ms = service.serve(load.name(), plan.cell_s)?;
            let after = [one.progress()?, other.progress()?];
            raw.tenants.push(Tenants {
                config,
                load,
                repetition,
                latencies_ms,
                per_s: [0, 1].map(|at| after[at].rate_since(before[at])),
            });
        }
        for batch in batches {
            batch.stop()?;
        }
        Ok(())
    }
}

/// Natively, by time slices alone, and as installed.
pub fn measure(stage: &Stage, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    let shims = [Under::Shim(Class::High), Under::Shim(Class::Low)];
    let mut bare = Three::start(stage, [Under::Nothing; 2])?;
    let mut gated = Three::start(stage, shims)?;
    for repetition in 1..=plan.repetitions.min(2) {
        bare.classes(stage, "normal", "normal")?;
        bare.measure(plan, Config::Native, repetition, raw)?;
        bare.classes(stage, "high", "low")?;
        // The service's own depends on the other one, which was at work of late.
        if has_slices(stage, &bare.batches[0])? {
            bare.measure(plan, Config::Slices, repetition, raw)?;
        }
        bare.classes(stage, "normal", "normal")?;
        gated.measure(plan, Config::Both, repetition, raw)?;
    }
    Ok(())
}
