//! Services beside batches, under each configuration in turns.

use std::time::Duration;

use xsched_common::api::{ProcessRow, SliceSetter};
use xsched_common::units::Class;

use super::Plan;
use super::clock::Clock;
use super::raw::{Batch, Cell, Config, LeftOut, Load, Raw};
use super::stage::{Slices, Stage, Under, Worker};

/// From a batch's start to the first request beside it.
const SETTLE: Duration = Duration::from_millis(400);

/// Programs that live through the whole grid.
pub struct Workers {
    pub service: Worker,
    pub batch: Worker,
    pub gated_service: Worker,
    pub gated_batch: Worker,
    pub filler: Worker,
}

impl Workers {
    /// Starts all and warms them up.
    pub fn start(stage: &Stage) -> anyhow::Result<Workers> {
        let mut workers = Workers {
            service: stage.worker("the service", Under::Nothing)?,
            batch: stage.worker("the batch", Under::Nothing)?,
            gated_service: stage.worker("the service under the shim", Under::Shim(Class::High))?,
            gated_batch: stage.worker("the batch under the shim", Under::Shim(Class::Low))?,
            filler: stage.worker("the filler", Under::Nothing)?,
        };
        let loads: Vec<&str> = Load::ALL.iter().map(|load| load.name()).collect();
        let Workers {
            service,
            batch,
            gated_service,
            gated_batch,
            filler,
        } = &mut workers;
        // Alone first: what a program measures of itself must not be of all.
        batch.answer::<String>()?;
        batch.ask::<u64>(&format!("prepare {}", Batch::Matmul.name()))?;
        for (worker, prepared) in [
            (&mut *service, loads.as_slice()),
            (gated_service, loads.as_slice()),
            (batch, &[Batch::Resnet50.name()]),
            (gated_batch, &[Batch::Resnet50.name()]),
            (filler, &["filler"]),
        ] {
            prepare(worker, prepared)?;
        }
        Ok(workers)
    }
}

/// Warms a worker up, in this order.
pub fn prepare(worker: &mut Worker, loads: &[&str]) -> anyhow::Result<()> {
    for load in loads {
        worker.tell(&format!("prepare {load}"))?;
    }
    for _ in loads {
        let answer: serde_json::Value = worker.answer()?;
        if answer == "ready" {
            worker.answer::<u64>()?;
        }
    }
    Ok(())
}

/// One repetition of all.
pub fn repetition(
    stage: &Stage,
    workers: &mut Workers,
    clock: &Clock,
    plan: &Plan,
    number: u32,
    raw: &mut Raw,
) -> anyhow::Result<()> {
    let mut grid = Grid {
        plan,
        clock,
        number,
        raw,
    };
    let Workers {
        service,
        batch,
        gated_service,
        gated_batch,
        filler,
    } = workers;
    stage.class(service, "normal")?;
    stage.class(batch, "normal")?;
    grid.row(Config::Alone, service, None)?;
    filler.work("filler")?;
    grid.row(Config::AloneWarm, service, None)?;
    filler.stop()?;
    for work in [Batch::Resnet50, Batch::Matmul] {
        grid.row(Config::Native, service, Some((batch, work)))?;
    }
    stage.class(service, "high")?;
    stage.class(batch, "low")?;
    match has_slices(stage, batch)? {
        true => {
            for work in [Batch::Resnet50, Batch::Matmul] {
                grid.row(Config::Slices, service, Some((batch, work)))?;
            }
        }
        false if number == 1 => {
            let reason = stage.snapshot()?.agent.time_slicing.reason;
            grid.raw.left_out.push(LeftOut {
                what: "time slices".to_owned(),
                why: reason.unwrap_or_else(|| "the agent did not set them".to_owned()),
            });
        }
        false => {}
    }
    stage.class(service, "normal")?;
    stage.class(batch, "normal")?;
    // The service's: a batch whose gate bounds short kernels keeps its own.
    if has_slices(stage, gated_service)? {
        grid.row(
            Config::Both,
            gated_service,
            Some((gated_batch, Batch::Resnet50)),
        )?;
    }
    stage.slices(Slices::Off)?;
    stage.wait_for(gated_service, |row| !row.time_slices.iter().any(is_set))?;
    grid.row(
        Config::Gate,
        gated_service,
        Some((gated_batch, Batch::Resnet50)),
    )?;
    stage.slices(Slices::On)?;
    Ok(())
}

fn is_set(row: &xsched_common::api::TimeSliceRow) -> bool {
    row.set_by == SliceSetter::Class
}

/// Whether the agent has set a worker's slice by its class; it may take a second.
pub fn has_slices(stage: &Stage, worker: &Worker) -> anyhow::Result<bool> {
    if stage.snapshot()?.agent.time_slicing.driver.is_none() {
        return Ok(false);
    }
    stage.wait_for(worker, |row: &ProcessRow| {
        row.time_slices.iter().any(is_set)
    })
}

struct Grid<'a> {
    plan: &'a Plan,
    clock: &'a Clock,
    number: u32,
    raw: &'a mut Raw,
}

impl Grid<'_> {
    /// Each service in turn beside the same batch.
    fn row(
        &mut self,
        config: Config,
        service: &mut Worker,
        beside: Option<(&mut Worker, Batch)>,
    ) -> anyhow::Result<()> {
        let (mut worker, batch) = match beside {
            Some((worker, batch)) => (Some(worker), Some(batch)),
            None => (None, None),
        };
        if let (Some(worker), Some(batch)) = (&mut worker, batch) {
            worker.work(batch.name())?;
            std::thread::sleep(SETTLE);
        }
        for load in Load::ALL {
            self.plan.progress.step(&format!("{config:?} {load:?}"));
            let before = worker.as_mut().map(|w| w.progress()).transpose()?;
            let clock = self.clock.now();
            let latencies_ms = service.serve(load.name(), self.plan.cell_s)?;
            let after = worker.as_mut().map(|w| w.progress()).transpose()?;
            self.raw.cells.push(Cell {
                config,
                load,
                batch,
                repetition: self.number,
                latencies_ms,
                batch_per_s: before.zip(after).map(|(from, to)| to.rate_since(from)),
                clock_mhz: self.clock.mean_since(clock),
            });
        }
        if let Some(worker) = worker {
            worker.stop()?;
        }
        Ok(())
    }
}
