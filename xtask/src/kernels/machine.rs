//! A virtual machine with one kernel, no disk, no network, and a serial line.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;

use super::console::Transcript;

/// Who executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor.
    Kvm,
    /// QEMU, ten times slower or more. The guest's clock counts instructions,
    /// a nanosecond each: whatever else this machine does, the guest sees the
    /// same times.
    Emulated,
}

impl Accel {
    /// What to try first. That /dev/kvm opens does not say that it runs an
    /// ordinary kernel: that is seen at the first one.
    pub fn first() -> Accel {
        let opens = OpenOptions::new().read(true).write(true).open("/dev/kvm");
        match opens {
            Ok(_) => Accel::Kvm,
            Err(_) => Accel::Emulated,
        }
    }

    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Emulated => "emulated",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Accel::Kvm => &["-accel", "kvm", "-cpu", "host", "-smp", "2"],
            Accel::Emulated => &[
                "-accel",
                "tcg",
                "-icount",
                "shift=0,sleep=off",
                "-cpu",
                "max",
                "-smp",
                "1",
            ],
        }
    }

    /// How long the guest may take to say its first word, and to say all. Its
    /// own bounds are in its own time; these are for one that hangs, on a
    /// machine that has other things to do.
    pub fn limits(self) -> Limits {
        let (first, all) = match self {
            Accel::Kvm => (20, 180),
            Accel::Emulated => (600, 1800),
        };
        Limits {
            first: Duration::from_secs(first),
            all: Duration::from_secs(all),
        }
    }
}

/// Bounds in real time.
pub struct Limits {
    /// From the start to the guest's first word.
    pub first: Duration,
    /// From the start to its last.
    pub all: Duration,
}

/// What a machine has said, and how it ended.
pub struct Ended {
    /// All of it.
    pub transcript: Transcript,
    /// For people.
    pub how: String,
}

/// Memory, MiB: the archive is in it twice while the kernel unpacks it.
const MEMORY: &str = "1536";

/// What the kernel is told: its first program is ours, and a panic ends the
/// machine (QEMU does not restart it).
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 quiet loglevel=3 panic=-1 rdinit=/bin/xtask -- kernel-guest";

/// Runs the kernel with the archive until it ends or a limit is over, and
/// shows what has been said to `watch` after every line of the guest.
///
/// # Errors
/// QEMU cannot be started.
pub fn run(
    image: &Path,
    archive: &Path,
    accel: Accel,
    mut watch: impl FnMut(&Transcript, Duration),
) -> anyhow::Result<Ended> {
    let mut machine = Command::new("qemu-system-x86_64")
        .args(accel.arguments())
        .args(["-m", MEMORY, "-nodefaults", "-no-reboot"])
        .args(["-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", KERNEL_ARGUMENTS])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64 (Debian: qemu-system-x86)")?;
    let (lines, heard) = mpsc::channel();
    let ends = [
        machine.stdout.take().map(|out| listen(out, lines.clone())),
        machine.stderr.take().map(|out| listen(out, lines)),
    ];
    let mut machine = Running(machine);
    let limits = accel.limits();
    let start = Instant::now();
    let mut transcript = Transcript::default();
    let how = loop {
        let limit = match transcript.begin {
            Some(_) => limits.all,
            None => limits.first,
        };
        let left = limit.saturating_sub(start.elapsed());
        match heard.recv_timeout(left) {
            Ok(line) => {
                if transcript.take(&line) {
                    watch(&transcript, start.elapsed());
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                break format!("nothing more within {} s", limit.as_secs());
            }
            Err(RecvTimeoutError::Disconnected) => break machine.end()?,
        }
    };
    drop(machine);
    for end in ends.into_iter().flatten() {
        let _ = end.join();
    }
    Ok(Ended { transcript, how })
}

fn listen(
    from: impl std::io::Read + Send + 'static,
    to: mpsc::Sender<String>,
) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if to
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
            line.clear();
        }
    })
}

/// A machine that is switched off when it goes out of scope.
struct Running(Child);

impl Running {
    /// How it ended, after it closed its outputs.
    fn end(&mut self) -> anyhow::Result<String> {
        let status = self.0.wait()?;
        Ok(match status.success() {
            true => "the machine switched itself off".to_owned(),
            false => format!("QEMU ended: {status}"),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
