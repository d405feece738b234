//! Child processes that do not outlive the task.

use std::io::Read as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// What became of a child.
pub struct Ended {
    /// What it printed.
    pub text: String,
    /// The most memory that it had, bytes.
    pub peak: u64,
    /// Its processor time.
    pub cpu: Duration,
}

/// Waits for a child's end.
pub fn ended(mut child: Child) -> anyhow::Result<Ended> {
    let mut text = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut text)?;
    }
    let pid = child.id().cast_signed();
    // SAFETY: all-zero is a valid rusage, and wait4 fills it; the child has
    // not been reaped.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        if libc::wait4(pid, std::ptr::null_mut(), 0, &mut usage) != pid {
            bail!(
                "cannot wait for the child: {}",
                std::io::Error::last_os_error()
            );
        }
        usage
    };
    let time = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok(Ended {
        text,
        // Linux counts in KiB (getrusage(2)).
        peak: u64::try_from(usage.ru_maxrss)? << 10,
        cpu: time(usage.ru_utime) + time(usage.ru_stime),
    })
}

/// Waits for a child's end, and not for ever; `None`: it still runs.
pub fn ends_within(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    const POLL: Duration = Duration::from_millis(2);
    let deadline = Instant::now() + timeout;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        std::thread::sleep(POLL);
    }
}

/// A child that is killed when it goes out of scope.
pub struct Guarded {
    child: Child,
    name: String,
}

impl Guarded {
    /// Starts it with its output captured.
    pub fn start(command: &mut Command, name: &str) -> anyhow::Result<Guarded> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {name} ({})",
                    command.get_program().to_string_lossy()
                )
            })?;
        Ok(Guarded {
            child,
            name: name.to_owned(),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Asks it to stop, waits, and returns what it printed.
    pub fn stop(mut self) -> anyhow::Result<String> {
        self.ask_to_stop();
        self.output(Duration::from_secs(10))
    }

    /// Waits until it ends and returns what it printed.
    pub fn finish(mut self, timeout: Duration) -> anyhow::Result<String> {
        self.output(timeout)
    }

    fn output(&mut self, timeout: Duration) -> anyhow::Result<String> {
        let Some(status) = ends_within(&mut self.child, timeout)? else {
            bail!(
                "{} does not end: it still runs {:?} later",
                self.name,
                timeout
            );
        };
        let mut text = String::new();
        if let Some(mut out) = self.child.stdout.take() {
            out.read_to_string(&mut text)?;
        }
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, text.trim());
        }
        Ok(text)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
