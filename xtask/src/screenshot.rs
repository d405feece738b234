//! `cargo xtask screenshot`: xtop's screens on a real run, as pictures in
//! docs/. The programs are the demo's; xtop records what the agent says of
//! them and draws its screens from that.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use xsched_common::api::{Request, SharingMode};

use crate::agent;
use crate::build::{self, Profile};
use crate::child::Guarded;
use crate::demo::stage::{Shim, Stage};
use crate::progress::note;

/// The pictures: file, screen, keys that lead there from the list with the
/// service selected.
const PICTURES: [(&str, &str, &str); 4] = [
    ("xtop.svg", "130x40", ""),
    ("xtop-process.svg", "160x50", "\n"),
    ("xtop-devices.svg", "130x30", "3"),
    ("xtop-hardware.svg", "130x30", "4"),
];

/// Of the animated picture: file, screen, and how many of the recording's last
/// snapshots.
const ANIMATED: (&str, &str, &str) = ("xtop-live.svg", "110x32", "14");

/// Who plays, as a user would call it.
const SERVICE: &str = "serve";
const BATCH: &str = "train";
const ESCAPEE: &str = "notebook";

/// The priority of all that plays (setpriority(2)).
const FIRST: i32 = -12;

/// When who comes, s after the service; the rest of the time all three are there.
const BATCH_COMES: u64 = 10;

/// How long the one that escapes is there: at the end, so that the animated
/// picture shows it come.
const ESCAPEE_STAYS: u64 = 7;

/// Options of `screenshot`.
#[derive(clap::Args)]
pub struct Args {
    /// How long to record, seconds
    #[arg(long, default_value_t = 45)]
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
    // What else the machine does is no part of the story; without the right to
    // it is played as it comes.
    let _ = rustix::process::setpriority_process(None, FIRST);
    let stage = Stage::new(&built, "screenshot")?;
    let recording = match &args.recording {
        Some(path) => path.clone(),
        None => stage.dir().join("recording.jsonl"),
    };
    let agent = stage.start_agent(&[])?;
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
    let (name, size, frames) = ANIMATED;
    let path = out.join(name);
    std::fs::write(&path, picture(&recording, size, "", frames)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    note(&format!("drawn {}", path.display()));
    Ok(())
}

/// The story: a service reaches its target alone, and beside a batch that its
/// gate holds back; then comes one that no gate holds back, and is named.
fn record(stage: &Stage<'_>, seconds: u64, recording: &Path) -> anyhow::Result<()> {
    ensure!(
        seconds > BATCH_COMES + ESCAPEE_STAYS,
        "--seconds: the story takes {} s at least",
        BATCH_COMES + ESCAPEE_STAYS + 1
    );
    note(&format!("recording the story, {seconds} s"));
    let mode = SharingMode::Slo;
    agent::ask(&stage.run_dir(), &Request::SetMode { device: None, mode })?;
    let mut service = stage.agent();
    service
        .args(["run", "--class", "high", "--slo", "14ms", "--"])
        .arg(named(stage, "service", SERVICE)?);
    service.args(["--json", "--kernels", "20", "--kernel-time", "500us"]);
    service.args(["--period", "30ms", "--duration"]);
    service.arg(format!("{}s", seconds + 30));
    let service = Guarded::start(&mut service, "the service")?;
    let mut tape = Command::new(stage.built("xtop"));
    tape.arg("--socket")
        .arg(stage.run_dir().join("api.sock"))
        .args(["--batch", "-d", "0.5", "--format", "json", "-n"])
        .arg((seconds * 2).to_string())
        .arg("--record")
        .arg(recording)
        .stdout(std::process::Stdio::null());
    let mut tape = tape.spawn().context("cannot start xtop")?;
    std::thread::sleep(Duration::from_secs(BATCH_COMES));
    let batch = named(stage, "batch", BATCH)?;
    let batch = Guarded::start(&mut stage.sample(&batch, Shim::With, "low"), "the batch")?;
    std::thread::sleep(Duration::from_secs(seconds - BATCH_COMES - ESCAPEE_STAYS));
    let escapee = named(stage, "batch", ESCAPEE)?;
    let mut escapee = stage.sample(&escapee, Shim::Without, "normal");
    escapee.args(["--kernel-time", "200us"]);
    let escapee = Guarded::start(&mut escapee, "the program that bypasses the shim")?;
    let status = tape.wait()?;
    ensure!(status.success(), "xtop could not record ({status})");
    leave_out_strangers(recording)?;
    // They run without end: dropping them ends them.
    drop((service, batch, escapee));
    Ok(())
}

/// Takes out of a recording what else this machine ran.
fn leave_out_strangers(recording: &Path) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(recording)?;
    let mut kept = String::new();
    for line in text.lines() {
        let mut line: Value = serde_json::from_str(line).context("the recording")?;
        if let Some(rows) = line.pointer_mut("/snapshot/processes")
            && let Some(rows) = rows.as_array_mut()
        {
            let plays = |row: &Value| {
                let command = row["command"].as_str();
                command.is_some_and(|name| [SERVICE, BATCH, ESCAPEE].contains(&name))
            };
            rows.retain(plays);
        }
        kept += &line.to_string();
        kept.push('\n');
    }
    std::fs::write(recording, kept).context("cannot write the recording")
}

/// A sample program under the name that it plays under.
fn named(stage: &Stage<'_>, sample: &str, name: &str) -> anyhow::Result<PathBuf> {
    let folder = stage.dir().join("bin");
    let file = folder.join(name);
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::copy(stage.program(sample), &file))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
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
        // The service on top.
        .args(["--sort", "class", "--delay", "0.5", "--theme", "dark"])
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
