//! The overhead budget: how much of the time probes are in place.
//!
//! A probed call costs about a microsecond, which a program that launches
//! 100,000 kernels a second would feel. So probes are in place for as much of
//! each cycle as keeps the busiest process within the budget, and counts are
//! scaled up accordingly. This file is the arithmetic, without a clock.

use xsched_common::units::Nanos;

/// Length of an on and an off phase together: rates shown to users cover as
/// much, so each covers one whole cycle.
pub const CYCLE: Nanos = Nanos::from_secs(5);

/// After probes came into place, calls that were already on their way from
/// the shim to the runtime look as if they had gone past it. Counts of this
/// long are therefore not believed; it is longer than a wait at a closed gate
/// (100 ms).
pub const SETTLING: Nanos = Nanos::from_millis(150);

/// The shortest time worth counting.
const SHORTEST: Nanos = Nanos::from_millis(100);

/// Of the budget, what is planned with. A hit in a program costs more than the
/// calibrated one where the program's own lines must come back into the caches,
/// setting probes costs as well, and where two hardware threads share a core
/// the agent's own work slows the program beside it. With three quarters
/// planned, 0.9 to 1.5% was measured at a budget of 1%
/// (`cargo xtask bench observe --part steady`).
const PLANNED: f64 = 0.5;

/// Where probes cannot stay all the time, they stay for no more than this:
/// shorter pauses cost as much as they save.
const LONGEST: f64 = 0.9;

/// What to do with the probes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Leave them as they are.
    Stay,
    /// Take them away.
    Pause,
    /// Set them again.
    Resume,
}

/// How much the busiest process was slowed while probes were in place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// What the probes that it met cost it.
    pub spent: Nanos,
    /// The time in which it met them.
    pub over: Nanos,
}

/// Decides when probes are in place.
#[derive(Clone, Debug)]
pub struct DutyCycle {
    budget: f64,
    /// Share of a cycle, as decided at the end of the last on phase.
    share: f64,
    /// What the probes cost the busiest process in the last on phase, as a
    /// share of its time, if one has ended.
    overhead: Option<f64>,
    /// When counting began, or when the probes went away.
    since: Nanos,
    /// When the last on phase ended: from there to the end of this one, the
    /// calls counted stand for all.
    counted_until: Nanos,
    on: bool,
}

impl DutyCycle {
    /// Probes are in place since `now`. `budget` is the share of a process's
    /// time that probes may cost.
    pub fn new(now: Nanos, budget: f64) -> DutyCycle {
        DutyCycle {
            budget,
            share: 1.0,
            overhead: None,
            since: now,
            counted_until: now,
            on: true,
        }
    }

    /// Share of the time that counts are taken, as planned.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// What a call stands for that was counted in an on phase which ends now
    /// after `over`: exact, where one over the share is the plan.
    pub fn weight(&self, now: Nanos, over: Nanos) -> f64 {
        now.since(self.counted_until).0 as f64 / over.0.max(1) as f64
    }

    /// Share of the busiest process's time that the probes cost while in
    /// place.
    pub fn overhead(&self, load: Load) -> f64 {
        if load.over == Nanos::ZERO {
            return 0.0;
        }
        load.spent.0 as f64 / load.over.0 as f64
    }

    /// The share of a process's time that probes may cost.
    pub fn budget(&self) -> f64 {
        self.budget
    }

    /// What they cost the busiest process, as a share of its time: what a hit
    /// costs is calibrated, how many there were is counted. `None` before the
    /// first on phase has ended.
    pub fn cost(&self) -> Option<f64> {
        let in_place = match self.share >= 1.0 {
            true => 1.0,
            false => self.share + SETTLING.0 as f64 / CYCLE.0 as f64,
        };
        self.overhead.map(|overhead| overhead * in_place)
    }

    /// When [`DutyCycle::step`] has something to decide.
    pub fn due(&self) -> Nanos {
        self.since
            + if self.on {
                self.counted_time()
            } else {
                CYCLE - SETTLING - self.counted_time()
            }
    }

    /// Counts are believed from `now` on: [`SETTLING`] after the probes came
    /// into place, or somewhat later.
    pub fn counting_since(&mut self, now: Nanos) {
        self.since = now;
    }

    /// Decides, given the load of the current on phase so far (ignored while
    /// off).
    pub fn step(&mut self, now: Nanos, load: Load) -> Step {
        if now < self.due() {
            return Step::Stay;
        }
        if !self.on {
            (self.on, self.since) = (true, now + SETTLING);
            return Step::Resume;
        }
        self.counted_until = now;
        let overhead = self.overhead(load);
        self.overhead = Some(overhead);
        let wanted = if overhead > 0.0 {
            PLANNED * self.budget / overhead
        } else {
            1.0
        };
        let next = if wanted >= 1.0 {
            1.0
        } else {
            self.affordable(wanted.min(LONGEST))
        };
        if next >= 1.0 {
            self.share = 1.0;
            self.since = now;
            return Step::Stay;
        }
        self.share = next;
        (self.on, self.since) = (false, now);
        Step::Pause
    }

    /// Share of a cycle in which counts are taken, if probes may be in place
    /// for `wanted` of it.
    fn affordable(&self, wanted: f64) -> f64 {
        let on = wanted * CYCLE.0 as f64;
        (on - SETTLING.0 as f64).max(SHORTEST.0 as f64) / CYCLE.0 as f64
    }

    fn counted_time(&self) -> Nanos {
        if self.share >= 1.0 {
            // Undecided so far: a short look decides.
            return Nanos(5 * SHORTEST.0);
        }
        Nanos((self.share * CYCLE.0 as f64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Nanos = Nanos(1_100);
    const TICK: Nanos = Nanos::from_millis(10);

    /// The calibrated hit costs little more than half of what the program pays.
    #[test]
    fn a_margin_pays_for_what_calibration_does_not_see() {
        for rate in [5_000.0, 7_500.0, 9_500.0, 10_500.0, 30_000.0] {
            let (cost, _) = play(rate, 200);
            assert!(1.8 * cost < 0.0103, "{rate}: {cost}");
        }
    }

    /// Plays `seconds` of a process that makes `rate` calls per second and
    /// returns the share of its time that probes cost it, and the calls that
    /// the scaled counts make of it, per second.
    fn play(rate: f64, seconds: u64) -> (f64, f64) {
        let mut now = Nanos::ZERO;
        let mut duty = DutyCycle::new(now, 0.01);
        // Counting since then; None while the probes are away.
        let mut counting = Some(now);
        let (mut cost, mut counted, mut phase) = (0.0, 0.0, 0.0);
        let half = Nanos::from_secs(seconds / 2);
        while now < Nanos::from_secs(seconds) {
            now = now + TICK;
            let calls = rate * TICK.as_secs_f64();
            if counting.is_some() && now > half {
                cost += calls * COST.as_secs_f64();
            }
            if counting.is_some_and(|since| now > since) {
                phase += calls;
            }
            if now < duty.due() {
                continue;
            }
            let over = counting.map_or(Nanos::ZERO, |since| now.since(since));
            if counting.is_some() {
                if now > half {
                    counted += phase * duty.weight(now, over);
                }
                phase = 0.0;
            }
            let spent = Nanos((rate * over.as_secs_f64()) as u64 * COST.0);
            counting = match duty.step(now, Load { spent, over }) {
                Step::Stay => Some(now),
                Step::Pause => None,
                Step::Resume => Some(now + SETTLING),
            };
        }
        let seconds = (now - half).as_secs_f64();
        (cost / seconds, counted / seconds)
    }

    #[test]
    fn a_quiet_process_is_watched_all_the_time() {
        let (cost, counted) = play(5_000.0, 60);
        assert!(cost < 0.01, "{cost}");
        let now = Nanos::from_secs(1);
        let mut duty = DutyCycle::new(Nanos::ZERO, 0.01);
        assert_eq!((duty.cost(), duty.budget()), (None, 0.01));
        let load = Load {
            spent: Nanos::from_millis(5),
            over: Nanos::from_secs(1),
        };
        assert_eq!(duty.step(now, load), Step::Stay);
        assert_eq!(duty.cost(), Some(0.005));
        assert!((counted / 5_000.0 - 1.0).abs() < 0.01, "{counted}");
    }

    #[test]
    fn busy_processes_stay_within_the_budget_and_are_counted_right() {
        for rate in [12_000.0, 30_000.0, 60_000.0, 150_000.0] {
            let (cost, counted) = play(rate, 200);
            assert!(cost < 0.01, "{rate}: {cost}");
            assert!((counted / rate - 1.0).abs() < 0.06, "{rate}: {counted}");
        }
    }

    #[test]
    fn the_shortest_look_bounds_the_extreme() {
        // A million calls a second: 250 ms in 5 s is the least there is.
        let (cost, _) = play(1_000_000.0, 200);
        assert!(cost < 1.1 * 0.25 / 5.0 * 1.3, "{cost}");
    }
}
