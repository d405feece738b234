//! The daemon's use of the observer: within an overhead budget, and in the
//! model's terms.

mod scaled;

use std::time::Duration;

use tracing::info;
use xsched_common::api::{BpfState, Sampling};
use xsched_common::bpf::Drop;
use xsched_common::units::Nanos;

use crate::clock::monotonic;
use crate::model::Observation;
use crate::observe::duty::{DutyCycle, Load, SETTLING, Step};
use crate::observe::{ImageKind, Observer, Plan, ShimProbes, Unavailable, probe_cost};
use scaled::{Scaled, Weight};

/// Watches every process on the machine.
pub struct Watcher {
    observer: Observer,
    duty: DutyCycle,
    cost: Nanos,
    phase: Phase,
    scaled: Scaled,
    events: u64,
    drops: Vec<(Drop, u64)>,
    trouble: Option<String>,
}

/// What the probes are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In place, but not yet believed.
    Settling { until: Nanos },
    /// In place, counting.
    Counting { since: Nanos },
    /// Away.
    Off,
}

impl Watcher {
    /// Sets probes on every image of the runtime, and of the shim: whether a
    /// call came through it is counted, not inferred. `budget` is the share
    /// of a process's time that they may cost.
    ///
    /// # Errors
    /// What this machine lacks, with the next step.
    pub fn start(budget: f64) -> Result<Watcher, Unavailable> {
        let cost = probe_cost()?;
        let plan = Plan {
            shims: ShimProbes::Probe(Vec::new()),
            ..Plan::everything()
        };
        let observer = Observer::start(plan)?;
        let now = monotonic();
        Ok(Watcher {
            observer,
            duty: DutyCycle::new(now, budget, cost),
            cost,
            phase: Phase::Counting { since: now },
            scaled: Scaled::default(),
            events: 0,
            drops: Vec::new(),
            trouble: None,
        })
    }

    /// What a probed call costs on this machine, as measured at the start.
    pub fn cost(&self) -> Nanos {
        self.cost
    }

    /// Looks for new images, then reads all counts.
    pub fn observe(&mut self) -> Observation {
        self.observer.refresh();
        self.read();
        let (runtimes, probes) = self.observer.probed(ImageKind::Runtime);
        let (_, shim_probes) = self.observer.probed(ImageKind::Shim);
        Observation {
            bpf: BpfState {
                available: true,
                reason: None,
                images: count(runtimes),
                probes: count(probes + shim_probes),
                events: self.events,
            },
            sampling: Sampling {
                factor: self.duty.share(),
            },
            launches: self.scaled.launches(),
            users: self
                .observer
                .images()
                .filter(|(kind, ..)| *kind == ImageKind::Runtime)
                .flat_map(|(_, _, pids)| pids.iter().copied())
                .collect(),
            drops: self.drops.clone(),
            limits: self
                .observer
                .limits()
                .map(str::to_owned)
                .chain(self.trouble.clone())
                .collect(),
        }
    }

    /// Waits, and meanwhile learns where new callers lie (a process may be
    /// gone by the next look) and keeps the budget.
    pub fn rest(&mut self, time: Duration) {
        self.turn();
        self.observer.wait(time);
    }

    fn turn(&mut self) {
        let now = monotonic();
        if let Phase::Settling { until } = self.phase
            && now >= until
        {
            self.read();
            self.scaled.start_load();
            self.duty.counting_since(now);
            self.phase = Phase::Counting { since: now };
        }
        let settling = matches!(self.phase, Phase::Settling { .. });
        if settling || now < self.duty.due() || !self.observer.can_pause() {
            return;
        }
        let load = match self.phase {
            Phase::Counting { since } => {
                self.read();
                let over = now.since(since);
                let hits = self.scaled.busiest();
                Load { hits, over }
            }
            Phase::Off | Phase::Settling { .. } => Load {
                hits: 0,
                over: Nanos::ZERO,
            },
        };
        let planned = Weight::of(1.0 / self.duty.share());
        let actual = Weight::of(self.duty.weight(now, load.over));
        let was_whole = self.duty.share() >= 1.0;
        match self.duty.step(now, load) {
            Step::Stay => {
                if matches!(self.phase, Phase::Counting { .. }) {
                    self.scaled.correct(actual);
                    self.scaled.start_load();
                    self.phase = Phase::Counting { since: now };
                }
            }
            Step::Pause => {
                self.observer.pause();
                // What came in since the last look, at the weight it was
                // counted with.
                self.read_with(planned);
                self.scaled.correct(actual);
                self.phase = Phase::Off;
                if was_whole {
                    info!(
                        "probes would cost the busiest process {:.1}% of its time: they are in place for {:.0}% \
                         of it, and counts are scaled",
                        100.0 * self.duty.overhead(load),
                        100.0 * self.duty.share()
                    );
                }
            }
            Step::Resume => {
                self.observer.resume();
                let until = monotonic() + SETTLING;
                self.phase = Phase::Settling { until };
            }
        }
    }

    fn read(&mut self) {
        self.read_with(match self.phase {
            Phase::Settling { .. } => Weight::NONE,
            Phase::Counting { .. } | Phase::Off => Weight::of(1.0 / self.duty.share()),
        });
    }

    fn read_with(&mut self, weight: Weight) {
        match self.observer.sample() {
            Ok(sample) => {
                self.trouble = None;
                self.events = sample.events;
                self.drops = Drop::ALL
                    .map(|reason| (reason, sample.drops.of(reason)))
                    .into();
                self.scaled.take(&sample, weight);
            }
            Err(e) => self.trouble = Some(format!("the counts could not be read: {e}")),
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
