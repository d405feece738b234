//! Counts scaled up for the time in which nobody counted.

use std::collections::HashMap;

use xsched_common::bpf::CallRoute;
use xsched_common::units::StreamClass;

use crate::model::{CallOwner, LaunchCount};
use crate::observe::{CallCount, ObjectKind, Sample};
use crate::process::ProcessId;

/// What one counted call stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Weight(f64);

impl Weight {
    /// Calls that are not believed.
    pub const NONE: Weight = Weight(0.0);

    /// Calls that each stand for so many.
    pub fn of(calls: f64) -> Weight {
        Weight(calls)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    process: ProcessId,
    caller: String,
    owner: CallOwner,
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

/// Totals per process, caller, stream class and route.
#[derive(Default)]
pub(super) struct Scaled {
    counts: HashMap<Key, Count>,
    hits: HashMap<ProcessId, u64>,
    hits_before: HashMap<ProcessId, u64>,
}

impl Scaled {
    /// Takes in totals; what is new in them has `weight`.
    pub fn take(&mut self, sample: &Sample, weight: Weight) {
        // Call sites and functions are separate in the sample: sum first.
        let mut totals: HashMap<Key, u64> = HashMap::new();
        let mut hits: HashMap<ProcessId, u64> = HashMap::new();
        for call in &sample.calls {
            // A call through the shim has met two probes.
            let met = if call.route == CallRoute::Shim { 2 } else { 1 };
            *hits.entry(call.process).or_default() += met * call.count;
            if call.entry().is_launch() {
                *totals.entry(key(call)).or_default() += call.count;
            }
        }
        self.hits = hits;
        for (key, total) in totals {
            let count = self.counts.entry(key).or_default();
            let new = total.saturating_sub(count.raw) as f64;
            count.raw = total;
            count.scaled += new * weight.0;
            if weight != Weight::NONE {
                count.phase += new;
                count.phase_scaled += new * weight.0;
            }
        }
        if !sample.exited.is_empty() {
            self.counts
                .retain(|key, _| !sample.exited.contains(&key.process));
        }
    }

    /// An on phase has ended: its calls have this weight, now that it is
    /// known how long they were counted.
    pub fn correct(&mut self, weight: Weight) {
        for count in self.counts.values_mut() {
            count.scaled += count.phase * weight.0 - count.phase_scaled;
            (count.phase, count.phase_scaled) = (0.0, 0.0);
        }
    }

    /// From now on [`Scaled::busiest`] counts.
    pub fn start_load(&mut self) {
        self.hits_before.clone_from(&self.hits);
    }

    /// Probe hits of the process that had most since [`Scaled::start_load`].
    pub fn busiest(&self) -> u64 {
        self.hits
            .iter()
            .map(|(process, hits)| {
                hits.saturating_sub(self.hits_before.get(process).copied().unwrap_or(0))
            })
            .max()
            .unwrap_or(0)
    }

    /// The scaled totals.
    pub fn launches(&self) -> Vec<LaunchCount> {
        self.counts
            .iter()
            .map(|(key, count)| LaunchCount {
                process: key.process,
                caller: key.caller.clone(),
                owner: key.owner,
                stream: key.stream,
                route: key.route,
                total: count.scaled.round() as u64,
            })
            .collect()
    }
}

fn key(call: &CallCount) -> Key {
    Key {
        process: call.process,
        caller: call.caller.object.name.clone(),
        owner: match call.caller.object.kind {
            ObjectKind::Program | ObjectKind::Anonymous | ObjectKind::Unknown => CallOwner::Program,
            ObjectKind::Runtime => CallOwner::Runtime,
            ObjectKind::Shim => CallOwner::Shim,
        },
        stream: call.stream,
        route: call.route,
    }
}
