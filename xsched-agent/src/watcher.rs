//! The daemon's use of the observer: its samples in the model's terms.

use std::time::{Duration, Instant};

use tracing::debug;
use xsched_common::api::BpfState;
use xsched_common::bpf::Drop;

use crate::model::{CallOwner, LaunchCount, Observation};
use crate::observe::{ImageKind, ObjectKind, Observer, Plan, ShimProbes, Unavailable};

/// Watches every process on the machine.
pub struct Watcher {
    observer: Observer,
}

impl Watcher {
    /// Sets probes on every image of the runtime, and of the shim: whether a
    /// call came through it is counted, not inferred.
    ///
    /// # Errors
    /// What this machine lacks, with the next step.
    pub fn start() -> Result<Watcher, Unavailable> {
        let plan = Plan {
            shims: ShimProbes::Probe(Vec::new()),
            ..Plan::everything()
        };
        let observer = Observer::start(plan)?;
        Ok(Watcher { observer })
    }

    /// Looks for new images, then reads all counts.
    pub fn observe(&mut self) -> Observation {
        let started = Instant::now();
        self.observer.refresh();
        let (runtimes, probes) = self.observer.probed(ImageKind::Runtime);
        let (_, shim_probes) = self.observer.probed(ImageKind::Shim);
        let mut observation = Observation {
            bpf: BpfState {
                available: true,
                reason: None,
                images: count(runtimes),
                probes: count(probes + shim_probes),
                events: 0,
            },
            users: self
                .observer
                .images()
                .filter(|(kind, ..)| *kind == ImageKind::Runtime)
                .flat_map(|(_, _, pids)| pids.iter().copied())
                .collect(),
            limits: self.observer.limits().map(str::to_owned).collect(),
            ..Observation::default()
        };
        match self.observer.sample() {
            Ok(sample) => {
                observation.bpf.events = sample.events;
                observation.drops = Drop::ALL
                    .map(|reason| (reason, sample.drops.of(reason)))
                    .into();
                observation.launches = sample
                    .calls
                    .iter()
                    .filter(|call| call.entry().is_launch())
                    .map(|call| LaunchCount {
                        process: call.process,
                        caller: call.caller.object.name.clone(),
                        owner: owner(call.caller.object.kind),
                        stream: call.stream,
                        route: call.route,
                        total: call.count,
                    })
                    .collect();
            }
            Err(e) => observation
                .limits
                .push(format!("the counts could not be read: {e}")),
        }
        debug!("observed in {:?}", started.elapsed());
        observation
    }

    /// Waits, and meanwhile learns where new callers lie: a process may be
    /// gone by the next look.
    pub fn rest(&mut self, time: Duration) {
        self.observer.wait(time);
    }
}

fn owner(kind: ObjectKind) -> CallOwner {
    match kind {
        ObjectKind::Program | ObjectKind::Anonymous | ObjectKind::Unknown => CallOwner::Program,
        ObjectKind::Runtime => CallOwner::Runtime,
        ObjectKind::Shim => CallOwner::Shim,
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
