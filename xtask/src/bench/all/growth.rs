//! How costs grow: with clients, devices, launches, mapped objects.

use std::time::{Duration, Instant};

use super::samples::{Curve, LeftOut, Raw};
use crate::agent;
use crate::bench::gate;
use crate::bench::observe::launcher::{compile, launcher};
use crate::bench::sched::control::crowd::{costs, cpu_seconds};
use crate::bench::workbench::{Shim, Workbench};
use crate::build::Built;
use crate::child::Guarded;
use crate::progress::Steps;

/// Where the curves have their points, and for how long each is watched.
pub struct Sizes {
    pub clients: &'static [usize],
    pub devices: &'static [usize],
    /// Launches a second.
    pub launches: &'static [usize],
    pub objects: &'static [usize],
    pub watch: Duration,
}

pub const QUICK: Sizes = Sizes {
    clients: &[1, 10, 100, 1_000],
    devices: &[1, 2, 4, 8],
    launches: &[1_000, 10_000, 100_000, 1_000_000],
    objects: &[10, 100, 1_000],
    watch: Duration::from_secs(2),
};

pub const FULL: Sizes = Sizes {
    clients: &[1, 10, 100, 500, 1_000, 2_000],
    devices: &[1, 2, 4, 8],
    launches: &[1_000, 10_000, 100_000, 1_000_000],
    objects: &[10, 100, 1_000, 10_000],
    watch: Duration::from_secs(6),
};

/// After joining, for what it costs once.
const SETTLE: Duration = Duration::from_secs(4);

impl Sizes {
    /// Of [`measure`].
    pub fn steps(&self) -> u32 {
        (self.clients.len() + self.devices.len() + self.launches.len() + 1) as u32
    }
}

/// All curves; one that cannot be measured is left out with its reason.
pub fn measure(built: &Built, sizes: &Sizes, steps: &Steps, raw: &mut Raw) {
    let parts: [(&str, Part); 4] = [
        ("cost by clients", clients),
        ("cost by devices", devices),
        ("cost by launches", launches),
        ("cost by mapped objects", objects),
    ];
    for (what, part) in parts {
        match part(built, sizes, steps) {
            Ok(curves) => raw.growth.extend(curves),
            Err(why) => raw.left_out.push(LeftOut {
                what: what.to_owned(),
                why: format!("{why:#}"),
            }),
        }
    }
}

type Part = fn(&Built, &Sizes, &Steps) -> anyhow::Result<Vec<Curve>>;

fn curve(cost: &str, unit: &str, with: &str, points: Vec<(f64, f64)>) -> Curve {
    Curve {
        cost: cost.to_owned(),
        unit: unit.to_owned(),
        with: with.to_owned(),
        points,
    }
}

fn clients(built: &Built, sizes: &Sizes, steps: &Steps) -> anyhow::Result<Vec<Curve>> {
    let bench = Workbench::new(built)?;
    let (mut round, mut idle, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for &clients in sizes.clients {
        steps.step(&format!("cost of {clients} clients"));
        let costs = costs(&bench, clients, SETTLE, sizes.watch)?;
        let clients = clients as f64;
        round.push((clients, costs.round_us));
        idle.push((clients, costs.idle_pct));
        memory.push((clients, costs.kib.max(0.0) / 1024.0));
    }
    let with = "joined processes";
    Ok(vec![
        curve("one decision", "us", with, round),
        curve("agent, all idle", "% of a core", with, idle),
        curve("agent's memory for them", "MiB", with, memory),
    ])
}

/// A high service and a low batch of 1 ms kernels on each device.
fn devices(built: &Built, sizes: &Sizes, steps: &Steps) -> anyhow::Result<Vec<Curve>> {
    let bench = Workbench::new(built)?;
    hipsim::install::install(&built.file("libhipsim.so"), &bench.dir.join("hip"))?;
    let agent = bench.start_agent(&["--no-bpf"])?;
    let (mut cpu, mut round) = (Vec::new(), Vec::new());
    for &devices in sizes.devices {
        steps.step(&format!("cost of {devices} devices"));
        let mut programs = Vec::new();
        for device in 0..devices {
            let service = [
                "--period",
                "50ms",
                "--kernels",
                "5",
                "--kernel-time",
                "500us",
            ];
            for (class, name, more) in [
                (
                    "high",
                    "hipsim-service",
                    &[&service[..], &["--duration", "60s"]].concat()[..],
                ),
                ("low", "hipsim-batch", &["--kernel-time", "1ms"]),
            ] {
                let mut command = bench.command(&built.file("xsched-agent"), "hip", Shim::Without);
                command
                    .args(["run", "--class", class, "--"])
                    .arg(built.file(name))
                    .args(more)
                    .env("HIPSIM_DEVICES", "8")
                    .env("HIP_VISIBLE_DEVICES", device.to_string())
                    .stderr(std::process::Stdio::null());
                programs.push(Guarded::start(&mut command, name)?);
            }
        }
        std::thread::sleep(Duration::from_secs(1));
        cpu.push((devices as f64, watched(agent.pid(), sizes.watch)?));
        let control = agent::snapshot(&bench.run_dir())?.agent.control;
        if let Some(p50) = control.round_p50_ns {
            round.push((devices as f64, p50.0 as f64 / 1e3));
        }
    }
    let with = "devices, each with a service (20 requests/s) and a batch";
    Ok(vec![
        curve("agent, busy devices", "% of a core", with, cpu),
        curve("one decision, busy devices", "us", with, round),
    ])
}

/// In percent of a core.
fn watched(pid: u32, time: Duration) -> anyhow::Result<f64> {
    let (start, from) = (Instant::now(), cpu_seconds(pid)?);
    std::thread::sleep(time);
    Ok((cpu_seconds(pid)? - from) / start.elapsed().as_secs_f64() * 100.0)
}

/// Under the shim, on a runtime that does nothing.
fn launches(built: &Built, sizes: &Sizes, steps: &Steps) -> anyhow::Result<Vec<Curve>> {
    let bench = Workbench::new(built)?;
    compile(&bench)?;
    let agent = bench.start_agent(&["--no-bpf"])?;
    let mut cpu = Vec::new();
    for &rate in sizes.launches {
        steps.step(&format!("cost of {rate} launches/s"));
        let mut program = launcher(&bench, "push", Shim::With, &[])?;
        program.ask(&format!("paced {} 60000", rate / 1_000))?;
        std::thread::sleep(Duration::from_secs(1));
        cpu.push((rate as f64, watched(agent.pid(), sizes.watch)?));
    }
    let with = "launches/s of one process under the shim";
    Ok(vec![curve("agent", "% of a core", with, cpu)])
}

fn objects(built: &Built, sizes: &Sizes, steps: &Steps) -> anyhow::Result<Vec<Curve>> {
    steps.step("cost of mapped objects");
    let points = gate::attach_growth(built, sizes.objects)?;
    let with = "libraries mapped";
    Ok(vec![curve(
        "first launch under the shim, added",
        "ms",
        with,
        points,
    )])
}
