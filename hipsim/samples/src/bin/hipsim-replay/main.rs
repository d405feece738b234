//! One program of a workload (docs/REPLAY.md), played on the HIP runtime.

mod hip;
mod thread;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use clap::Parser;
use xsched_workload::{Program, Workload};

use hip::{Kernel, Stream};
use thread::{Done, Playing};

/// Plays one program of a workload on the HIP runtime.
///
/// Prints what came of it as JSON: launches, and when each request came and
/// how long it took, ns.
#[derive(Parser)]
struct Options {
    /// The workload (`hipsim trace import` makes one)
    file: PathBuf,
    /// Which of its programs; needed where there are several
    #[arg(long)]
    program: Option<String>,
    /// How long is measured; steps that are not repeated may end before
    #[arg(long, default_value = "5s", value_parser = hipsim_samples::duration)]
    duration: Duration,
    /// How long it runs before
    #[arg(long, default_value = "0s", value_parser = hipsim_samples::duration)]
    warmup: Duration,
    /// Seed of the times between requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("hipsim-replay: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<String, String> {
    let workload = Workload::read(&options.file).map_err(|bad| bad.to_string())?;
    let program = choose(&workload, options.program.as_deref())?;
    let kernel = Kernel::load(&workload.callers)?;
    let most = program
        .threads
        .iter()
        .flat_map(|thread| &thread.steps)
        .filter_map(|step| match step {
            xsched_workload::Step::Launch(launch) => Some(launch.stream),
            _ => None,
        })
        .max()
        .unwrap_or(0);
    let mut streams = vec![Stream::DEFAULT];
    for _ in 0..most.min(64) {
        streams.push(Stream::created()?);
    }
    // The first launch loads code, and joins an agent.
    kernel.launch(1_000, Stream::DEFAULT, None)?;
    Stream::DEFAULT.synchronize()?;
    let together = Barrier::new(program.threads.len());
    let (kernel, streams, together) = (&kernel, &streams, &together);
    let done = std::thread::scope(|scope| {
        let playing: Vec<_> = program
            .threads
            .iter()
            .enumerate()
            .map(|(number, thread)| {
                scope.spawn(move || {
                    thread::rename(&thread.name);
                    together.wait();
                    let playing =
                        Playing::new(thread, kernel, streams, options.seed + number as u64);
                    playing.run(Instant::now(), options.warmup, options.duration)
                })
            })
            .collect();
        playing
            .into_iter()
            .map(|handle| handle.join().map_err(|_| "a thread panicked".to_owned())?)
            .collect::<Result<Vec<Done>, String>>()
    })?;
    Ok(report(&program.name, &done))
}

fn choose<'w>(workload: &'w Workload, name: Option<&str>) -> Result<&'w Program, String> {
    let names = || {
        let names: Vec<&str> = workload.programs.iter().map(|p| p.name.as_str()).collect();
        names.join(", ")
    };
    match (name, workload.programs.as_slice()) {
        (None, [only]) => Ok(only),
        (None, _) => Err(format!("which program? --program NAME: {}", names())),
        (Some(name), programs) => programs
            .iter()
            .find(|program| program.name == name)
            .ok_or_else(|| format!("no program {name:?}: there are {}", names())),
    }
}

fn report(name: &str, done: &[Done]) -> String {
    let sum = |of: fn(&Done) -> u64| done.iter().map(of).sum::<u64>();
    let measured = done.iter().map(|done| done.measured.as_secs_f64());
    let threads: Vec<_> = done
        .iter()
        .map(|done| {
            serde_json::json!({
                "launches": done.launches, "arrived_ns": done.arrived, "took_ns": done.took,
            })
        })
        .collect();
    serde_json::json!({
        "program": name,
        "launches": sum(|done| done.launches),
        "device_ns": sum(|done| done.device_ns),
        "all_launches": sum(|done| done.all_launches),
        "all_device_ns": sum(|done| done.all_device_ns),
        "waits": sum(|done| done.waits),
        "seconds": measured.fold(0.0, f64::max),
        "threads": threads,
    })
    .to_string()
}
