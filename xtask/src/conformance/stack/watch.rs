//! What eBPF and the simulated packet processor count of one run.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use super::list::Varies;
use anyhow::Context as _;
use rustix::mm::{MapFlags, ProtFlags, mmap};
use serde::Serialize;
use xsched_common::platform::EntryClass;
use xsched_observe::{CallCount, Observer, Plan, ProbeSet, ShimProbes};

/// How often the observer is asked.
const PACE: Duration = Duration::from_millis(20);
/// How long the last counts may take after a program's end.
const SETTLING: Duration = Duration::from_millis(200);

/// Calls of one run from outside the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls {
    /// Launches of kernels and graphs.
    pub launches: u64,
    /// Copies and memsets.
    pub copies: u64,
    /// Waits of the host.
    pub waits: u64,
}

impl Calls {
    fn add(&mut self, call: &CallCount) {
        match call.entry().class {
            EntryClass::Launch => self.launches += call.count,
            EntryClass::Memcpy | EntryClass::Memset => self.copies += call.count,
            EntryClass::Sync => self.waits += call.count,
            _ => (),
        }
    }
}

/// All calls of one run, and who called: by file name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Observed {
    /// All together.
    #[serde(flatten)]
    pub all: Calls,
    /// By caller.
    pub callers: BTreeMap<String, Calls>,
}

impl Observed {
    /// What of it is compared.
    pub fn compared(&self, varies: Varies) -> Observed {
        let mut compared = self.clone();
        if varies == Varies::Waits {
            let callers = compared.callers.values_mut();
            for calls in callers.chain([&mut compared.all]) {
                calls.waits = 0;
            }
        }
        compared
    }
}

type Latest = Arc<Mutex<HashMap<u32, Vec<CallCount>>>>;

/// An observer of all processes, asked again and again in a thread of its own.
pub struct Watch {
    latest: Latest,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to count calls of the runtime and the shim, `images`, which this process maps, so that their probes are there
    /// before programs are.
    ///
    /// # Errors
    /// No root, no BPF: why.
    pub fn start(images: &[PathBuf]) -> anyhow::Result<Self> {
        for image in images {
            let file = File::open(image).with_context(|| format!("{}", image.display()))?;
            let (at, flags) = (std::ptr::null_mut(), MapFlags::PRIVATE);
            let access = ProtFlags::READ | ProtFlags::EXEC;
            // SAFETY: a fresh private mapping that nobody writes or runs.
            unsafe { mmap(at, 4096, access, flags, file.as_fd(), 0)? };
        }
        let mut observer = Observer::start(Plan {
            probes: ProbeSet::Work,
            shims: ShimProbes::Probe(Vec::new()),
            ..Plan::everything()
        })?;
        let (latest, stop): (Latest, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (to, stopped) = (latest.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                observer.refresh();
                if let Ok(sample) = observer.sample() {
                    let mut latest = to.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut fresh: HashMap<u32, Vec<CallCount>> = HashMap::new();
                    for call in sample.calls {
                        fresh.entry(call.process.pid).or_default().push(call);
                    }
                    latest.extend(fresh);
                }
                std::thread::sleep(PACE);
            }
        });
        Ok(Self {
            latest,
            stop,
            thread: Some(thread),
        })
    }

    /// What a program has called that has ended.
    pub fn of(&self, pid: u32) -> Observed {
        std::thread::sleep(SETTLING);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let mut observed = Observed::default();
        for call in latest.remove(&pid).unwrap_or_default() {
            // The runtime's calls of itself are parts of others.
            if call.is_nested() {
                continue;
            }
            observed.all.add(&call);
            let name = call.caller.object.name.clone();
            observed.callers.entry(name).or_default().add(&call);
        }
        observed
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Packets of one run, as the simulated packet processor took them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Packets {
    /// Kernels of the program and its libraries.
    pub kernels: u64,
    /// Kernels of the runtime's own: copies, fills, values.
    pub own: u64,
}

impl Packets {
    /// Reads the file of `HIPSIM_COUNTS`; a program that did nothing left none.
    pub fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap_or_default();
        let word = |at: usize| {
            let bytes = bytes.get(at * 8..at * 8 + 8)?;
            Some(u64::from_ne_bytes(bytes.try_into().ok()?))
        };
        Self {
            kernels: word(0).unwrap_or_default(),
            own: word(1).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_nobody_made_are_zero() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("counts");
        assert_eq!(Packets::read(&file), Packets::default());
        fs::write(&file, [3_u64, 2, 1, 0].map(u64::to_ne_bytes).concat()).expect("written");
        let packets = Packets::read(&file);
        assert_eq!((packets.kernels, packets.own), (3, 2));
    }
}
