//! Joined processes are read from their pages and carry no probes, which
//! leaves one question: does work go past their shim? From time to time their
//! calls are counted for a moment. A process whose calls went past it is
//! watched like one without a shim until that has ceased.

use std::collections::{HashMap, HashSet};

use xsched_common::units::Nanos;
use xsched_host::process::ProcessId;
use xsched_observe::duty::SETTLING;

use crate::model::Bypass;

/// From the end of a check to the beginning of the next.
const REST: Nanos = Nanos::from_secs(30);

/// A process that has just joined is still loading libraries.
const FIRST_AFTER: Nanos = Nanos::from_secs(1);

/// Launches that make a check conclusive.
const ENOUGH: u64 = 20;

/// A check of a process that launches less ends after this.
const LONGEST: Nanos = Nanos::from_secs(5);

/// A process is watched for so long after its last call past the shim.
const WATCHED_FOR: Nanos = Nanos::from_secs(60);

/// Launches of one process as counted, not scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Launches {
    /// Past the shim.
    pub direct: u64,
    /// Through it.
    pub through: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No probes.
    Resting { until: Nanos },
    /// Probes are in place, but a call may have passed the shim before they
    /// were.
    Settling { until: Nanos },
    /// Calls count.
    Counting { since: Nanos, from: Launches },
    /// Calls go past the shim.
    Bypassing { last: Nanos, direct: u64 },
}

/// How the calls of a process are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// With everybody's: sampled, scaled.
    Sampled,
    /// As they are, for a check.
    Checked,
    /// Not at all.
    Ignored,
}

#[derive(Clone, Copy, Debug)]
struct Joined {
    state: State,
    verdict: Bypass,
}

/// Who is checked when.
#[derive(Debug, Default)]
pub(super) struct Checks {
    joined: HashMap<ProcessId, Joined>,
}

impl Checks {
    /// Takes note of who has joined now.
    pub fn update(&mut self, now: Nanos, joined: &HashSet<ProcessId>) {
        self.joined.retain(|process, _| joined.contains(process));
        for &process in joined {
            self.joined.entry(process).or_insert(Joined {
                state: State::Resting {
                    until: now + FIRST_AFTER,
                },
                verdict: Bypass::Unknown,
            });
        }
    }

    /// One step for everybody, given what was counted up to now.
    pub fn step(&mut self, now: Nanos, counted: impl Fn(ProcessId) -> Launches) {
        for (&process, joined) in &mut self.joined {
            joined.step(now, counted(process));
        }
    }

    /// Processes that carry no probes now.
    pub fn spared(&self) -> HashSet<u32> {
        self.pids(|state| matches!(state, State::Resting { .. }))
    }

    /// Processes that carry probes because they are being checked.
    pub fn checked(&self) -> HashSet<u32> {
        self.pids(|state| matches!(state, State::Settling { .. } | State::Counting { .. }))
    }

    fn pids(&self, which: impl Fn(State) -> bool) -> HashSet<u32> {
        self.joined
            .iter()
            .filter(|(_, joined)| which(joined.state))
            .map(|(process, _)| process.pid)
            .collect()
    }

    /// What to do with the calls of a process.
    pub fn taken(&self, process: ProcessId) -> Taken {
        match self.joined.get(&process).map(|joined| joined.state) {
            None | Some(State::Bypassing { .. }) => Taken::Sampled,
            Some(State::Counting { .. }) => Taken::Checked,
            Some(State::Resting { .. } | State::Settling { .. }) => Taken::Ignored,
        }
    }

    /// What is known of each.
    pub fn verdicts(&self) -> impl Iterator<Item = (ProcessId, Bypass)> {
        self.joined.iter().map(|(&id, joined)| (id, joined.verdict))
    }
}

impl Joined {
    fn step(&mut self, now: Nanos, counted: Launches) {
        self.state = match self.state {
            State::Resting { until } if now >= until => State::Settling {
                until: now + SETTLING,
            },
            State::Settling { until } if now >= until => State::Counting {
                since: now,
                from: counted,
            },
            State::Counting { since, from } => {
                let direct = counted.direct.saturating_sub(from.direct);
                let all = direct + counted.through.saturating_sub(from.through);
                if direct > 0 {
                    self.verdict = Bypass::Seen;
                    State::Bypassing {
                        last: now,
                        direct: counted.direct,
                    }
                } else if all >= ENOUGH || now.since(since) >= LONGEST {
                    if all > 0 {
                        self.verdict = Bypass::NotSeen;
                    }
                    State::Resting { until: now + REST }
                } else {
                    self.state
                }
            }
            State::Bypassing { last, direct } => {
                if counted.direct > direct {
                    State::Bypassing {
                        last: now,
                        direct: counted.direct,
                    }
                } else if now.since(last) >= WATCHED_FOR {
                    self.verdict = Bypass::NotSeen;
                    State::Resting { until: now + REST }
                } else {
                    self.state
                }
            }
            same => same,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ProcessId = ProcessId {
        pid: 7,
        start_time: 1,
    };
    const TICK: Nanos = Nanos::from_millis(500);

    /// Plays `seconds` of a process of which `direct` and `through` launches
    /// per second are counted while it carries probes. Returns the share of
    /// the time in which it did, and the verdict.
    fn play(checks: &mut Checks, from: u64, seconds: u64, rate: Launches) -> (f64, Bypass) {
        let joined = HashSet::from([ONE]);
        let (mut now, end) = (Nanos::from_secs(from), Nanos::from_secs(from + seconds));
        let mut counted = Launches {
            direct: 1_000_000 * from,
            through: 1_000_000 * from,
        };
        let (mut ticks, mut probed) = (0.0, 0.0);
        while now < end {
            checks.update(now, &joined);
            checks.step(now, |_| counted);
            now = now + TICK;
            ticks += 1.0;
            if !checks.spared().contains(&ONE.pid) {
                probed += 1.0;
                counted.direct += rate.direct / 2;
                counted.through += rate.through / 2;
            }
        }
        let verdict = checks.verdicts().next().expect("it has joined").1;
        (probed / ticks, verdict)
    }

    fn rate(direct: u64, through: u64) -> Launches {
        Launches { direct, through }
    }

    #[test]
    fn a_process_that_keeps_to_its_shim_hardly_ever_carries_probes() {
        let (probed, verdict) = play(&mut Checks::default(), 0, 600, rate(0, 10_000));
        assert!(probed < 0.05, "{probed}");
        assert_eq!(verdict, Bypass::NotSeen);
    }

    #[test]
    fn a_process_that_does_nothing_is_not_judged() {
        let (probed, verdict) = play(&mut Checks::default(), 0, 600, rate(0, 0));
        assert!(probed < 0.2, "{probed}");
        assert_eq!(verdict, Bypass::Unknown);
    }

    #[test]
    fn a_bypass_is_watched_until_it_ceases() {
        let mut checks = Checks::default();
        let (probed, verdict) = play(&mut checks, 0, 60, rate(100, 100));
        assert!(probed > 0.9, "{probed}");
        assert_eq!(verdict, Bypass::Seen);
        assert_eq!(checks.taken(ONE), Taken::Sampled);
        let (probed, verdict) = play(&mut checks, 100, 600, rate(0, 100));
        assert!(probed < 0.2, "{probed}");
        assert_eq!(verdict, Bypass::NotSeen);
        assert_eq!(checks.taken(ONE), Taken::Ignored);
    }

    #[test]
    fn who_has_left_is_sampled_like_anybody() {
        let mut checks = Checks::default();
        play(&mut checks, 0, 60, rate(0, 100));
        checks.update(Nanos::from_secs(61), &HashSet::new());
        assert_eq!(checks.taken(ONE), Taken::Sampled);
        assert!(checks.spared().is_empty() && checks.verdicts().next().is_none());
    }
}
