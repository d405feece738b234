//! Many threads at one gate: what they cost the service above them, the
//! processor, the device and each other.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xsched_common::api::Request;
use xsched_common::units::Class;

use crate::agent;
use crate::bench::report::Metric;
use crate::bench::workbench::{Shim, Workbench, cc};
use crate::build::{self, Built};
use crate::child::Guarded;
use crate::dialogue::Dialogue;
use crate::stats::{median, spread};

/// Of what is compared, in turns.
const REPETITIONS: usize = 3;

/// The part's metrics.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    eprintln!("many threads at one gate ...");
    let bench = Workbench::new(built)?;
    hipsim::install::install(&built.file("libhipsim.so"), &bench.dir.join("hip"))?;
    let program = compile(&bench)?;
    let config = bench.dir.join("xsched.toml");
    std::fs::write(&config, "")?;
    let file = config.to_string_lossy();
    let _agent = bench.start_agent(&["--no-bpf", "--config", &file])?;
    let herds = Herds {
        bench: &bench,
        program,
    };
    let mut metrics = herds.beside_a_service()?;
    metrics.extend(herds.capped()?);
    metrics.extend(herds.at_a_closed_gate()?);
    Ok(metrics)
}

fn compile(bench: &Workbench<'_>) -> anyhow::Result<PathBuf> {
    let root = build::root();
    let source = root.join("xsched-shim/tests/programs/simulated/herd.c");
    let (include, binary) = (root.join("hipsim/include"), bench.dir.join("herd"));
    let runtime = bench.dir.join("hip/libamdhip64.so.6");
    cc(&[
        "-I".as_ref(),
        include.as_os_str(),
        source.as_os_str(),
        runtime.as_os_str(),
        "-pthread".as_ref(),
        "-o".as_ref(),
        binary.as_os_str(),
    ])?;
    Ok(binary)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Under {
    Native,
    Class(Class),
}

const SCHEDULED: Under = Under::Class(Class::Low);

/// Threads and how long they launch kernels of 20 us.
#[derive(Clone, Copy)]
struct Size {
    threads: u32,
    time: Duration,
}

/// What a herd says at its end.
struct Said {
    launches: f64,
    /// The longest wait, ended or not, s.
    longest: f64,
    never: f64,
    cores: f64,
}

struct Herds<'b> {
    bench: &'b Workbench<'b>,
    program: PathBuf,
}

impl Herds<'_> {
    /// One that has joined, if it is to, and not begun.
    fn start(&self, size: Size, under: Under) -> anyhow::Result<Dialogue> {
        let shim = match under {
            Under::Native => Shim::Without,
            Under::Class(_) => Shim::With,
        };
        let mut command = self.bench.command(&self.program, "hip", shim);
        let time = size.time.as_millis().to_string();
        command.args([&size.threads.to_string(), &time, "20"]);
        let mut herd = Dialogue::start(&mut command, "a herd")?;
        ensure!(herd.line()? == "joined", "a herd does not begin");
        if let Under::Class(class) = under {
            let change = xsched_common::api::Change {
                pid: herd.pid(),
                class: Some(class),
                ..Default::default()
            };
            agent::ask(&self.bench.run_dir(), &Request::Set(change))?;
        }
        Ok(herd)
    }

    fn end(herd: &mut Dialogue) -> anyhow::Result<Said> {
        let line = herd.line()?;
        let numbers: Vec<f64> = line.split(' ').filter_map(|n| n.parse().ok()).collect();
        let [launches, worst, unfinished, never, cpu, elapsed] = numbers[..] else {
            anyhow::bail!("a herd says {line:?}");
        };
        Ok(Said {
            launches,
            longest: worst.max(unfinished) / 1e6,
            never,
            cores: cpu / elapsed,
        })
    }

    /// A service's P99 beside 256 threads: of a class above theirs, and as the
    /// runtime has it.
    fn beside_a_service(&self) -> anyhow::Result<Vec<Metric>> {
        let herd = Size {
            threads: 256,
            time: Duration::from_secs(7),
        };
        let (mut natives, mut scheduled) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            for (under, p99s) in [(Under::Native, &mut natives), (SCHEDULED, &mut scheduled)] {
                let mut herd = self.start(herd, under)?;
                herd.tell("")?;
                std::thread::sleep(Duration::from_millis(800));
                p99s.push(self.service_p99_ms(under)?);
                Herds::end(&mut herd)?;
            }
        }
        let (native, ours) = (median(&natives), median(&scheduled));
        let detail = format!("P99 {ours:.1} ms scheduled, {native:.1} ms native");
        let ratio = Metric::at_most("herd256_service_p99_ratio", "x", ours / native, 1.5);
        Ok(vec![
            ratio.spread(spread(&scheduled) / native).detail(detail),
        ])
    }

    fn service_p99_ms(&self, herd: Under) -> anyhow::Result<f64> {
        let service = self.bench.built.file("hipsim-service");
        let mut command = match herd {
            Under::Native => self.bench.command(&service, "hip", Shim::Without),
            Under::Class(_) => {
                let agent = self.bench.built.file("xsched-agent");
                let mut command = self.bench.command(&agent, "hip", Shim::Without);
                command.args(["run", "--class", "high", "--"]).arg(&service);
                command
            }
        };
        command.args(["--json", "--warmup", "400ms", "--duration", "5s"]);
        let service = Guarded::start(&mut command, "the service")?;
        let text = service.finish(Duration::from_secs(60))?;
        let report: Value = serde_json::from_str(text.trim()).context("the service's report")?;
        let p99 = report["p99_ns"].as_f64();
        Ok(p99.with_context(|| format!("no p99_ns in {text}"))? / 1e6)
    }

    /// Kernels of 20 us by 64 threads, under a cap that an idle program of a
    /// higher class brings about.
    fn capped(&self) -> anyhow::Result<Vec<Metric>> {
        let size = Size {
            threads: 64,
            time: Duration::from_secs(2),
        };
        let above = Size {
            threads: 1,
            time: Duration::from_secs(600),
        };
        let _idle = self.start(above, Under::Class(Class::High))?;
        let (mut natives, mut capped) = (Vec::new(), Vec::new());
        let mut cores = Vec::new();
        for _ in 0..REPETITIONS {
            for (under, rates) in [(Under::Native, &mut natives), (SCHEDULED, &mut capped)] {
                let mut herd = self.start(size, under)?;
                herd.tell("")?;
                let said = Herds::end(&mut herd)?;
                rates.push(said.launches / size.time.as_secs_f64());
                if under == SCHEDULED {
                    cores.push(said.cores);
                }
            }
        }
        let (native, ours) = (median(&natives), median(&capped));
        let detail = format!(
            "{ours:.0} launches/s by {:.2} cores, {native:.0} native",
            median(&cores)
        );
        let percent = Metric::at_least("capped64_20us_pct", "%", 100.0 * ours / native, 90.0);
        Ok(vec![percent.detail(detail)])
    }

    /// 256 threads of a process that is suspended for longer than each of them
    /// needs for its turn.
    fn at_a_closed_gate(&self) -> anyhow::Result<Vec<Metric>> {
        /// Launches through a closed gate, by the trickle of threads that are
        /// not the main one.
        const PER_S: f64 = 10.0;
        let size = Size {
            threads: 256,
            time: Duration::from_secs(40),
        };
        let mut herd = self.start(size, SCHEDULED)?;
        let suspend = Request::Suspend {
            pid: herd.pid(),
            timeout_ms: 600_000,
        };
        agent::ask(&self.bench.run_dir(), &suspend)?;
        herd.tell("")?;
        let said = Herds::end(&mut herd)?;
        // As many waits as there are threads, one after the other; the last of
        // them may be under way, and a trickle late by a look.
        let fair = f64::from(size.threads) / PER_S;
        let cores = Metric::at_most("closed_wait_cores_256", "cores", said.cores, 0.02);
        let longest = Metric::at_most("longest_wait_256_s", "s", said.longest, fair * 1.25);
        let never = Metric::at_most("closed_left_out_256", "threads", said.never, 0.0);
        let detail = format!(
            "{} launches in {} s; one turn each takes {fair} s",
            said.launches,
            size.time.as_secs()
        );
        Ok(vec![cores, longest.detail(detail), never])
    }
}
