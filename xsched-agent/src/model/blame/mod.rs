//! Where the time of slow bursts went: facts of each tick, collected for the
//! pure function that accounts for them ([`xsched_blame`]).

mod scene;
mod store;
mod watched;
mod watcher;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;

use xsched_blame::{Escaping, Facts, HeldUp, InFlight, OwnTimes, PeerWork, account};
use xsched_common::page::HistogramCounts;
use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;
use xsched_policy::ClientId;

use super::process::Process;
use super::{Clients, TICK};
use scene::{Commands, Scene, Service};
pub use store::BlameStore;
use watched::Seen;
pub use watcher::{Watch, Watcher};

/// Services that are watched closely: those with a target first.
const WATCHED: usize = 8;

/// Services that are remembered.
const REMEMBERED: usize = 256;

/// Ticks in a row in which nothing else was at work until the first of them
/// counts: who comes is seen a moment late.
const STILL_ALONE: usize = 4;

/// Bursts whose median differs by more than this factor from what is known
/// have another cause, perhaps, ...
const UNUSUAL: f64 = 1.2;

/// ... unless they go on for so many ticks.
const GOES_ON: u32 = 60;

/// Bursts from which their size is told.
const FEW: u64 = 4;

/// A service that waited for a processor for more than this part of its bursts
/// was not alone.
const UNDISTURBED: f64 = 0.1;

/// What is remembered of services.
#[derive(Default)]
pub struct Blames {
    services: HashMap<ProcessId, Remembered>,
    commands: Commands,
    watch: Watch,
    store: BlameStore,
}

#[derive(Default)]
struct Remembered {
    client: Option<ClientId>,
    own: OwnTimes,
    /// Alone, if nobody turns up: size and bursts.
    perhaps: VecDeque<(f64, HistogramCounts)>,
    admitted: u64,
    short_gaps: u64,
    at: Nanos,
    /// Commands of a burst.
    size: f64,
    /// Ticks alone in a row with bursts that differ from what is known.
    unusual: u32,
}

impl Blames {
    /// Who is to be watched, for whoever has them watched.
    pub fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// The accounts, for whoever asks.
    pub fn store(&self) -> BlameStore {
        self.store.clone()
    }

    /// Accounts for the time since the last tick.
    pub fn tick(&mut self, now: Nanos, processes: &HashMap<ProcessId, Process>, clients: &Clients) {
        let scene = &Scene::new(processes, clients, &mut self.commands);
        let mut services = scene.services();
        services.truncate(REMEMBERED);
        // One that is not joined for a moment is remembered.
        self.services.retain(|id, _| scene.knows(*id));
        for service in &services {
            let seen = self.watch.take(service.client.id);
            let known = self.services.entry(service.process.id).or_default();
            if let Some(facts) = known.facts(now, service, scene, seen) {
                self.store.add(service.process.id, account(&facts));
            }
        }
        self.store.retain(&self.services);
        let watched = services.iter().filter(|service| service.had_bursts());
        let watched = watched.take(WATCHED).map(|service| scene.request(service));
        self.watch.replace(watched.collect());
    }
}

impl Remembered {
    /// Of the time since the last tick; `None` for the first.
    fn facts(
        &mut self,
        now: Nanos,
        service: &Service<'_>,
        scene: &Scene<'_>,
        seen: Option<Seen>,
    ) -> Option<Facts> {
        let status = &service.client.status.devices[usize::from(service.device.0)];
        let admitted = status.admitted.load(Relaxed);
        let short_gaps = status.short_gaps.load(Relaxed);
        let same = self.client == Some(service.client.id);
        let (launched, short) = (
            admitted.saturating_sub(self.admitted),
            short_gaps.saturating_sub(self.short_gaps),
        );
        let over = now.since(self.at);
        (self.client, self.admitted) = (Some(service.client.id), admitted);
        (self.short_gaps, self.at) = (short_gaps, now);
        if !same {
            self.perhaps.clear();
            return None;
        }
        let new = service.process.window.latest().unwrap_or_default();
        let bursts = new.bursts.total();
        let past_gate = scene.past_gate(service, over);
        let seen = seen.unwrap_or_default();
        // Of few bursts one under way counts too much.
        if bursts >= FEW || self.size == 0.0 {
            self.size = launched as f64 / bursts.max(1) as f64;
        }
        let size = self.size;
        let others = scene.others_at_work(service);
        let burst_time = sum(&new.bursts);
        let undisturbed = (seen.delay + seen.agent).0 as f64 <= UNDISTURBED * burst_time.0 as f64
            && new.gate_waits.total() == 0
            && over < TICK.times(2);
        let alone = !others && past_gate.is_empty();
        if !alone {
            self.perhaps.clear();
        } else if undisturbed && bursts > 0 {
            self.learn(size, &new.bursts);
        }
        if bursts == 0 {
            return None;
        }
        // Only a burst after a long gap finds others' work: they are kept
        // away meanwhile.
        let fresh = 1.0 - (short as f64 / bursts as f64).clamp(0.0, 1.0);
        let own = self.own.of(size);
        let gate_wait = sum(&new.gate_waits);
        let host_gaps = own
            .as_ref()
            .filter(|_| seen.bursts > 0)
            .map_or(Nanos::ZERO, |own| {
                let launching = seen.launching.0.checked_div(seen.bursts).unwrap_or(0);
                // The last kernel comes behind the last launch.
                let last = Nanos((own.p50().0 as f64 / size.max(1.0)) as u64);
                let beyond = (Nanos(launching) + last).since(own.p50()).times(bursts);
                beyond.since(gate_wait).since(seen.delay)
            });
        let part = (burst_time.0 as f64 / over.0.max(1) as f64).min(1.0);
        let within = |time: Nanos| Nanos((time.min(over).0 as f64 * part) as u64);
        let lower = seen
            .others
            .iter()
            .filter(|other| other.lower && other.looks > 0);
        let peers = seen.others.iter().filter(|other| !other.lower);
        Some(Facts {
            pid: service.process.id.pid,
            over,
            target: service.client.attr().slo_p99,
            own,
            alone: alone && undisturbed,
            gate_wait,
            service_delay: seen.delay,
            host_gaps,
            in_flight: lower
                .map(|other| InFlight {
                    pid: other.pid,
                    commands: other.in_flight as f64 / other.looks as f64 * fresh,
                    cap: other.cap,
                    kernel: other.kernel,
                })
                .collect(),
            agent: HeldUp { delay: seen.agent },
            peers: peers
                .map(|other| PeerWork {
                    pid: other.pid,
                    // What it does while the gate is closed costs gate wait.
                    busy: within(other.busy).since(gate_wait),
                })
                .collect(),
            past_gate,
            unscheduled_busy: None,
            bursts: new.bursts,
        })
    }

    /// Nobody else was at work, as far as is known yet. What differs from what
    /// is known must go on for a while.
    fn learn(&mut self, size: f64, bursts: &HistogramCounts) {
        let new = bursts.quantile(0.5).unwrap_or_default();
        let known = self.own.of(size).map(|own| own.p50());
        let usual = known.is_none_or(|known| {
            let ratio = new.0 as f64 / known.0.max(1) as f64;
            (1.0 / UNUSUAL..UNUSUAL).contains(&ratio)
        });
        self.unusual = match usual {
            true => 0,
            false => self.unusual + 1,
        };
        if !usual && self.unusual < GOES_ON {
            return self.perhaps.clear();
        }
        self.perhaps.push_back((size, bursts.clone()));
        if self.perhaps.len() > STILL_ALONE
            && let Some((size, bursts)) = self.perhaps.pop_front()
        {
            self.own.learn(size, &bursts);
        }
    }
}

/// All values of a histogram, in sum.
fn sum(counts: &HistogramCounts) -> Nanos {
    let mut histogram = super::TimeHistogram::default();
    histogram.add(counts);
    histogram.sum
}

/// A rate as launches in some time.
fn launches(per_s: f64, over: Nanos) -> f64 {
    per_s * over.as_secs_f64()
}

impl Scene<'_> {
    /// Who launches past the gate and may do so on the service's device.
    fn past_gate(&self, service: &Service<'_>, over: Nanos) -> Vec<Escaping> {
        let mut escaping: Vec<Escaping> = self
            .escaping
            .iter()
            .filter(|one| one.may_be_beside(service))
            .map(|one| Escaping {
                pid: one.pid,
                launches: launches(one.per_s, over),
            })
            .collect();
        escaping.sort_by(|a, b| b.launches.total_cmp(&a.launches));
        escaping.truncate(16);
        escaping
    }
}
