//! What the terminal view costs: frames of a thousand processes, its start, its
//! idle time, its memory.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use xsched_common::api::{Request, Response, Snapshot};
use xsched_testkit::pty::Pty;

use super::report::Metric;
use crate::build;
use crate::progress::note;
use crate::stats::median;

/// Processes of the frames that are measured, and of the memory.
const MANY: usize = 1_000;

/// Starts that are measured.
const STARTS: usize = 9;

/// How long it idles.
const IDLE: Duration = Duration::from_secs(20);

/// Snapshots after which its memory is watched, and until which: its history of
/// so many processes is full after some 260 (`MAX_SAMPLES` there), and growth
/// until then is what it is for.
const WARM_UP: u64 = 300;
const WATCHED: u64 = 700;

/// Within which these are to have come, ten a second.
const PATIENCE: Duration = Duration::from_secs(180);

/// Measures all four.
pub fn measure() -> anyhow::Result<Vec<Metric>> {
    note("building xtop in release ...");
    let mut cargo = build::cargo();
    cargo.args(["build", "--release", "--quiet", "--package", "xtop"]);
    cargo.args(["--bin", "xtop", "--example", "frame"]);
    build::run(&mut cargo)?;
    let release = build::target().join("release");
    let frame = frame(&release)?;
    let folder = tempfile::tempdir().context("no folder")?;
    let xtop = release.join("xtop");
    let few = Agent::serve(folder.path().join("few.sock"), 6)?;
    let many = Agent::serve(folder.path().join("many.sock"), MANY)?;
    note("starting xtop, and leaving it alone ...");
    let starts: Vec<f64> = (0..STARTS).map(|_| start(&xtop, &few.socket)).collect();
    let idle = idle(&xtop, &few.socket)?;
    note("watching its memory ...");
    let growth = growth(&xtop, &many)?;
    Ok(vec![
        Metric::at_most("frame_ms_1000", "ms", frame, 5.0),
        Metric::at_most("start_ms", "ms", median(&starts), 150.0),
        Metric::at_most("idle_cpu_pct", "%", idle, 1.0),
        Metric::at_most("rss_growth_mib", "MiB", growth, 2.0),
    ])
}

/// The slowest screen's median.
fn frame(release: &Path) -> anyhow::Result<f64> {
    let output = Command::new(release.join("examples/frame"))
        .arg(MANY.to_string())
        .output()
        .context("cannot start the frames")?;
    ensure!(output.status.success(), "the frames failed");
    let text = String::from_utf8(output.stdout)?;
    let times = text
        .lines()
        .filter_map(|line| line.split(' ').next_back()?.parse().ok());
    times.reduce(f64::max).context("no frame was measured")
}

/// An agent that says the same again and again, at the pace that is asked for.
struct Agent {
    socket: PathBuf,
    /// Snapshots sent.
    sent: Arc<AtomicU64>,
}

impl Agent {
    fn serve(socket: PathBuf, processes: usize) -> anyhow::Result<Agent> {
        let text = std::fs::read_to_string(build::root().join("xtop/tests/data/snapshot.json"))?;
        let template: Snapshot = serde_json::from_str(&text)?;
        let mut snapshot = template.clone();
        let kinds = template.processes.iter().cycle().take(processes);
        snapshot.processes = kinds
            .zip(0..)
            .map(|(process, n)| {
                let mut process = process.clone();
                process.pid = 10_000 + n;
                process
            })
            .collect();
        let listener = UnixListener::bind(&socket)?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        // The threads end with this program.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (snapshot, counter) = (snapshot.clone(), counter.clone());
                std::thread::spawn(move || {
                    // A client that leaves ends it.
                    let _ = answer(stream, snapshot, &counter);
                });
            }
        });
        Ok(Agent { socket, sent })
    }

    /// Returns when so many snapshots have been sent.
    fn wait_for(&self, snapshots: u64) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.sent.load(Relaxed) < snapshots {
            ensure!(Instant::now() < deadline, "xtop takes too few snapshots");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

fn answer(stream: UnixStream, snapshot: Snapshot, sent: &AtomicU64) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request: Request = serde_json::from_str(&lines.next().context("nothing asked")??)?;
    let Request::Watch { interval_ms } = request else {
        return Ok(());
    };
    let mut stream = stream;
    // It is written once, but for the time: this program may be a slow build.
    let mut time = snapshot.time_unix_ns;
    let line = serde_json::to_string(&Response::Snapshot(Box::new(snapshot)))?;
    let parts = line.split_once(&time.to_string());
    let (head, tail) = parts.context("a snapshot without its time")?;
    loop {
        time += interval_ms * 1_000_000;
        stream.write_all(format!("{head}{time}{tail}\n").as_bytes())?;
        sent.fetch_add(1, Relaxed);
        std::thread::sleep(Duration::from_millis(interval_ms));
    }
}

fn open(xtop: &Path, socket: &Path, interval: &str) -> Pty {
    let arguments = ["--fresh", "-d", interval, "--socket"].map(OsStr::new);
    let arguments: Vec<&OsStr> = arguments.into_iter().chain([socket.as_os_str()]).collect();
    Pty::start(xtop, &arguments, (200, 60))
}

/// From its start to the first rows, ms.
fn start(xtop: &Path, socket: &Path) -> f64 {
    let begin = Instant::now();
    let mut pty = open(xtop, socket, "1");
    pty.wait_for("rows", |screen| screen.contains("LAUNCH/S"));
    let took = begin.elapsed();
    pty.press("q");
    pty.wait();
    took.as_secs_f64() * 1e3
}

/// The share of a processor that it takes while nobody touches it, percent.
fn idle(xtop: &Path, socket: &Path) -> anyhow::Result<f64> {
    let mut pty = open(xtop, socket, "1");
    pty.wait_for("rows", |screen| screen.contains("LAUNCH/S"));
    std::thread::sleep(Duration::from_secs(2));
    let before = cpu_ticks(pty.id())?;
    let begin = Instant::now();
    std::thread::sleep(IDLE);
    let ticks = cpu_ticks(pty.id())? - before;
    let share = ticks as f64
        / rustix::param::clock_ticks_per_second() as f64
        / begin.elapsed().as_secs_f64();
    pty.press("q");
    pty.wait();
    Ok(share * 100.0)
}

/// How much its memory grows once its history is full, MiB.
fn growth(xtop: &Path, agent: &Agent) -> anyhow::Result<f64> {
    let mut pty = open(xtop, &agent.socket, "0.1");
    agent.wait_for(WARM_UP)?;
    let before = resident(pty.id())?;
    agent.wait_for(WATCHED)?;
    let after = resident(pty.id())?;
    note(&format!("it takes {before:.1} MiB, and then {after:.1}"));
    pty.press("q");
    pty.wait();
    Ok((after - before).max(0.0))
}

/// utime and stime (proc_pid_stat(5), fields 14 and 15).
fn cpu_ticks(pid: u32) -> anyhow::Result<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no stat")?;
    let times = fields.split_whitespace().skip(11).take(2);
    Ok(times.filter_map(|time| time.parse::<u64>().ok()).sum())
}

/// MiB.
fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .context("no resident memory")?;
    Ok(kib / 1024.0)
}
