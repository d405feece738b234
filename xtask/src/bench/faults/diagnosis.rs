//! Diagnosis beside processes that hold up whoever reads them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::thread::{Uid, set_thread_res_uid};
use xsched_common::api::{Request, Response};

use super::super::report::Metric;
use super::super::workbench::{Shim, Workbench};
use crate::agent;
use crate::build::Built;
use crate::child::Guarded;
use crate::provision;

/// Processes that let nobody read their memory maps.
const HOLDERS: usize = 4;
/// Another user.
const NOBODY: u32 = 65_534;

/// The longest that anybody waits for a diagnosis, of a holder or of a healthy
/// process, while root and the holders' owner have holders diagnosed.
pub fn measure(built: &Built) -> anyhow::Result<Vec<Metric>> {
    ensure!(
        provision::is_root()?,
        "holding a memory map needs root: run it as root (sudo)"
    );
    let bench = Workbench::new(built)?;
    hipsim::install::install(&built.file("libhipsim.so"), &bench.dir.join("hip"))?;
    let program = bench.dir.join("holder");
    xsched_testkit::holder::compile(&program);
    let holders: Vec<Holder> = (0..HOLDERS)
        .map(|n| Holder::start(&program, bench.dir.join(format!("mount{n}"))))
        .collect::<anyhow::Result<_>>()?;
    let agent = bench.start_agent(&["--no-bpf"])?;
    let healthy = healthy(&bench)?;
    let times = Mutex::new(Vec::new());
    let timed = |what: String, act: &dyn Fn() -> anyhow::Result<()>| -> anyhow::Result<()> {
        let began = Instant::now();
        act().with_context(|| what.clone())?;
        let took = began.elapsed().as_secs_f64();
        eprintln!("  {what}: {took:.2} s");
        times
            .lock()
            .map_err(|_| anyhow::anyhow!("a thread failed"))?
            .push(took);
        Ok(())
    };
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let mut asked = Vec::new();
        for holder in &holders {
            let (timed, bench) = (&timed, &bench);
            asked.push(scope.spawn(move || {
                timed(
                    format!("root asks the agent for holder {}", holder.pid),
                    &|| match agent::ask(&bench.run_dir(), &diagnosis(holder.pid)) {
                        Err(_) => Ok(()),
                        Ok(answer) => bail!("a holder was diagnosed: {answer:?}"),
                    },
                )
            }));
        }
        let (timed, bench, pid) = (&timed, &bench, healthy.pid());
        asked.push(scope.spawn(move || {
            set_thread_res_uid(
                Uid::from_raw(NOBODY),
                Uid::from_raw(NOBODY),
                Uid::from_raw(NOBODY),
            )?;
            timed(
                "another user asks for his own".to_owned(),
                &|| match agent::ask(&bench.run_dir(), &diagnosis(pid))? {
                    Response::Diagnosis(_) => Ok(()),
                    other => bail!("{other:?}"),
                },
            )
        }));
        asked.push(scope.spawn(move || {
            timed("root diagnoses all".to_owned(), &|| {
                let mut command = Command::new(bench.built.file("xsched-agent"));
                command
                    .args(["diagnose", "--all", "--json"])
                    .env("XSCHED_RUN_DIR", bench.run_dir());
                let output = command.output()?;
                let seen = String::from_utf8_lossy(&output.stdout);
                ensure!(
                    seen.contains(&format!("\"pid\":{pid},")),
                    "it did not see {pid}: {seen}"
                );
                Ok(())
            })
        }));
        for thread in asked {
            thread
                .join()
                .map_err(|_| anyhow::anyhow!("a thread failed"))??;
        }
        Ok(())
    })?;
    drop(agent);
    let times = times
        .into_inner()
        .map_err(|_| anyhow::anyhow!("a thread failed"))?;
    let longest = times.iter().copied().fold(0.0, f64::max);
    Ok(vec![
        Metric::at_most("diagnose_hostile_s", "s", longest, 5.0).detail(format!(
            "{HOLDERS} holders, {} diagnoses at once",
            times.len()
        )),
    ])
}

fn diagnosis(pid: u32) -> Request {
    Request::Diagnose {
        pid,
        duration_ms: 0,
    }
}

/// A program of another user, under the shim.
fn healthy(bench: &Workbench<'_>) -> anyhow::Result<Guarded> {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&bench.dir, open)?;
    let own = bench.dir.join("nobody");
    std::fs::create_dir(&own)?;
    std::os::unix::fs::chown(&own, Some(NOBODY), Some(NOBODY))?;
    let program = bench.built.file("hipsim-batch");
    let mut command = bench.command(&program, "hip", Shim::With);
    command.args(["--duration", "60s"]).uid(NOBODY);
    command
        .env("HIPSIM_DEVICE", own.join("device"))
        .stderr(Stdio::null());
    let program = Guarded::start(&mut command, "hipsim-batch")?;
    std::thread::sleep(Duration::from_secs(1));
    Ok(program)
}

/// A file system that never completes a write, and a process that waits for
/// one with its memory map's lock held (holder.c).
struct Holder {
    server: Child,
    pid: u32,
}

impl Holder {
    fn start(program: &std::path::Path, mount: PathBuf) -> anyhow::Result<Holder> {
        std::fs::create_dir(&mount)?;
        let mut server = Command::new(program)
            .arg(mount)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = server.stdout.take().context("a pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let mut holder = Holder { server, pid: 0 };
        let Some(pid) = line.strip_prefix("ready ") else {
            bail!("no process can hold its memory map here: it {line}");
        };
        holder.pid = pid.trim().parse()?;
        holder
            .server
            .stdin
            .as_ref()
            .context("a pipe")?
            .write_all(b"hold\n")?;
        Ok(holder)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
