//! The same beside NVIDIA's MPS, with client priorities: what users without
//! xsched have. And clients of MPS under the shim: whether its gate acts there,
//! and who goes on when one of them is killed.

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use xsched_common::units::Class;

use super::Plan;
use super::cells::prepare;
use super::clock::Clock;
use super::parts;
use super::raw::{Batch, Cell, Config, Load, MpsKill, Raw};
use super::stage::{Loads, Stage, Under, Worker};
use crate::child::ends_within;

const CONTROL: &str = "nvidia-cuda-mps-control";

/// Of the daemon and of its server, within the kernel's 15 bytes.
const COMM: &[u8] = b"nvidia-cuda-mps";

/// The variable that says where its pipes are.
pub const PIPES_AT: &str = "CUDA_MPS_PIPE_DIRECTORY";

/// The folder of its pipes, in that of the run.
pub const PIPES: &str = "mps";

const BATCH: &str = Batch::Resnet50.name();
const DECODE: &str = Load::Decode.name();

/// Under the shim.
const GATED: [Under; 2] = [Under::ShimOnMps(Class::High), Under::ShimOnMps(Class::Low)];

/// How long a daemon may take to end.
const ENDING: Duration = Duration::from_secs(20);

/// The daemon; told to quit when it goes out of scope.
pub struct Mps<'s> {
    stage: &'s Stage,
    /// In a rehearsal: where clients would connect.
    stands_in: Option<UnixListener>,
}

impl Mps<'_> {
    fn control(stage: &Stage) -> anyhow::Result<Command> {
        let mut command = Command::new(CONTROL);
        command
            .env(PIPES_AT, stage.folder(PIPES)?)
            .env("CUDA_MPS_LOG_DIRECTORY", stage.folder("mps-log")?);
        Ok(command)
    }

    /// Starts it.
    pub fn start(stage: &Stage) -> anyhow::Result<Mps<'_>> {
        if let Loads::Simulated(_) = stage.tools.loads {
            let socket = stage.folder(PIPES)?.join("control");
            // Of the last one.
            let _ = std::fs::remove_file(&socket);
            let stands_in = Some(UnixListener::bind(socket)?);
            return Ok(Mps { stage, stands_in });
        }
        wait_for_last(&stage.folder(PIPES)?)?;
        let status = Mps::control(stage)?
            .arg("-d")
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("{CONTROL} is not here"))?;
        ensure!(status.success(), "{CONTROL} -d: {status}");
        let stands_in = None;
        Ok(Mps { stage, stands_in })
    }

    fn quit(&self) -> anyhow::Result<()> {
        let mut child = Mps::control(self.stage)?
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            use std::io::Write as _;
            input.write_all(b"quit\n")?;
        }
        // A client that was killed may keep the daemon.
        if ends_within(&mut child, ENDING)?.is_none() {
            child.kill()?;
            child.wait()?;
            anyhow::bail!("it has not ended within {} s", ENDING.as_secs());
        }
        Ok(())
    }
}

/// Waits until nothing of the last daemon lives: what a stuck one does to new
/// clients says nothing of them.
fn wait_for_last(pipes: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + ENDING;
    while let Some(pid) = lives(pipes)? {
        ensure!(
            Instant::now() < deadline,
            "the last daemon of MPS, or its server, has not ended: process {pid}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A daemon or server with these pipes.
fn lives(pipes: &Path) -> anyhow::Result<Option<u32>> {
    let setting = format!("{PIPES_AT}={}", pipes.display());
    let is_it = |pid: &u32| {
        // One that ends meanwhile has neither.
        let of = |file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let has = |entry: &[u8]| entry == setting.as_bytes();
        of("comm").starts_with(COMM) && of("environ").split(|byte| *byte == 0).any(has)
    };
    let mut pids = std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.find(is_it))
}

impl Drop for Mps<'_> {
    fn drop(&mut self) {
        if self.stands_in.is_some() {
            return;
        }
        if let Err(e) = self.quit() {
            eprintln!("{CONTROL} was told to quit: {e:#}");
        }
    }
}

/// Measures; needs the GPU for itself.
pub fn measure(stage: &Stage, clock: &Clock, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    cells(stage, clock, plan, raw)?;
    plan.progress.step("a client of MPS is killed");
    // Natively first: what the other leaves excuses nothing.
    let natively = kills(stage, [Under::Mps(None); 2]);
    let gated = kills(stage, GATED)?;
    if let Err(why) = &natively {
        let what = "kill -9 of a client of MPS without the shim";
        parts::left_out(raw, what, format!("{why:#}"));
    }
    let cases = WHO_GOES_ON.into_iter().enumerate();
    raw.mps_kills.extend(cases.map(|(at, what)| MpsKill {
        what: what.to_owned(),
        natively: natively.as_ref().ok().map(|natively| natively[at]),
        gated: gated[at],
    }));
    Ok(())
}

/// A service beside a batch, all clients of one server: by its priorities,
/// alike to it, and alike to it under the shim.
fn cells(stage: &Stage, clock: &Clock, plan: &Plan, raw: &mut Raw) -> anyhow::Result<()> {
    let _mps = Mps::start(stage)?;
    let loads: Vec<&str> = Load::ALL.iter().map(|load| load.name()).collect();
    let mut pairs = Vec::new();
    for (config, under) in [
        (Config::Mps, [Under::Mps(Some(0)), Under::Mps(Some(1))]),
        (Config::MpsPlain, [Under::Mps(None); 2]),
        (Config::MpsGate, GATED),
    ] {
        let [mut service, mut batch] = start(stage, under)?;
        prepare(&mut service, &loads)?;
        prepare(&mut batch, &[BATCH])?;
        if config == Config::MpsGate {
            are_clients(stage, [&service, &batch])?;
        }
        pairs.push((config, service, batch));
    }
    for repetition in 1..=plan.repetitions {
        for (config, service, batch) in &mut pairs {
            batch.work(BATCH)?;
            std::thread::sleep(Duration::from_millis(400));
            for load in Load::ALL {
                plan.progress.step(&format!("{config:?} {load:?}"));
                let (before, since) = (batch.progress()?, clock.now());
                let latencies_ms = service.serve(load.name(), plan.cell_s)?;
                raw.cells.push(Cell {
                    config: *config,
                    load,
                    batch: Some(Batch::Resnet50),
                    repetition,
                    latencies_ms,
                    batch_per_s: Some(batch.progress()?.rate_since(before)),
                    clock_mhz: clock.mean_since(since),
                });
            }
            if *config == Config::MpsGate {
                let shares = stage.row(batch)?.and_then(|row| row.gate_shares);
                let is_held = shares.is_some_and(|shares| shares.open_ratio < 1.0);
                ensure!(is_held, "the batch's gate never closed: {shares:?}");
            }
            batch.stop()?;
        }
    }
    Ok(())
}

/// A service and a batch.
fn start(stage: &Stage, [service, batch]: [Under; 2]) -> anyhow::Result<[Worker; 2]> {
    Ok([
        stage.worker("the service under MPS", service)?,
        stage.worker("the batch under MPS", batch)?,
    ])
}

/// Whether `diagnose` says so.
fn are_clients(stage: &Stage, workers: [&Worker; 2]) -> anyhow::Result<()> {
    for worker in workers {
        let pid = worker.pid().to_string();
        let said = stage.tell(&["diagnose", "--pid", &pid, "--duration", "1s"])?;
        ensure!(said.contains("sharing-server"), "no client of MPS: {said}");
    }
    Ok(())
}

/// The cases of [`kills`].
const WHO_GOES_ON: [&str; 3] = [
    "the batch, when the service is killed amid a request",
    "a service that comes after that",
    "the service, when the batch is killed",
];

/// What one of these cases may take.
const LONGEST: Duration = Duration::from_secs(60);

/// Who goes on when a client is killed, by [`WHO_GOES_ON`].
fn kills(stage: &Stage, under: [Under; 2]) -> anyhow::Result<[bool; 3]> {
    let _mps = Mps::start(stage)?;
    let pair = || -> anyhow::Result<[Worker; 2]> {
        let [mut service, mut batch] = start(stage, under)?;
        service.limit(LONGEST)?;
        batch.limit(LONGEST)?;
        prepare(&mut service, &[DECODE])?;
        prepare(&mut batch, &[BATCH])?;
        batch.work(BATCH)?;
        service.tell(&format!("serve {DECODE} 3"))?;
        std::thread::sleep(Duration::from_millis(700));
        Ok([service, batch])
    };
    let [service, mut batch] = pair()?;
    drop(service);
    let the_batch = parts::goes_on(&mut batch);
    drop(batch);
    // A server that is stuck lets nobody come.
    let comes = pair();
    let has_come = comes.is_ok();
    let the_service = comes.and_then(|[mut service, batch]| {
        drop(batch);
        Ok(service.answer::<Vec<f64>>()?.len() > 10)
    });
    let [the_batch, the_service] = [the_batch, the_service].map(|goes_on| goes_on.unwrap_or(false));
    Ok([the_batch, has_come, the_service])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_lives_is_seen() {
        let dir = tempfile::tempdir().expect("a folder");
        let daemon = dir.path().join(CONTROL);
        std::os::unix::fs::symlink("/bin/sleep", &daemon).expect("links");
        let start = |program: &Path, pipes: &Path| {
            let mut command = Command::new(program);
            command.arg("60").env(PIPES_AT, pipes).spawn()
        };
        let pipes = dir.path().join("pipes");
        let mut client = start(Path::new("/bin/sleep"), &pipes).expect("starts");
        let mut of_others = start(&daemon, dir.path()).expect("starts");
        assert_eq!(lives(&pipes).expect("/proc"), None);
        let mut last = start(&daemon, &pipes).expect("starts");
        let seen = lives(&pipes).expect("/proc");
        last.kill().expect("ends");
        last.wait().expect("ends");
        let after = lives(&pipes).expect("/proc");
        for child in [&mut client, &mut of_others] {
            child.kill().expect("ends");
            child.wait().expect("ends");
        }
        assert_eq!((seen, after), (Some(last.id()), None));
    }
}
