//! The observer: finds the images of the runtime, probes them, and says which
//! process called what, from which library, on which kind of stream.
//!
//! No cooperation is needed from the observed processes. Counting happens in
//! the kernel; this side reads totals and names the callers.

pub mod attach;
pub mod callers;
pub mod counts;
pub mod duty;
mod files;
pub mod images;
mod multi;
mod perf;
mod same_file;
mod sample;
pub mod site;
pub mod support;
mod unavailable;

use std::collections::HashMap;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use xsched_common::bpf::CallKey;
use xsched_common::hip::ENTRY_POINTS;

pub use attach::{LinkKind, Scope};
pub use callers::{Caller, CallerObject, ObjectKind};
pub use counts::{CountsError, Drops};
pub use files::FileId;
pub use images::ImageKind;
pub use sample::{CallCount, Sample};
pub use site::ProbeSet;
pub use support::{probe_cost, probe_support};
pub use unavailable::Unavailable;

use attach::{Probes, Programs};
use callers::Callers;
use counts::Maps;
use images::{Finder, Image, Names};
use site::Site;

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

/// What to observe.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which processes.
    pub scope: Scope,
    /// Which functions.
    pub probes: ProbeSet,
    /// Whether shims are probed as well, to tell which calls came through
    /// them.
    pub shims: ShimProbes,
    /// How probes are attached.
    pub links: LinkKind,
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
            probes: ProbeSet::Launches,
            shims: ShimProbes::Leave,
            links: LinkKind::Best,
            max_keys: 16_384,
        }
    }

    /// For a diagnosis: one process in depth. `shims` are file names beside
    /// the known ones.
    pub fn process(pid: u32, shims: Vec<String>) -> Plan {
        Plan {
            scope: Scope::Pid(pid),
            probes: ProbeSet::Work,
            shims: ShimProbes::Probe(shims),
            links: LinkKind::Best,
            max_keys: 16_384,
        }
    }
}

/// An image with its probes.
struct Attached {
    image: Image,
    sites: Vec<Site>,
    probes: Probes,
    last_used: Instant,
    limit: Option<String>,
}

/// Probed images and the counts of their calls. Dropping it detaches.
pub struct Observer {
    plan: Plan,
    finder: Finder,
    programs: Programs,
    maps: Maps,
    attached: HashMap<FileId, Attached>,
    callers: Callers,
    /// Identity behind each pid that has counts.
    processes: HashMap<u32, ProcessId>,
    /// Images that are not worth another try while they are in use, and why.
    hopeless: HashMap<FileId, String>,
    sweep_limits: Vec<String>,
    placement: Placement,
}

/// Whether probes are in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placement {
    Set,
    Paused,
}

impl Observer {
    /// Loads the programs and probes what is mapped now.
    ///
    /// # Errors
    /// What this machine lacks. Images and functions that cannot be probed
    /// are no error but in [`Observer::limits`].
    pub fn start(plan: Plan) -> Result<Observer, Unavailable> {
        let (programs, maps) = Programs::load(plan.max_keys, plan.links)?;
        let names = Names::with_shims(match &plan.shims {
            ShimProbes::Leave => &[],
            ShimProbes::Probe(names) => names,
        });
        let mut observer = Observer {
            finder: Finder::new(names.clone()),
            callers: Callers::new(names),
            plan,
            programs,
            maps,
            attached: HashMap::new(),
            processes: HashMap::new(),
            hopeless: HashMap::new(),
            sweep_limits: Vec::new(),
            placement: Placement::Set,
        };
        observer.refresh();
        Ok(observer)
    }

    /// Looks for images that have been mapped since, and probes them; lets go
    /// of those that nobody has used for a while. Processes that have been
    /// known for long are looked at every 10 s only. Calls made between a
    /// first mapping of an image and the look that finds it are not seen.
    pub fn refresh(&mut self) {
        let sweep = match self.plan.scope {
            Scope::Pid(pid) => self.finder.sweep_one(pid),
            Scope::All => match self.finder.sweep(Instant::now() + SWEEP_BUDGET) {
                Ok(sweep) => sweep,
                Err(error) => {
                    self.sweep_limits = vec![format!("/proc cannot be listed: {error}")];
                    return;
                }
            },
        };
        self.sweep_limits.clear();
        if sweep.unreadable > 0 {
            self.sweep_limits.push(format!(
                "{} could not be read: if it uses HIP, it is not seen (root reads all but \
                 protected processes)",
                match sweep.unreadable {
                    1 => "1 process".to_owned(),
                    n => format!("{n} processes"),
                }
            ));
        }
        let complete = sweep.postponed == 0;
        if !complete {
            self.sweep_limits.push(format!(
                "{} processes were left for the next look at /proc",
                sweep.postponed
            ));
        }
        let now = Instant::now();
        if complete {
            let images = &sweep.images;
            self.hopeless
                .retain(|id, _| images.iter().any(|image| image.id == *id));
        }
        for image in sweep.images {
            match self.attached.get_mut(&image.id) {
                Some(attached) => {
                    attached.image.pids = image.pids;
                    attached.last_used = now;
                }
                None => self.attach(image, now),
            }
        }
        if complete {
            self.detach_unused(now);
        }
    }

    fn attach(&mut self, image: Image, now: Instant) {
        if image.kind == ImageKind::Shim && self.plan.shims == ShimProbes::Leave
            || self.hopeless.contains_key(&image.id)
        {
            return;
        }
        let path = printable(&image.path);
        let sites = match site::sites_in(&image.file, self.plan.probes) {
            Ok(sites) => sites,
            Err(error) => {
                self.hopeless.insert(image.id, format!("{path}: {error}"));
                return;
            }
        };
        let mut probes = match self.placement {
            Placement::Set => {
                self.programs
                    .attach(image.kind, &image.file, &sites, self.plan.scope)
            }
            Placement::Paused => Probes::default(),
        };
        let failed = std::mem::take(&mut probes.failed);
        let limit = match failed.first() {
            Some((api, error)) => Some(format!(
                "{path}: {} of {} functions could not be probed, first {}: {error}",
                failed.len(),
                sites.len(),
                ENTRY_POINTS[usize::from(*api)].symbol
            )),
            None if sites.is_empty() && image.kind == ImageKind::Runtime => {
                Some(format!("{path}: no function to probe in it"))
            }
            None => None,
        };
        self.attached.insert(
            image.id,
            Attached {
                image,
                sites,
                probes,
                last_used: now,
                limit,
            },
        );
    }

    /// Whether probes can be taken away and set again every few seconds:
    /// without multi-uprobe links each takes a tenth of a second to close.
    pub fn can_pause(&self) -> bool {
        self.programs.close_quickly()
    }

    /// Takes all probes away. Images are still looked for.
    pub fn pause(&mut self) {
        self.placement = Placement::Paused;
        // The runtimes' first: a call that has passed the shim's probe must
        // not meet the runtime's alone.
        for kind in [ImageKind::Runtime, ImageKind::Shim] {
            let mut leaving = Probes::default();
            for attached in self.attached.values_mut() {
                if attached.image.kind == kind {
                    leaving.append(std::mem::take(&mut attached.probes));
                }
            }
        }
    }

    /// Sets the probes again.
    pub fn resume(&mut self) {
        self.placement = Placement::Set;
        for kind in [ImageKind::Shim, ImageKind::Runtime] {
            for attached in self.attached.values_mut() {
                let image = &attached.image;
                if image.kind == kind {
                    attached.probes =
                        self.programs
                            .attach(kind, &image.file, &attached.sites, self.plan.scope);
                }
            }
        }
    }

    fn detach_unused(&mut self, now: Instant) {
        for attached in self.attached.values_mut() {
            if now.duration_since(attached.last_used) > Duration::ZERO {
                attached.image.pids.clear();
            }
        }
        let mut leaving = Probes::default();
        for (_, attached) in self
            .attached
            .extract_if(|_, a| now.duration_since(a.last_used) > UNUSED_FOR)
        {
            leaving.append(attached.probes);
        }
    }

    /// Waits until `timeout` is over, and meanwhile learns which libraries
    /// new callers belong to while their processes live.
    pub fn wait(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let ready = Timespec::try_from(left)
                .map_err(io::Error::other)
                .and_then(|left| {
                    let mut fds = [PollFd::from_borrowed_fd(
                        self.maps.first_seen_fd(),
                        PollFlags::IN,
                    )];
                    poll(&mut fds, Some(&left)).map_err(io::Error::from)
                });
            match ready {
                Ok(0) => return,
                Ok(_) => {
                    self.learn_callers();
                    thread::sleep(NOTICE_PAUSE.min(left));
                }
                Err(_) => thread::sleep(NOTICE_PAUSE.min(left)),
            }
        }
    }

    fn learn_callers(&mut self) {
        let mut new: HashMap<u32, Vec<u64>> = HashMap::new();
        self.maps.drain_first_seen(|seen| {
            new.entry(seen.key.tgid).or_default().push(seen.key.caller);
        });
        for (pid, addresses) in new {
            self.identify(pid);
            self.callers.learn(pid, addresses);
        }
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
        self.learn_callers();
        let counted = self.maps.calls()?;
        let mut sample = Sample {
            events: self.maps.events()?,
            drops: self.maps.drops()?,
            ..Sample::default()
        };
        let mut by_process: HashMap<u32, Vec<(CallKey, u64)>> = HashMap::new();
        for (key, count) in counted {
            by_process.entry(key.tgid).or_default().push((key, count));
        }
        for (pid, calls) in by_process {
            let process = self.identify(pid);
            let alive = process.is_alive();
            if alive {
                self.callers
                    .learn(pid, calls.iter().map(|(key, _)| key.caller));
            }
            for &(key, count) in &calls {
                let caller = self.callers.get(pid, key.caller);
                sample
                    .calls
                    .extend(sample::call_count(process, key, caller, count));
                if !alive {
                    self.maps.forget(key);
                }
            }
            if !alive {
                sample.exited.push(process);
            }
        }
        for process in &sample.exited {
            self.callers.forget(process.pid);
            self.processes.remove(&process.pid);
        }
        Ok(sample)
    }

    /// Probed images of a kind, and how many probes are on them.
    pub fn probed(&self, kind: ImageKind) -> (usize, usize) {
        self.attached
            .values()
            .filter(|attached| attached.image.kind == kind)
            .fold((0, 0), |(images, probes), attached| {
                (images + 1, probes + attached.probes.sites())
            })
    }

    /// Every image in use or used lately: path and processes.
    pub fn images(&self) -> impl Iterator<Item = (ImageKind, &str, &[u32])> {
        self.attached.values().map(|attached| {
            let image = &attached.image;
            (image.kind, image.path.as_str(), image.pids.as_slice())
        })
    }

    /// What is not observed, and why, in words for the user.
    pub fn limits(&self) -> impl Iterator<Item = &str> {
        self.hopeless
            .values()
            .chain(self.attached.values().filter_map(|a| a.limit.as_ref()))
            .chain(&self.sweep_limits)
            .map(String::as_str)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // All at once: each image for itself would wait one after the other.
        let mut leaving = Probes::default();
        for (_, attached) in self.attached.drain() {
            leaving.append(attached.probes);
        }
    }
}
