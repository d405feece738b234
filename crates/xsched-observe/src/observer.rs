//! The observer: what it looks at, and what it says of it.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use xsched_common::bpf::{CallKey, CallRecord, KernelName};
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;
use xsched_host::text::printable;

use super::attach::Programs;
use super::callers::{Caller, Callers};
use super::compat::{self, Returns};
use super::counts::{CountsError, Drops, Maps};
use super::files::FileId;
use super::images::{Finder, Image, ImageKind, Names, Sweep};
use super::placed::{Attached, Watched};
use super::plan::{Plan, Scope, ShimProbes};
use super::read_timeout::{HeldUp, ReadTimeout};
use super::sample::{self, Sample};
use super::site;
use super::symbols::Symbols;
use super::unavailable::Unavailable;

/// How long a sweep through /proc may take.
const SWEEP_BUDGET: Duration = Duration::from_millis(250);

/// How long the probes of an image stay when nobody maps it any more:
/// programs that start again and again find them in place. Not for long,
/// because probes keep the image's file system busy.
pub(super) const UNUSED_FOR: Duration = Duration::from_secs(10);

/// Probed images and the counts of their calls. Dropping it detaches.
pub struct Observer {
    pub(super) plan: Plan,
    pub(super) finder: Finder,
    pub(super) read_timeout: ReadTimeout,
    /// For asking whether somebody holds the lock of its memory map.
    pub(super) locks: ReadTimeout,
    pub(super) programs: Programs,
    pub(super) maps: Maps,
    pub(super) attached: HashMap<FileId, Attached>,
    pub(super) callers: Callers,
    pub(super) symbols: Symbols,
    /// Identity behind each pid that has counts.
    pub(super) processes: HashMap<u32, ProcessId>,
    /// Images that are not worth another try while they are in use, and why.
    pub(super) hopeless: HashMap<FileId, String>,
    pub(super) sweep_limits: Vec<String>,
    pub(super) returns_missing: Option<String>,
    pub(super) watched: Watched,
    /// Processes that have begun a program, or ended, and when to look at
    /// them.
    pub(super) awaited: Vec<(u32, Instant)>,
    /// Counted processes that run another program since the last sample.
    pub(super) restarted: HashSet<u32>,
    /// While calls are recorded: processes that run another program, and since
    /// when.
    pub(super) begun: Vec<(u32, Nanos)>,
}

impl Observer {
    /// Loads the programs and probes what is mapped now.
    ///
    /// # Errors
    /// What this machine lacks. Images and functions that cannot be probed
    /// are no error but in [`Observer::limits`].
    pub fn start(plan: Plan) -> Result<Observer, Unavailable> {
        let (programs, maps) = Programs::load(
            plan.max_keys,
            plan.links,
            plan.purpose,
            plan.returns,
            plan.kernel,
        )?;
        let returns_missing = (programs.returns() != plan.returns).then(|| {
            format!(
                "the ends of waits are not probed, so the lengths of waits, and of bursts without the \
                 shim, are not known: {}",
                compat::HARM
            )
        });
        let names = Names::with_shims(match &plan.shims {
            ShimProbes::Leave => &[],
            ShimProbes::Probe(names) => names,
        });
        let mut finder = Finder::new(names.clone());
        finder.leave_out(std::process::id());
        let mut observer = Observer {
            finder,
            read_timeout: ReadTimeout::with(plan.scope),
            locks: ReadTimeout::with(plan.scope),
            callers: Callers::new(names),
            symbols: Symbols::default(),
            plan,
            programs,
            maps,
            attached: HashMap::new(),
            processes: HashMap::new(),
            hopeless: HashMap::new(),
            sweep_limits: Vec::new(),
            returns_missing,
            watched: Watched::everybody(),
            awaited: Vec::new(),
            restarted: HashSet::new(),
            begun: Vec::new(),
        };
        if let Scope::Pid(_) = observer.plan.scope {
            // Whoever else maps an image is met by its probes as well.
            let soon = Instant::now() + SWEEP_BUDGET;
            let _ = observer.finder.sweep(soon, &mut observer.read_timeout);
        }
        observer.refresh();
        Ok(observer)
    }

    /// Looks for images that have been mapped since, and probes them; lets go
    /// of those that nobody has used for a while. Processes that have been
    /// known for long are looked at every 10 s only. Calls made between a
    /// first mapping of an image and the look that finds it are not seen.
    pub fn refresh(&mut self) {
        let sweep = match self.plan.scope {
            Scope::Pid(pid) => self.finder.sweep_one(pid, &mut self.read_timeout),
            Scope::All => match self
                .finder
                .sweep(Instant::now() + SWEEP_BUDGET, &mut self.read_timeout)
            {
                Ok(sweep) => sweep,
                Err(error) => {
                    self.sweep_limits = vec![format!("/proc cannot be listed: {error}")];
                    return;
                }
            },
        };
        self.sweep_limits = sweep.limits();
        let complete = sweep.postponed == 0;
        let now = Instant::now();
        if complete {
            let images = &sweep.images;
            self.hopeless
                .retain(|id, _| images.iter().any(|image| image.id == *id));
        }
        self.take_images(sweep, now);
        if complete {
            self.detach_unused(now);
        }
        self.place();
    }

    pub(super) fn take_images(&mut self, sweep: Sweep, now: Instant) {
        let only = match self.plan.scope {
            Scope::Pid(pid) => Some(pid),
            Scope::All => None,
        };
        for image in sweep.images {
            if only.is_some_and(|pid| !image.pids.contains(&pid)) {
                continue;
            }
            match self.attached.get_mut(&image.id) {
                Some(attached) => {
                    attached.image.pids = image.pids;
                    attached.last_used = now;
                }
                None => self.add(image, now),
            }
        }
    }

    fn add(&mut self, image: Image, now: Instant) {
        if image.kind == ImageKind::Shim && self.plan.shims == ShimProbes::Leave
            || self.hopeless.contains_key(&image.id)
        {
            return;
        }
        let (file, probes) = (Arc::clone(&image.file), self.plan.probes);
        let user = image.pids.first().copied().unwrap_or_default();
        let read = self
            .read_timeout
            .read(user, move || site::sites_in(&file, probes));
        let sites = match read {
            Ok(sites) => sites,
            Err(HeldUp) => {
                // The next sweep tries again.
                self.sweep_limits.push(format!(
                    "{} is not probed: its file system holds up whoever reads it",
                    printable(&image.path)
                ));
                return;
            }
        };
        match sites {
            Ok(sites) => {
                self.attached
                    .insert(image.id, Attached::new(image, sites, now));
            }
            Err(error) => {
                let path = printable(&image.path);
                self.hopeless.insert(image.id, format!("{path}: {error}"));
            }
        }
    }

    /// Whether probes can be taken away and set again every few seconds:
    /// without multi-uprobe links each takes a tenth of a second to close.
    pub fn can_pause(&self) -> bool {
        self.programs.close_quickly()
    }

    /// Sets probes for these processes and takes those of others away.
    /// Images are looked for whoever is watched.
    pub fn watch(&mut self, watched: Watched) {
        if self.watched != watched {
            self.watched = watched;
            self.place();
        }
    }

    /// Hands up to `most` recorded calls to `each`, oldest first (of one CPU;
    /// those of others may be a little out of order). Returns how many.
    pub fn drain_records(&mut self, most: usize, each: impl FnMut(CallRecord)) -> usize {
        self.maps.drain_records(most, each)
    }

    /// Hands kernels that were looked up by name since the last call to `each`;
    /// only while calls are recorded, and returns are probed.
    pub fn drain_kernel_names(&mut self, each: impl FnMut(KernelName)) {
        self.maps.drain_kernel_names(each);
    }

    /// Processes that have begun another program since the last call, and when;
    /// only while calls are recorded. What was known of their addresses is
    /// forgotten.
    pub fn take_begun(&mut self) -> Vec<(u32, Nanos)> {
        self.take_notices();
        let begun = mem::take(&mut self.begun);
        for (pid, _) in &begun {
            self.forget(*pid);
        }
        begun
    }

    /// Forgets what lies at addresses of a process: its number is another's.
    pub fn forget(&mut self, pid: u32) {
        self.callers.forget(pid);
    }

    /// Reads something of a process that may hold up whoever reads it: none if it
    /// does.
    pub fn read_of<T: Send + 'static>(
        &mut self,
        pid: u32,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.read_timeout.read(pid, read).ok()
    }

    /// Where an address of a process lies.
    pub fn caller(&mut self, pid: u32, address: u64) -> Caller {
        self.callers.learn(pid, [address], &mut self.read_timeout);
        self.callers.get(pid, address)
    }

    /// What begins at an address of a process, by its file's symbols; none
    /// where these do not say.
    pub fn symbol(&mut self, pid: u32, address: u64) -> Option<String> {
        self.symbols.name(pid, address, &mut self.read_timeout)
    }

    /// Probe hits, and what was lost of them.
    ///
    /// # Errors
    /// The kernel refuses to read the maps.
    pub fn totals(&self) -> Result<(u64, Drops), CountsError> {
        Ok((self.maps.events()?, self.maps.drops()?))
    }

    pub(super) fn identify(&mut self, pid: u32) -> ProcessId {
        *self.processes.entry(pid).or_insert_with(|| {
            // A process that is gone keeps the pid it had and the start time
            // that no process has: it will not be found alive.
            ProcessId::of(pid).unwrap_or(ProcessId { pid, start_time: 0 })
        })
    }

    /// Everything counted up to now.
    ///
    /// # Errors
    /// The kernel refuses to read the maps.
    pub fn sample(&mut self) -> Result<Sample, CountsError> {
        self.take_notices();
        let counted = self.maps.calls()?;
        let mut bursts = self.maps.bursts()?;
        let mut sample = Sample {
            events: self.maps.events()?,
            drops: self.maps.drops()?,
            drops_by_cpu: self.maps.drops_by_cpu()?,
            ..Sample::default()
        };
        let mut by_process: HashMap<u32, Vec<(CallKey, u64)>> = HashMap::new();
        for (key, count) in counted {
            by_process.entry(key.tgid).or_default().push((key, count));
        }
        for pid in self.maps.processes()? {
            // None of its calls may have found room.
            by_process.entry(pid).or_default();
        }
        let restarted = mem::take(&mut self.restarted);
        for (pid, calls) in by_process {
            let process = self.identify(pid);
            let alive = process.is_alive();
            let last = !alive || restarted.contains(&pid);
            if alive && !last {
                let addresses = calls.iter().map(|(key, _)| key.caller);
                self.callers.learn(pid, addresses, &mut self.read_timeout);
            }
            for &(key, count) in &calls {
                let caller = self.callers.get(pid, key.caller);
                sample
                    .calls
                    .extend(sample::call_count(process, key, caller, count));
                if last {
                    self.maps.forget(key);
                }
            }
            let bursts = bursts.remove(&pid);
            if last {
                self.maps.forget_process(pid, bursts.as_ref());
            }
            if let Some(bursts) = bursts {
                sample.bursts.insert(process, bursts);
            }
            if !alive {
                sample.exited.push(process);
            } else if last {
                sample.restarted.push(process);
                self.callers.forget(pid);
            }
        }
        for process in &sample.exited {
            self.callers.forget(process.pid);
            self.processes.remove(&process.pid);
        }
        self.maps.recount_users()?;
        Ok(sample)
    }

    /// Probed images of a kind, and how many probes are on them.
    pub fn probed(&self, kind: ImageKind) -> (usize, usize) {
        self.attached
            .values()
            .filter(|attached| attached.image.kind == kind)
            .fold((0, 0), |(images, probes), attached| {
                (images + 1, probes + attached.probed_sites())
            })
    }

    /// Every image in use or used lately: path and processes.
    pub fn images(&self) -> impl Iterator<Item = (ImageKind, &str, &[u32])> {
        self.attached.values().map(|attached| {
            let image = &attached.image;
            (image.kind, image.path.as_str(), image.pids.as_slice())
        })
    }

    /// Which returns are probed; fewer than planned where they would do harm.
    pub fn returns(&self) -> Returns {
        self.programs.returns()
    }

    /// What is not observed, and why, in words for the user.
    pub fn limits(&self) -> impl Iterator<Item = &str> {
        self.returns_missing
            .iter()
            .chain(self.hopeless.values())
            .chain(self.attached.values().filter_map(|a| a.limit.as_ref()))
            .chain(self.attached.values().filter_map(|a| a.held_up.as_ref()))
            .chain(&self.sweep_limits)
            .map(String::as_str)
    }

    /// Why programs that begin are found by sweeps only, if that is so.
    pub fn lifecycle_missing(&self) -> Option<&Unavailable> {
        self.programs.lifecycle_missing()
    }
}
