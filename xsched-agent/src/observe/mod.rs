//! The observer: finds the images of the runtime, probes them, and says which
//! process called what, from which library, on which kind of stream.
//!
//! No cooperation is needed from the observed processes. Counting happens in
//! the kernel; this side reads totals and names the callers.

pub mod attach;
pub mod callers;
pub mod compat;
pub mod counts;
pub mod duty;
mod files;
pub mod images;
mod multi;
mod patience;
mod perf;
mod placed;
mod placing;
mod same_file;
mod sample;
mod served;
pub mod site;
pub mod support;
pub mod survey;
mod turns;
mod unavailable;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xsched_common::bpf::{CallKey, CallRecord, MAX_KEYS, ProcessChange};

pub use attach::{LinkKind, Purpose, Scope};
pub use callers::{Caller, CallerObject, ObjectKind};
pub use compat::{Kernel, Returns};
pub use counts::{CountsError, Drops, DropsByCpu};
pub use files::FileId;
pub use images::ImageKind;
pub use placed::Watched;
pub(crate) use sample::effective_stream;
pub use sample::{CallCount, Sample};
pub use site::ProbeSet;
pub use support::{ProbeCost, probe_cost, probe_support};
pub use unavailable::Unavailable;

use attach::Programs;
use callers::Callers;
use counts::Maps;
use images::{Finder, Image, Names, Sweep};
use patience::{HeldUp, Patience};
use placed::Attached;

use crate::process::ProcessId;
use crate::text::printable;

/// How long a sweep through /proc may take.
const SWEEP_BUDGET: Duration = Duration::from_millis(250);

/// How long the probes of an image stay when nobody maps it any more:
/// programs that start again and again find them in place. Not for long,
/// because probes keep the image's file system busy.
const UNUSED_FOR: Duration = Duration::from_secs(10);

/// Notices of new callers are handled at most this often, so that a program
/// that calls from ever new addresses cannot keep the observer busy.
const NOTICE_PAUSE: Duration = Duration::from_millis(5);

/// The dynamic linker has mapped a program's libraries this long after exec.
const LINKED_AFTER: Duration = Duration::from_millis(30);

/// The kernel has unmapped a process so long after it tells of its end.
const UNMAPPED_AFTER: Duration = Duration::from_millis(10);

/// Programs that have just begun wait for the next sweep if so many processes
/// await their look: on a build machine thousands begin every second.
const MAX_AWAITED: usize = 64;

/// What to observe.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which processes.
    pub scope: Scope,
    /// Which functions.
    pub probes: ProbeSet,
    /// Whether the ends of waits are probed as well, for the lengths of
    /// bursts.
    pub returns: Returns,
    /// What becomes of the calls.
    pub purpose: Purpose,
    /// Whether shims are probed as well, to tell which calls came through
    /// them.
    pub shims: ShimProbes,
    /// How probes are attached.
    pub links: LinkKind,
    /// What the kernel can do: the running one, or in tests another.
    pub kernel: Kernel,
    /// How many distinct (process, function, caller, stream class) can be
    /// counted.
    pub max_keys: u32,
}

/// What to do about shims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShimProbes {
    /// Leave them alone: a shim that jumps to the runtime stays invisible.
    Leave,
    /// Probe the known ones and those with these file names.
    Probe(Vec<String>),
}

impl Plan {
    /// For a daemon: all processes, cheap.
    pub fn everything() -> Plan {
        Plan {
            scope: Scope::All,
            probes: ProbeSet::Bursts,
            returns: Returns::Leave,
            purpose: Purpose::Count,
            shims: ShimProbes::Leave,
            links: LinkKind::Best,
            kernel: Kernel::running(),
            max_keys: MAX_KEYS,
        }
    }

    /// For a trace: every call, with a ring for a third of a second of a
    /// million calls per second.
    pub fn recording(scope: Scope) -> Plan {
        Plan {
            scope,
            probes: ProbeSet::Work,
            returns: Returns::OfWaits,
            purpose: Purpose::Record {
                ring_bytes: 16 << 20,
            },
            shims: ShimProbes::Probe(Vec::new()),
            ..Plan::everything()
        }
    }

    /// For a diagnosis: one process in depth. `shims` are file names beside
    /// the known ones.
    pub fn process(pid: u32, shims: Vec<String>) -> Plan {
        Plan {
            scope: Scope::Pid(pid),
            probes: ProbeSet::Work,
            shims: ShimProbes::Probe(shims),
            ..Plan::everything()
        }
    }
}

/// Probed images and the counts of their calls. Dropping it detaches.
pub struct Observer {
    plan: Plan,
    finder: Finder,
    patience: Patience,
    /// For asking whether somebody holds the lock of its memory map.
    locks: Patience,
    programs: Programs,
    maps: Maps,
    attached: HashMap<FileId, Attached>,
    callers: Callers,
    /// Identity behind each pid that has counts.
    processes: HashMap<u32, ProcessId>,
    /// Images that are not worth another try while they are in use, and why.
    hopeless: HashMap<FileId, String>,
    sweep_limits: Vec<String>,
    returns_missing: Option<String>,
    watched: Watched,
    /// Processes that have begun a program, or ended, and when to look at
    /// them.
    awaited: Vec<(u32, Instant)>,
    /// Counted processes that run another program since the last sample.
    restarted: HashSet<u32>,
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
        let mut observer = Observer {
            finder: Finder::new(names.clone()),
            patience: Patience::with(plan.scope),
            locks: Patience::with(plan.scope),
            callers: Callers::new(names),
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
        };
        if let Scope::Pid(_) = observer.plan.scope {
            // Whoever else maps an image is met by its probes as well.
            let soon = Instant::now() + SWEEP_BUDGET;
            let _ = observer.finder.sweep(soon, &mut observer.patience);
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
            Scope::Pid(pid) => self.finder.sweep_one(pid, &mut self.patience),
            Scope::All => match self
                .finder
                .sweep(Instant::now() + SWEEP_BUDGET, &mut self.patience)
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

    fn take_images(&mut self, sweep: Sweep, now: Instant) {
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
            .patience
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

    /// Waits until `timeout` is over, and meanwhile learns which libraries
    /// new callers belong to while their processes live, and looks at
    /// programs that begin.
    pub fn wait(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            self.look_at_awaited();
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            if left.is_zero() {
                return;
            }
            let next = self.awaited.iter().map(|(_, due)| *due).min();
            let nap = next.map_or(left, |due| left.min(due.saturating_duration_since(now)));
            let ready = Timespec::try_from(nap)
                .map_err(io::Error::other)
                .and_then(|nap| {
                    let mut fds = self
                        .maps
                        .notice_fds()
                        .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                    poll(&mut fds, Some(&nap)).map_err(io::Error::from)
                });
            match ready {
                Ok(0) => {}
                Ok(_) => {
                    self.take_notices();
                    thread::sleep(NOTICE_PAUSE.min(left));
                }
                Err(_) => thread::sleep(NOTICE_PAUSE.min(left)),
            }
        }
    }

    /// Takes in what the kernel tells of processes and of new callers.
    fn take_notices(&mut self) {
        let mut events = Vec::new();
        self.maps.drain_lifecycle(|event| events.push(event));
        for event in events {
            match ProcessChange::from_raw(event.change) {
                Some(ProcessChange::Exec) => self.program_begun(event.tgid),
                Some(ProcessChange::FirstCall) => {
                    self.identify(event.tgid);
                }
                // Its counts are read, and it is forgotten, at the next
                // sample; its probes go now. Told of counted processes only,
                // so there is room for all.
                Some(ProcessChange::Exit) => self.look_soon(event.tgid, UNMAPPED_AFTER),
                None => {}
            }
        }
        self.learn_callers();
    }

    fn program_begun(&mut self, pid: u32) {
        if self.processes.contains_key(&pid) {
            self.restarted.insert(pid);
        }
        let wanted = match self.plan.scope {
            Scope::All => self.awaited.len() < MAX_AWAITED,
            Scope::Pid(watched) => watched == pid,
        };
        if wanted {
            self.look_soon(pid, LINKED_AFTER);
        }
    }

    fn look_soon(&mut self, pid: u32, after: Duration) {
        if !self.awaited.iter().any(|(awaited, _)| *awaited == pid) {
            self.awaited.push((pid, Instant::now() + after));
        }
    }

    fn look_at_awaited(&mut self) {
        let now = Instant::now();
        let due: Vec<(u32, Instant)> = self
            .awaited
            .extract_if(.., |(_, due)| *due <= now)
            .collect();
        if due.is_empty() {
            return;
        }
        for (pid, _) in due {
            self.finder.renew(pid, &mut self.patience);
        }
        let sweep = self.finder.known(&mut self.patience);
        self.take_images(sweep, now);
        self.detach_unused(now);
        self.place();
    }

    fn learn_callers(&mut self) {
        let mut new: HashMap<u32, Vec<u64>> = HashMap::new();
        self.maps.drain_first_seen(|seen| {
            new.entry(seen.key.tgid).or_default().push(seen.key.caller);
        });
        for (pid, addresses) in new {
            self.identify(pid);
            self.callers.learn(pid, addresses, &mut self.patience);
        }
    }

    /// Hands up to `most` recorded calls to `each`, oldest first (of one CPU;
    /// those of others may be a little out of order). Returns how many.
    pub fn drain_records(&mut self, most: usize, each: impl FnMut(CallRecord)) -> usize {
        self.maps.drain_records(most, each)
    }

    /// Where an address of a process lies.
    pub fn caller(&mut self, pid: u32, address: u64) -> Caller {
        self.callers.learn(pid, [address], &mut self.patience);
        self.callers.get(pid, address)
    }

    /// Probe hits, and what was lost of them.
    ///
    /// # Errors
    /// The kernel refuses to read the maps.
    pub fn totals(&self) -> Result<(u64, Drops), CountsError> {
        Ok((self.maps.events()?, self.maps.drops()?))
    }

    fn identify(&mut self, pid: u32) -> ProcessId {
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
                self.callers.learn(pid, addresses, &mut self.patience);
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
