//! `cargo xtask screenshot`: xtop's screens on a real run, as pictures in
//! docs/. The programs are the demo's; xtop records what the agent says of
//! them and draws its screens from that.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use xsched_common::api::{Change, Request, SharingMode};
use xsched_common::units::{Nanos, Weight};

use crate::agent;
use crate::build::{self, Profile};
use crate::child::Guarded;
use crate::demo::stage::{Shim, Stage};
use crate::progress::note;

/// The pictures: file, screen, keys that lead there from the list with the
/// service selected.
const PICTURES: [(&str, &str, &str); 3] = [
    ("xtop.svg", "130x40", ""),
    ("xtop-process.svg", "130x56", "\n"),
    ("xtop-devices.svg", "110x18", "3"),
];

/// Of the animated picture: file, and how many of the recording's last
/// snapshots.
const ANIMATED: (&str, &str) = ("xtop-live.svg", "16");

/// Options of `screenshot`.
#[derive(clap::Args)]
pub struct Args {
    /// How long to record, seconds
    #[arg(long, default_value_t = 50)]
    seconds: u64,
    /// Where the pictures go [default: docs/]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Keep the recording here
    #[arg(long)]
    recording: Option<PathBuf>,
}

/// Builds, plays, records and draws.
pub fn run(args: &Args) -> anyhow::Result<()> {
    note("building (a minute the first time)");
    let built = build::all(Profile::Dev)?;
    let stage = Stage::new(&built, "screenshot")?;
    let recording = match &args.recording {
        Some(path) => path.clone(),
        None => stage.dir().join("recording.jsonl"),
    };
    let agent = stage.start_agent()?;
    record(&stage, args.seconds, &recording)?;
    agent.stop()?;

    let out = args
        .out
        .clone()
        .unwrap_or_else(|| build::root().join("docs"));
    for (name, size, keys) in PICTURES {
        let picture = picture(&recording, size, keys, "1")?;
        let path = out.join(name);
        std::fs::write(&path, picture)
            .with_context(|| format!("cannot write {}", path.display()))?;
        note(&format!("drawn {}", path.display()));
    }
    let (name, frames) = ANIMATED;
    let path = out.join(name);
    let (_, size, keys) = PICTURES[0];
    std::fs::write(&path, picture(&recording, size, keys, frames)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    note(&format!("drawn {}", path.display()));
    Ok(())
}

/// A service with a target beside two others, for so long.
fn record(stage: &Stage<'_>, seconds: u64, recording: &Path) -> anyhow::Result<()> {
    note(&format!(
        "recording a service beside batch work, {seconds} s"
    ));
    let mut service = stage.sample(&stage.built("hipsim-service"), Shim::With, "high");
    service.args(["--json", "--kernels", "20", "--kernel-time", "500us"]);
    service.args(["--period", "30ms", "--duration"]);
    service.arg(format!("{}s", seconds + 30));
    let service = Guarded::start(&mut service, "the service")?;
    let batch = stage.batch(Shim::With)?;
    let mut broken = stage.sample(&stage.built("hipsim-versioned"), Shim::With, "normal");
    let broken = Guarded::start(&mut broken, "the program that bypasses the shim")?;

    let slo = Change {
        pid: service.pid(),
        slo_p99_ns: Some(Nanos::from_millis(15)),
        ..Change::default()
    };
    let weight = Change {
        pid: batch.pid(),
        weight: Some(Weight::new(200)?),
        ..Change::default()
    };
    let mode = SharingMode::Slo;
    for step in [
        Request::SetMode { device: None, mode },
        Request::Set(slo),
        Request::Set(weight),
    ] {
        if let Err(refused) = agent::ask(&stage.run_dir(), &step) {
            note(&format!("{refused:#}"));
        }
    }
    let snapshots = (seconds * 2).to_string();
    let status = Command::new(stage.built("xtop"))
        .arg("--socket")
        .arg(stage.run_dir().join("api.sock"))
        .args(["--batch", "-d", "0.5", "--format", "json", "-n", &snapshots])
        .arg("--record")
        .arg(recording)
        .stdout(std::process::Stdio::null())
        .status()
        .context("cannot start xtop")?;
    ensure!(status.success(), "xtop could not record ({status})");
    // They run without end: dropping them ends them.
    drop((service, batch, broken));
    Ok(())
}

fn picture(recording: &Path, size: &str, keys: &str, frames: &str) -> anyhow::Result<Vec<u8>> {
    let output = build::cargo()
        .args([
            "run",
            "--quiet",
            "--package",
            "xtop",
            "--example",
            "picture",
        ])
        .args(["--", "--fresh", "--frames", frames])
        .args(["--size", size, "--keys", keys, "--replay"])
        .arg(recording)
        // Without whatever else this machine runs; the service on top.
        .args(["--filter", "command:/^hipsim/", "--sort", "class"])
        .args(["--delay", "0.5", "--theme", "dark"])
        .env("LC_ALL", "C.UTF-8")
        .output()
        .context("cannot start cargo")?;
    ensure!(
        output.status.success(),
        "the picture: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}
