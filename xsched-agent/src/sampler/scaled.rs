//! Counts scaled up for the time in which nobody counted.

use std::collections::HashMap;

use xsched_common::bpf::CallRoute;
use xsched_common::platform::ENTRY_POINTS;
use xsched_common::units::{Nanos, StreamClass};
use xsched_host::process::ProcessId;
use xsched_observe::{CallCount, ProbeCost, Sample};

use super::checks::Launches;
use crate::model::{ApiCount, LaunchCount};

/// What one counted call stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Weight {
    /// Nothing: it is not believed, or not asked for.
    None,
    /// Itself.
    One,
    /// So many, until the end of the phase tells better.
    Sampled(f64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    process: ProcessId,
    api: u16,
    caller: String,
    stream: StreamClass,
    route: CallRoute,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    raw: u64,
    scaled: f64,
    /// Calls of this on phase, and what they were taken for.
    phase: f64,
    phase_scaled: f64,
}

/// Totals per process, function, caller, stream class and route.
pub(super) struct Scaled {
    cost: ProbeCost,
    counts: HashMap<Key, Count>,
    spent: HashMap<ProcessId, Nanos>,
    spent_before: HashMap<ProcessId, Nanos>,
    launches: HashMap<ProcessId, Launches>,
}

impl Scaled {
    /// Nothing counted yet, with probes that cost so much.
    pub fn new(cost: ProbeCost) -> Scaled {
        Scaled {
            cost,
            counts: HashMap::new(),
            spent: HashMap::new(),
            spent_before: HashMap::new(),
            launches: HashMap::new(),
        }
    }

    /// Takes in totals; what is new in them is weighed.
    pub fn take(&mut self, sample: &Sample, weigh: impl Fn(ProcessId) -> Weight) {
        // Call sites of one library are separate in the sample: sum first.
        let mut totals: HashMap<Key, u64> = HashMap::new();
        self.spent.clear();
        self.launches.clear();
        for call in &sample.calls {
            let cost = self.cost_of(call);
            let spent = self.spent.entry(call.process).or_default();
            *spent = *spent + cost;
            // The runtime's calls of its own exports are the inner half of a
            // call that is counted already; they cost all the same.
            if call.is_nested() {
                continue;
            }
            if call.entry().is_launch() {
                let launches = self.launches.entry(call.process).or_default();
                match call.route {
                    CallRoute::Direct => launches.direct += call.count,
                    CallRoute::Shim => launches.through += call.count,
                }
            }
            *totals.entry(key(call)).or_default() += call.count;
        }
        for (key, total) in totals {
            let weight = weigh(key.process);
            let count = self.counts.entry(key).or_default();
            let new = total.saturating_sub(count.raw) as f64;
            count.raw = total;
            match weight {
                Weight::None => {}
                Weight::One => count.scaled += new,
                Weight::Sampled(calls) => {
                    count.scaled += new * calls;
                    count.phase += new;
                    count.phase_scaled += new * calls;
                }
            }
        }
        if !sample.exited.is_empty() {
            self.counts
                .retain(|key, _| !sample.exited.contains(&key.process));
        }
        for (key, count) in &mut self.counts {
            if sample.restarted.contains(&key.process) {
                count.raw = 0;
            }
        }
    }

    fn cost_of(&self, call: &CallCount) -> Nanos {
        let runtime = match call.entry().drains() {
            true => self.cost.wait,
            false => self.cost.entry,
        };
        // A call through the shim has met the shim's probe as well.
        let shim = match call.route {
            CallRoute::Direct => Nanos::ZERO,
            CallRoute::Shim => self.cost.entry,
        };
        Nanos((runtime + shim).0.saturating_mul(call.count))
    }

    /// An on phase has ended: its calls have this weight, now that it is
    /// known how long they were counted.
    pub fn correct(&mut self, calls: f64) {
        for count in self.counts.values_mut() {
            count.scaled += count.phase * calls - count.phase_scaled;
            (count.phase, count.phase_scaled) = (0.0, 0.0);
        }
    }

    /// From now on [`Scaled::busiest`] counts.
    pub fn start_load(&mut self) {
        self.spent_before.clone_from(&self.spent);
    }

    /// What probes have cost the process that they cost most since
    /// [`Scaled::start_load`], of those that `which` accepts.
    pub fn busiest(&self, which: impl Fn(ProcessId) -> bool) -> Nanos {
        self.spent
            .iter()
            .filter(|(process, _)| which(**process))
            .map(|(process, spent)| {
                let before = self.spent_before.get(process).copied();
                spent.since(before.unwrap_or_default())
            })
            .max()
            .unwrap_or_default()
    }

    /// Launches of a process that were counted, not scaled.
    pub fn counted(&self, process: ProcessId) -> Launches {
        self.launches.get(&process).copied().unwrap_or_default()
    }

    /// The scaled totals of launches.
    pub fn launches(&self) -> Vec<LaunchCount> {
        self.counts
            .iter()
            .filter(|(key, _)| ENTRY_POINTS[usize::from(key.api)].is_launch())
            .map(|(key, count)| LaunchCount {
                process: key.process,
                caller: key.caller.clone(),
                stream: key.stream,
                route: key.route,
                total: count.scaled.round() as u64,
            })
            .collect()
    }

    /// The scaled totals of all functions.
    pub fn apis(&self) -> Vec<ApiCount> {
        let mut apis: HashMap<(ProcessId, u16, StreamClass), f64> = HashMap::new();
        for (key, count) in &self.counts {
            *apis.entry((key.process, key.api, key.stream)).or_default() += count.scaled;
        }
        apis.into_iter()
            .map(|((process, api, stream), total)| ApiCount {
                process,
                api,
                stream,
                total: total.round() as u64,
            })
            .collect()
    }
}

fn key(call: &CallCount) -> Key {
    Key {
        process: call.process,
        api: call.api,
        caller: call.caller.object.name.clone(),
        stream: call.stream,
        route: call.route,
    }
}
