//! The daemon's use of the observer: within an overhead budget, and in the
//! model's attributes.

mod apart;
mod checks;
mod scaled;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use tracing::info;
use xsched_common::api::{BpfState, Sampling};
use xsched_common::bpf::Drop;
use xsched_common::page::HistogramCounts;
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;
use xsched_host::process::ProcessId;
use xsched_observe::duty::{DutyCycle, Load, SETTLING, Step};
use xsched_observe::{
    DropsByCpu, ImageKind, Observer, Plan, ProbeCost, Returns, ShimProbes, Unavailable, Watched,
    probe_cost,
};

use crate::model::{DropTotal, Observation};
pub use apart::SamplerThread;
use checks::{Checks, Taken};
use scaled::{Scaled, Weight};

/// Watches every process on the machine.
pub struct Sampler {
    observer: Observer,
    duty: DutyCycle,
    cost: ProbeCost,
    phase: Phase,
    checks: Checks,
    scaled: Scaled,
    bursts: HashMap<ProcessId, HistogramCounts>,
    events: u64,
    drops: Vec<DropTotal>,
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

impl Sampler {
    /// Sets probes on every image of the runtime, and of the shim: whether a
    /// call came through it is counted, not inferred. `budget` is the share
    /// of a process's time that they may cost; `returns` says whether bursts
    /// of processes without the shim are measured.
    ///
    /// # Errors
    /// What this machine lacks, with the next step.
    pub fn start(budget: f64, returns: Returns) -> Result<Sampler, Unavailable> {
        let cost = probe_cost(returns)?;
        let plan = Plan {
            returns,
            shims: ShimProbes::Probe(Vec::new()),
            ..Plan::everything()
        };
        let observer = Observer::start(plan)?;
        let now = monotonic();
        Ok(Sampler {
            observer,
            duty: DutyCycle::new(now, budget),
            cost,
            phase: Phase::Counting { since: now },
            checks: Checks::default(),
            scaled: Scaled::new(cost),
            bursts: HashMap::new(),
            events: 0,
            drops: Vec::new(),
            trouble: None,
        })
    }

    /// What a probed call costs on this machine, as measured at the start.
    pub fn cost(&self) -> ProbeCost {
        self.cost
    }

    /// Looks for new images, then reads all counts. `joined` processes are
    /// read from their pages and spared, apart from checks now and then.
    pub fn observe(&mut self, joined: &HashSet<ProcessId>) -> Observation {
        self.observer.refresh();
        self.read();
        let now = monotonic();
        self.checks.update(now, joined);
        if self.observer.can_pause() {
            let scaled = &self.scaled;
            self.checks.step(now, |process| scaled.counted(process));
        }
        self.watch();
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
                budget: Some(self.duty.budget()),
                cost: self.duty.cost(),
            },
            launches: self.scaled.launches(),
            apis: self.scaled.apis(),
            bursts: self.bursts.clone(),
            bypass: self.checks.verdicts().collect(),
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
                .chain(self.observer.lifecycle_missing().map(|why| {
                    format!("programs that begin are found by sweeps only, up to 10 s late: {why}")
                }))
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

    /// Probes where they are wanted now.
    fn watch(&mut self) {
        self.observer.watch(match self.phase {
            Phase::Off => Watched::Only(self.checks.checked()),
            Phase::Settling { .. } | Phase::Counting { .. } => {
                Watched::AllBut(self.checks.spared())
            }
        });
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
                let sampled = |process| self.checks.taken(process) == Taken::Sampled;
                Load {
                    spent: self.scaled.busiest(sampled),
                    over: now.since(since),
                }
            }
            Phase::Off | Phase::Settling { .. } => Load::default(),
        };
        let planned = Weight::Sampled(1.0 / self.duty.share());
        let actual = self.duty.weight(now, load.over);
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
                self.phase = Phase::Off;
                self.watch();
                // What came in since the last look, at the weight it was
                // counted with.
                self.read_with(planned);
                self.scaled.correct(actual);
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
                self.phase = Phase::Settling {
                    until: monotonic() + SETTLING,
                };
                self.watch();
            }
        }
    }

    fn read(&mut self) {
        self.read_with(match self.phase {
            Phase::Settling { .. } => Weight::None,
            Phase::Counting { .. } | Phase::Off => Weight::Sampled(1.0 / self.duty.share()),
        });
    }

    fn read_with(&mut self, weight: Weight) {
        match self.observer.sample() {
            Ok(sample) => {
                self.trouble = None;
                self.events = sample.events;
                self.drops = drop_totals(&sample.drops_by_cpu);
                let checks = &self.checks;
                self.scaled
                    .take(&sample, |process| match checks.taken(process) {
                        Taken::Sampled => weight,
                        Taken::Checked => Weight::One,
                        Taken::Ignored => Weight::None,
                    });
                self.bursts = sample.bursts;
            }
            Err(e) => self.trouble = Some(format!("the counts could not be read: {e}")),
        }
    }
}

/// Per reason, without the CPUs that dropped nothing.
fn drop_totals(by_cpu: &DropsByCpu) -> Vec<DropTotal> {
    Drop::ALL
        .into_iter()
        .map(|reason| DropTotal {
            reason,
            by_cpu: (0..)
                .zip(by_cpu)
                .map(|(cpu, drops)| (cpu, drops[reason as usize]))
                .filter(|&(_, count)| count > 0)
                .collect::<BTreeMap<u32, u64>>(),
        })
        .collect()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
