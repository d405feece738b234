//! The same beside NVIDIA's MPS, with client priorities: what users without
//! xsched have.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::Plan;
use super::cells::prepare;
use super::clock::Clock;
use super::raw::{Batch, Cell, Config, Load, Raw};
use super::stage::{Stage, Under};

const CONTROL: &str = "nvidia-cuda-mps-control";

/// The folder of its pipes, in that of the run.
pub const PIPES: &str = "mps";

/// The daemon; told to quit when it goes out of scope.
pub struct Mps<'s>(&'s Stage);

impl Mps<'_> {
    fn control(stage: &Stage) -> anyhow::Result<Command> {
        let mut command = Command::new(CONTROL);
        command
            .env("CUDA_MPS_PIPE_DIRECTORY", stage.folder(PIPES)?)
            .env("CUDA_MPS_LOG_DIRECTORY", stage.folder("mps-log")?);
        Ok(command)
    }

    /// Starts it.
    pub fn start(stage: &Stage) -> anyhow::Result<Mps<'_>> {
        let status = Mps::control(stage)?
            .arg("-d")
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("{CONTROL} is not here"))?;
        ensure!(status.success(), "{CONTROL} -d: {status}");
        Ok(Mps(stage))
    }
}

impl Drop for Mps<'_> {
    fn drop(&mut self) {
        let Ok(mut command) = Mps::control(self.0) else {
            return;
        };
        let quit = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .and_then(|mut child| {
                use std::io::Write as _;
                if let Some(mut input) = child.stdin.take() {
                    input.write_all(b"quit\n")?;
                }
                child.wait()
            });
        if let Err(e) = quit {
            eprintln!("{CONTROL} was not told to quit: {e}");
        }
    }
}

/// Measures; needs the GPU for itself.
pub fn measure(stage: &Stage, clock: &Clock, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    let _mps = Mps::start(stage)?;
    let mut service = stage.worker("the service under MPS", Under::Mps(0))?;
    let mut batch = stage.worker("the batch under MPS", Under::Mps(1))?;
    let loads: Vec<&str> = Load::ALL.iter().map(|load| load.name()).collect();
    prepare(&mut service, &loads)?;
    prepare(&mut batch, &[Batch::Resnet50.name()])?;
    for repetition in 1..=plan.repetitions {
        batch.work(Batch::Resnet50.name())?;
        std::thread::sleep(Duration::from_millis(400));
        for load in Load::ALL {
            plan.progress.step(&format!("MPS {load:?}"));
            let (before, since) = (batch.progress()?, clock.now());
            let latencies_ms = service.serve(load.name(), plan.cell_s)?;
            raw.cells.push(Cell {
                config: Config::Mps,
                load,
                batch: Some(Batch::Resnet50),
                repetition,
                latencies_ms,
                batch_per_s: Some(batch.progress()?.rate_since(before)),
                clock_mhz: clock.mean_since(since),
            });
        }
        batch.stop()?;
    }
    Ok(())
}
