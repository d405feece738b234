//! Latency targets: cap and linger follow the P99 of the bursts that have
//! one.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989): each
//! window in which a target was missed halves the budget D and doubles the
//! shortest linger; each window in which all were met with room to spare
//! gives a little back. In between nothing changes, so that the numbers come
//! to rest. A target that is missed with both at their limit is out of
//! reach; what stands in its way is for others to find out (xsched-blame).

use xsched_common::api::SloState;
use xsched_common::units::Nanos;

use super::liveness::Member;
use super::{Cap, ClientId, DeviceSettings, Knobs};

/// Budgets below this leave one command in flight, whatever its length.
const LEAST_BUDGET: Nanos = Nanos::from_micros(50);
/// A budget beyond this gains nothing: the device is fed long since.
const MOST_BUDGET: Nanos = Nanos::from_millis(4);
/// What a good window adds to the budget, and takes from the linger.
const STEP: Nanos = Nanos::from_micros(50);
/// A target is met with room to spare below this many percent of it.
const ROOM_PERCENT: u64 = 85;
/// Missed windows at the limit before a target counts as out of reach.
const MISSES_UNTIL_IMPOSSIBLE: u32 = 3;

/// What is remembered of a device's targets.
#[derive(Clone, Debug, Default)]
pub(super) struct SloMemory {
    /// Cap and linger as they have become.
    adapted: Option<Adapted>,
    targets: Vec<Target>,
}

#[derive(Clone, Copy, Debug)]
struct Adapted {
    budget: Nanos,
    linger_min: Nanos,
    /// The settings that they began from.
    from: DeviceSettings,
}

#[derive(Clone, Copy, Debug)]
struct Target {
    id: ClientId,
    window: u64,
    missed_at_limit: u32,
    verdict: SloVerdict,
}

/// How a target goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SloVerdict {
    /// In one word.
    pub state: SloState,
    /// The P99 of the last window, if there was one.
    pub p99: Option<Nanos>,
}

impl SloMemory {
    pub fn verdicts(&self) -> impl Iterator<Item = (ClientId, SloVerdict)> {
        self.targets
            .iter()
            .map(|target| (target.id, target.verdict))
    }

    pub fn verdict(&self, id: ClientId) -> Option<SloVerdict> {
        let at = self.targets.binary_search_by_key(&id, |target| target.id);
        Some(self.targets.get(at.ok()?)?.verdict)
    }
}

/// The numbers for this decision.
pub(super) fn adapt(
    settings: &DeviceSettings,
    memory: &mut SloMemory,
    members: &[Member<'_>],
) -> Knobs {
    let (linger_min, linger_max) = settings.linger.limits();
    let mut adapted = memory
        .adapted
        .filter(|adapted| adapted.from == *settings)
        .unwrap_or(Adapted {
            budget: settings.budget,
            linger_min,
            from: *settings,
        });
    memory.targets.retain(|target| {
        members
            .binary_search_by_key(&target.id, |member| member.state.id)
            .is_ok_and(|at| members[at].state.attr.slo_p99.is_some())
    });

    let at_limit = adapted.budget <= LEAST_BUDGET && adapted.linger_min >= linger_max;
    let (mut news, mut missed, mut room) = (false, false, true);
    for member in members {
        let Some(goal) = member.state.attr.slo_p99 else {
            continue;
        };
        let target = memory.target(member.state.id);
        if let Some(latency) = member.state.latency
            && latency.window != target.window
        {
            target.window = latency.window;
            news = true;
            let met = latency.p99 <= goal;
            missed |= !met;
            target.missed_at_limit = match met {
                false if at_limit => target.missed_at_limit.saturating_add(1),
                _ => 0,
            };
            target.verdict.p99 = Some(latency.p99);
            target.verdict.state = match met {
                true => SloState::Met,
                false if target.missed_at_limit >= MISSES_UNTIL_IMPOSSIBLE => SloState::Impossible,
                false => SloState::Adapting,
            };
        }
        room &= target
            .verdict
            .p99
            .is_some_and(|p99| p99.0 <= goal.0.saturating_mul(ROOM_PERCENT) / 100);
    }
    if news && missed {
        adapted.budget = Nanos(adapted.budget.0 / 2).max(LEAST_BUDGET);
        let doubled = adapted.linger_min.times(2).max(STEP);
        adapted.linger_min = doubled.min(linger_max);
    } else if news && room {
        adapted.budget = (adapted.budget + STEP).min(MOST_BUDGET);
        adapted.linger_min = adapted.linger_min.since(STEP).max(linger_min);
    }
    memory.adapted = Some(adapted);
    Knobs {
        cap: Cap::Time(adapted.budget),
        linger_min: adapted.linger_min,
        linger_max,
    }
}

impl SloMemory {
    fn target(&mut self, id: ClientId) -> &mut Target {
        let new = || Target {
            id,
            window: 0,
            missed_at_limit: 0,
            verdict: SloVerdict {
                state: SloState::Unknown,
                p99: None,
            },
        };
        let at = match self.targets.binary_search_by_key(&id, |target| target.id) {
            Ok(at) => at,
            Err(at) => {
                self.targets.insert(at, new());
                at
            }
        };
        &mut self.targets[at]
    }
}
