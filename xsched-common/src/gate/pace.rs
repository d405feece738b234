//! How long a stream's work takes, for a program that nobody tells when it is
//! complete: measured by stamps (events that keep the device's time) behind
//! some of its commands, as pure arithmetic.
//!
//! A stamp can only be put behind what has been launched already, so one is
//! put before some launches of each burst; the times between stamps show what
//! the commands between them took, and a last one without a stamp behind it
//! is taken for one of the others. Stamps are looked at in later launches.
//! Time in which the device idled does not count: from when the host put the
//! stamps, and how far the device was behind it, follows how long that can
//! have been.

use crate::units::Nanos;

/// Stamps at a time: the last one that was passed, and those behind it.
pub const STAMPS: usize = 6;

/// Commands that are averaged over at most.
const WINDOW: u64 = 256;

/// After so long without a launch the next one begins a burst, while nothing
/// is known of what they take.
const PAUSE: Nanos = Nanos::from_millis(1);

/// A stamp: the platform's event, the commands before it, when it was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The event; zero is none.
    pub event: u64,
    /// How many of the stream's first commands come before it.
    pub sequence: u64,
    /// When it was put, by the process's clock.
    pub put: Nanos,
}

/// Commands and the device's time for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Took {
    /// How many.
    pub commands: u64,
    /// Together.
    pub time: Nanos,
}

/// One stream's pace. All-zero is a stream of which nothing is known.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Oldest first: the one that was passed last, then those that were not.
    stamps: [Stamp; STAMPS],
    count: usize,
    /// How far the device was behind when it passed the first.
    lag: Nanos,
    /// Of this burst so far.
    took: Took,
    /// Whether a mere bound is a part of `until`.
    bounded: bool,
    per_command: Nanos,
    /// Whether that was measured and is no mere bound.
    measured: bool,
    /// Until when what has been launched should last, by the process's clock.
    until: Nanos,
    /// The number of the last command of which nothing was known and which may
    /// not be complete; zero is none.
    unknown: u64,
    /// Commands before this burst, and those of the last one.
    before_burst: u64,
    last_burst: u64,
}

const NO_STAMP: Stamp = Stamp {
    event: 0,
    sequence: 0,
    put: Nanos::ZERO,
};

impl Default for Pace {
    fn default() -> Pace {
        Pace::new()
    }
}

impl Pace {
    /// Nothing is known.
    pub const fn new() -> Pace {
        Pace {
            stamps: [NO_STAMP; STAMPS],
            count: 0,
            lag: Nanos::ZERO,
            took: Took {
                commands: 0,
                time: Nanos::ZERO,
            },
            bounded: false,
            per_command: Nanos::ZERO,
            measured: false,
            until: Nanos::ZERO,
            unknown: 0,
            before_burst: 0,
            last_burst: 0,
        }
    }

    /// What a command takes, or takes at most; zero while unknown.
    pub fn per_command(&self) -> Nanos {
        self.per_command
    }

    /// The stamp to ask about next, and the one that the time counts from.
    pub fn next(&self) -> Option<(Stamp, Stamp)> {
        (self.count >= 2).then(|| (self.stamps[0], self.stamps[1]))
    }

    /// The device has passed the [next](Pace::next) stamp, so long after the
    /// one before, if it says so. What is known now of a whole burst, and the
    /// stamp that is needed no more.
    pub fn passed(&mut self, elapsed: Option<Nanos>) -> (Option<Took>, Stamp) {
        let [first, next, ..] = self.stamps;
        if next.sequence >= self.unknown {
            self.unknown = 0;
        }
        self.stamps.copy_within(1..self.count.max(1), 0);
        self.count = self.count.saturating_sub(1);
        let Some(elapsed) = elapsed else {
            self.lag = Nanos::ZERO;
            return (self.finish(), first);
        };
        let commands = next.sequence.saturating_sub(first.sequence);
        let span = next.put.since(first.put);
        // It idled at most while it was not behind the host.
        let idle = span.since(self.lag);
        self.lag = (self.lag + elapsed).since(span);
        let clean = idle.times(8) <= elapsed;
        if clean && commands > 0 {
            self.took.commands += commands;
            self.took.time = self.took.time + elapsed;
            let full = self.took.commands >= WINDOW;
            return (full.then(|| self.finish()).flatten(), first);
        }
        let done = self.finish();
        if commands > 0 && !self.measured {
            // They took less than that.
            let most = Nanos(elapsed.0 / commands);
            let known = self.per_command;
            self.per_command = match known {
                Nanos::ZERO => most,
                _ if most < known => most,
                // A pause is no kernel.
                _ => Nanos(known.0 + (most.min(known.times(4)).0 - known.0) / 16),
            };
        }
        (done, first)
    }

    fn finish(&mut self) -> Option<Took> {
        let took = core::mem::take(&mut self.took);
        if took.commands == 0 {
            return None;
        }
        let sample = took.time.0 / took.commands;
        let known = self.per_command.0;
        // An estimate that is too short lets others in too early.
        self.per_command = Nanos(match sample > known {
            _ if !self.measured => sample,
            true => known + (sample - known) / 2,
            false => known - (known - sample) / 8,
        });
        self.measured = true;
        Some(took)
    }

    /// Whether to put a stamp now, behind `launched` commands: at the
    /// beginning of a burst, at the quarters of one like the last, before its
    /// last command, and where it is longer or nothing is known, after each
    /// doubling.
    pub fn wants_stamp(&self, launched: u64) -> bool {
        if self.count == STAMPS {
            return false;
        }
        let last = self.count.checked_sub(1).map(|at| self.stamps[at].sequence);
        let n = launched.saturating_sub(self.before_burst);
        let of = self.last_burst;
        match n {
            0 => true,
            _ if last == Some(launched) => false,
            n if of > 1 && n < of => [of / 4, of / 2, of / 4 * 3, of - 1].contains(&n),
            n => n.is_power_of_two(),
        }
    }

    /// Whether a stamp now would show commands that none shows.
    pub fn lacks_stamp(&self, launched: u64) -> bool {
        let last = self.count.checked_sub(1).map(|at| self.stamps[at].sequence);
        self.count < STAMPS && last.is_some_and(|last| last < launched)
    }

    /// A stamp was put.
    pub fn put(&mut self, stamp: Stamp) {
        if let Some(free) = self.stamps.get_mut(self.count) {
            *free = stamp;
            self.count += 1;
        }
    }

    /// Before a launch behind `launched` commands: whether it begins a burst.
    pub fn arrives(&mut self, launched: u64, now: Nanos) -> bool {
        let begins = now >= self.until;
        if begins {
            self.last_burst = launched.saturating_sub(self.before_burst);
            self.before_burst = launched;
            self.bounded = false;
        }
        begins
    }

    /// A command is launched behind `launched` others: until when the stream has
    /// work; `None` while nothing is known. `otherwise` is what one takes on
    /// other streams.
    pub fn launches(&mut self, launched: u64, now: Nanos, otherwise: Nanos) -> Option<Nanos> {
        let is_bound = self.estimate().is_none() && self.per_command != Nanos::ZERO;
        let takes = match self.estimate().unwrap_or(self.per_command) {
            Nanos::ZERO => otherwise,
            known => known,
        };
        if takes == Nanos::ZERO {
            self.until = now + PAUSE;
            self.unknown = launched + 1;
            return None;
        }
        // A bound may be a pause: it counts for a burst like the last one, and
        // not for each command of a longer one.
        let n = launched.saturating_sub(self.before_burst);
        let takes = match is_bound && n >= self.last_burst.max(1) {
            true => otherwise,
            false => takes,
        };
        self.bounded |= is_bound;
        self.until = self.until.max(now) + takes;
        Some(self.until)
    }

    /// After [`Pace::passed`], with `launched` commands on the stream: what was
    /// foretold by a bound is taken back once something was measured. What an
    /// average foretold is not: the rest of a burst may be its long part.
    pub fn settle(&mut self, launched: u64, now: Nanos) {
        if self.count == 1
            && self.bounded
            && let Some(takes) = self.estimate()
        {
            let left = launched.saturating_sub(self.stamps[0].sequence);
            self.until = self.until.min(now + takes.times(left));
            self.bounded = false;
        }
    }

    /// What a command takes, where that was measured, if only in this burst.
    fn estimate(&self) -> Option<Nanos> {
        match self.took.commands {
            _ if self.measured => Some(self.per_command),
            0 => None,
            n => Some(Nanos(self.took.time.0 / n)),
        }
    }

    /// Another stream takes the place of this one: its stamps are behind all
    /// work, and the rest is not known of it.
    pub fn move_in(&mut self) {
        *self = Pace {
            stamps: self.stamps,
            count: self.count,
            ..Pace::new()
        };
    }

    /// The last command whose end nobody may know; zero is none.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Gives all stamps up; the caller destroys their events or knows that
    /// they are gone.
    pub fn clear(&mut self) -> impl Iterator<Item = Stamp> + use<> {
        let count = core::mem::take(&mut self.count);
        self.lag = Nanos::ZERO;
        self.unknown = 0;
        self.stamps.into_iter().take(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: fn(u64) -> Nanos = Nanos::from_micros;

    /// A stream on a device of its own: what is launched takes so long.
    #[derive(Default)]
    struct Stream {
        pace: Pace,
        launched: u64,
        /// When the device has passed each stamp, by its number.
        passes: Vec<Nanos>,
        free_at: Nanos,
        bursts: Vec<Took>,
        ends: Option<Nanos>,
    }

    impl Stream {
        fn collect(&mut self, now: Nanos) {
            while let Some((first, next)) = self.pace.next() {
                let at = |stamp: Stamp| self.passes[stamp.event as usize - 1];
                if at(next) > now {
                    return;
                }
                let elapsed = at(next).since(at(first));
                self.bursts.extend(self.pace.passed(Some(elapsed)).0);
            }
            self.pace.settle(self.launched, now);
        }

        fn stamp(&mut self, now: Nanos) {
            self.passes.push(self.free_at.max(now));
            self.pace.put(Stamp {
                event: self.passes.len() as u64,
                sequence: self.launched,
                put: now,
            });
        }

        fn launch(&mut self, now: Nanos, takes: Nanos) {
            self.collect(now);
            self.pace.arrives(self.launched, now);
            if self.pace.wants_stamp(self.launched) {
                self.stamp(now);
            }
            self.ends = self.pace.launches(self.launched, now, Nanos::ZERO);
            self.free_at = self.free_at.max(now) + takes;
            self.launched += 1;
        }

        /// Bursts of `n` every `period`: by how much the last one's end was
        /// foretold too late, in us (below zero: too early).
        fn errors(&mut self, n: u64, takes: impl Fn(u64) -> Nanos, period: Nanos) -> Vec<i64> {
            let mut errors = Vec::new();
            for burst in 0..12 {
                let start = Nanos::from_secs(1) + period.times(burst);
                for i in 0..n {
                    self.launch(start + US(2 * i), takes(i));
                }
                if let Some(ends) = self.ends {
                    errors.push((ends.0 as i64 - self.free_at.0 as i64) / 1_000);
                }
            }
            errors
        }
    }

    #[test]
    fn the_end_of_a_burst_is_foretold_from_the_third_on() {
        for n in [2, 3, 5, 50, 300] {
            let mut stream = Stream::default();
            let errors = stream.errors(n, |_| US(500), Nanos::from_millis(400));
            assert!(errors.len() >= 9, "{n}: {errors:?}");
            // What is launched while nothing is known of it begins nothing.
            let last = errors[errors.len() - 6..].iter();
            assert!(
                last.clone().all(|e| (-10..=1000).contains(e)),
                "{n}: {errors:?}"
            );
        }
    }

    #[test]
    fn kernels_of_different_length_are_taken_together() {
        let takes = |i: u64| US([20, 900, 40, 3_000, 5][i as usize % 5]);
        let mut stream = Stream::default();
        let errors = stream.errors(50, takes, Nanos::from_millis(200));
        let last = &errors[errors.len() - 5..];
        assert!(
            last.iter().all(|e| (-100..=2_000).contains(e)),
            "{errors:?}"
        );
    }

    /// Nothing can be put behind the only command of a burst before the next.
    #[test]
    fn single_commands_are_bounded_by_the_time_between_them() {
        let mut stream = Stream::default();
        let errors = stream.errors(1, |_| US(500), Nanos::from_millis(10));
        let last = *errors.last().expect("known");
        assert!((9_000..=10_000).contains(&last), "{errors:?}");
    }

    /// A bound is no kernel time: a hundred kernels behind single ones do not
    /// last a hundred pauses.
    #[test]
    fn a_burst_behind_single_commands_is_not_foretold_by_their_pauses() {
        let mut stream = Stream::default();
        stream.errors(1, |_| US(500), Nanos::from_secs(1));
        let start = Nanos::from_secs(30);
        for i in 0..100 {
            stream.launch(start + US(2 * i), US(500));
        }
        let ends = stream.ends.expect("a bound");
        assert!(ends < start + Nanos::from_secs(2), "{ends}");
        // Its stamps tell in the next one, but for what none of them shows.
        let next = start + Nanos::from_millis(200);
        for i in 0..100 {
            stream.launch(next + US(2 * i), US(500));
        }
        let ends = stream.ends.expect("measured");
        assert!(ends < next + Nanos::from_millis(150), "{ends}");
        assert!(ends >= stream.free_at, "{ends}");
    }

    /// A small copy, a value to write: behind it a stamp can be put.
    #[test]
    fn a_call_behind_a_single_command_shows_it() {
        let mut stream = Stream::default();
        for burst in 0..6 {
            let start = Nanos::from_secs(1) + Nanos::from_millis(10).times(burst);
            stream.launch(start, US(500));
            if stream.pace.lacks_stamp(stream.launched) {
                stream.stamp(start + US(3));
            }
        }
        assert_eq!(stream.pace.per_command(), US(500));
    }

    #[test]
    fn a_pause_within_a_burst_is_no_work() {
        let mut stream = Stream::default();
        for burst in 0..12 {
            let start = Nanos::from_secs(1) + Nanos::from_millis(100).times(burst);
            for i in 0..40 {
                let pause = Nanos::from_millis(if i >= 20 { 30 } else { 0 });
                stream.launch(start + pause + US(2 * i), US(500));
            }
        }
        let error = stream.ends.expect("known").0 as i64 - stream.free_at.0 as i64;
        assert!((-10_000..=1_000_000).contains(&error), "{error} ns");
        let shown: u64 = stream.bursts.iter().map(|took| took.commands).sum();
        assert!(shown > 100, "{shown} commands");
    }

    /// Short kernels, a pause of the host, long ones: the tail is not taken for
    /// kernels of the mean length.
    #[test]
    fn a_long_tail_is_not_foretold_too_early() {
        let mut stream = Stream::default();
        let mut errors = Vec::new();
        for burst in 0..22 {
            let start = Nanos::from_secs(1) + Nanos::from_millis(500).times(burst);
            for i in 0..48 {
                stream.launch(start + US(2 * i), US(20));
            }
            for i in 0..32 {
                stream.launch(start + US(3_100 + 2 * i), US(2_000));
            }
            let ends = stream.ends.map_or(0, |ends| ends.0 as i64);
            errors.push((ends - stream.free_at.0 as i64) / 1_000);
        }
        let last = &errors[errors.len() - 8..];
        assert!(last.iter().all(|e| *e > -3_000), "{errors:?}");
    }

    /// What was launched before anything was known is over when a stamp behind
    /// it has passed: in the second burst, not a second later.
    #[test]
    fn what_nothing_was_known_of_is_over_soon() {
        let mut stream = Stream::default();
        for burst in 0..2 {
            let start = Nanos::from_secs(1) + Nanos::from_millis(100).times(burst);
            for i in 0..50 {
                stream.launch(start + US(2 * i), US(500));
                assert!(stream.pace.unknown() != 0 || burst == 1, "{i} of {burst}");
            }
        }
        assert_eq!(stream.pace.unknown(), 0);
    }

    #[test]
    fn stamps_are_given_back() {
        let mut pace = Pace::new();
        for event in 1..=20 {
            pace.put(Stamp {
                event,
                sequence: event,
                put: US(event),
            });
        }
        let (_, first) = pace.passed(None);
        assert_eq!(first.event, 1);
        let left: Vec<u64> = pace.clear().map(|stamp| stamp.event).collect();
        assert_eq!(left, [2, 3, 4, 5, 6]);
        assert_eq!(pace.next(), None);
    }
}
