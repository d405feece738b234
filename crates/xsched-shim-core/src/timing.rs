//! Timed intervals: what a program runs between two events to learn how long it
//! takes. A gate that splits one makes the program believe a wrong time, and an
//! autotuner choose the wrong kernel.
//!
//! On each stream the record of an event that keeps the time begins an interval,
//! and the next one behind some command ends it. At a gate that is not open the
//! record that begins one waits as a command would, whichever functions are
//! gated; what follows on the stream passes with it, up to a bound. The record
//! that ends it never waits.
//!
//! That is no way round the gate: the bound is a fiftieth of the device at the
//! trickle's pace, at a cap the commands that it admits just then, and one while
//! nobody knows how long they are. A program that never asks for a time between
//! events ([`Timing::asked`]) is not taken for one that measures.
//!
//! Here is what is known of them; [`crate::gate::timing`] is the wait.

use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};

use xsched_common::units::Nanos;

use crate::inflight::STREAMS;

/// Most device time, by T, of commands that pass as one: 2% of the device at a
/// trickle of 100 ms.
const MOST_TIME: Nanos = Nanos::from_millis(2);
/// Most commands, however short they are.
const MOST_COMMANDS: u64 = 32;
/// A program that takes longer from the record to a launch does something else.
const MOST_PAUSE: Nanos = Nanos::from_millis(5);
/// Intervals at a gate that was not open, by a program that has not asked for a
/// time since: beyond so many its events are for something else.
const DOUBT: u32 = 256;
/// Events that can be known to keep the time; those that share a place displace
/// each other.
const EVENTS: usize = 1024;

/// See the module. All bytes zero: nothing was recorded.
pub struct Timing {
    timers: [AtomicU64; EVENTS],
    /// Intervals since the program last asked for a time.
    unasked: AtomicU32,
    /// Whether it ever has.
    asked: AtomicU32,
    /// By the stream's slot.
    intervals: [Interval; STREAMS],
}

struct Interval {
    /// Zero: none. [`SPLIT`]: its end is yet to come, and too late.
    began: AtomicU64,
    /// Commands on the stream before it.
    from: AtomicU64,
    /// Commands that the gate let pass with the record.
    most: AtomicU64,
}

const SPLIT: u64 = u64::MAX;

/// What the record of an event that keeps the time means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// An interval begins.
    Begins,
    /// One ends.
    Ends,
}

/// Where a command on a stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// In an interval that passes as one.
    Within,
    /// In one that is split here.
    Splits,
    /// In none, or one that was split before.
    Apart,
}

impl Timing {
    /// Nothing recorded; all bytes zero.
    pub const fn new() -> Timing {
        Timing {
            timers: [const { AtomicU64::new(0) }; EVENTS],
            unasked: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            intervals: [const {
                Interval {
                    began: AtomicU64::new(0),
                    from: AtomicU64::new(0),
                    most: AtomicU64::new(0),
                }
            }; STREAMS],
        }
    }

    fn timer(&self, event: u64) -> Option<&AtomicU64> {
        let hash = event.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - EVENTS.ilog2());
        self.timers.get(hash as usize)
    }

    /// An event was created that keeps the time.
    pub fn created(&self, event: u64) {
        if let Some(timer) = self.timer(event) {
            timer.store(event, Relaxed);
        }
    }

    /// An event was created that does not.
    pub fn created_without(&self, event: u64) {
        if let Some(timer) = self.timer(event) {
            let _ = timer.compare_exchange(event, 0, Relaxed, Relaxed);
        }
    }

    fn keeps_time(&self, event: u64) -> bool {
        event != 0 && self.timer(event).is_some_and(|t| t.load(Relaxed) == event)
    }

    /// Whether the event may be one that the program measures with.
    pub fn may_measure(&self, event: u64) -> bool {
        self.keeps_time(event) && self.unasked.load(Relaxed) < DOUBT
    }

    /// Whether the program ever asks.
    pub fn is_asked_for(&self) -> bool {
        self.asked.load(Relaxed) != 0
    }

    /// An interval came to a gate that was not open.
    pub fn doubted(&self) {
        self.unasked.fetch_add(1, Relaxed);
    }

    /// The program has asked for the time between two events.
    pub fn asked(&self) {
        self.asked.store(1, Relaxed);
        self.unasked.store(0, Relaxed);
    }

    fn interval(&self, stream: u16) -> Option<&Interval> {
        self.intervals.get(usize::from(stream))
    }

    /// An event that keeps the time is about to be recorded on a stream that has
    /// had so many commands.
    pub fn recorded(&self, stream: u16, launched: u64) -> Edge {
        let Some(interval) = self.interval(stream) else {
            return Edge::Ends;
        };
        let began = interval.began.swap(0, SeqCst);
        if began != 0 && launched > interval.from.load(Relaxed) {
            Edge::Ends
        } else {
            Edge::Begins
        }
    }

    /// An interval begins on a stream that has had so many commands; as many
    /// as the gate lets pass with it.
    pub fn begin(&self, stream: u16, launched: u64, most: u64, now: Nanos) {
        if let Some(interval) = self.interval(stream) {
            interval.from.store(launched, Relaxed);
            interval.most.store(most, Relaxed);
            interval.began.store(now.0, SeqCst);
        }
    }

    /// A command comes to a gate that is not open.
    pub fn stands(&self, stream: u16, launched: u64, kernel_time: Nanos, now: Nanos) -> Stands {
        let Some(interval) = self.interval(stream) else {
            return Stands::Apart;
        };
        let began = interval.began.load(SeqCst);
        if began == 0 || began == SPLIT {
            return Stands::Apart;
        }
        let before = launched.saturating_sub(interval.from.load(Relaxed));
        let pause = now.since(Nanos(began));
        let most = most_commands(kernel_time).min(interval.most.load(Relaxed));
        if before < most && pause < MOST_PAUSE {
            return Stands::Within;
        }
        // An event that was recorded for something else.
        let (left, stands) = match before {
            0 => (0, Stands::Apart),
            _ => (SPLIT, Stands::Splits),
        };
        let first = interval
            .began
            .compare_exchange(began, left, SeqCst, Relaxed)
            .is_ok();
        if first { stands } else { Stands::Apart }
    }
}

/// Commands that pass as one.
fn most_commands(kernel_time: Nanos) -> u64 {
    match kernel_time.0 {
        0 => 1,
        t => (MOST_TIME.0 / t).clamp(1, MOST_COMMANDS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::gate::Limits;

    const NOW: Nanos = Nanos::from_secs(1);
    const T: Nanos = Nanos::from_micros(20);

    fn timing() -> Box<Timing> {
        Box::new(Timing::new())
    }

    #[test]
    fn only_events_that_keep_the_time_count() {
        let timing = timing();
        timing.created(0x10);
        assert!(timing.keeps_time(0x10) && !timing.keeps_time(0x20) && !timing.keeps_time(0));
        // A handle that comes back is another event.
        timing.created_without(0x10);
        assert!(!timing.keeps_time(0x10));
    }

    #[test]
    fn records_begin_and_end_intervals_in_turns() {
        let timing = timing();
        assert_eq!(timing.recorded(3, 7), Edge::Begins);
        timing.begin(3, 7, u64::MAX, NOW);
        assert_eq!(timing.recorded(3, 7), Edge::Begins, "nothing to measure");
        timing.begin(3, 7, u64::MAX, NOW);
        assert_eq!(timing.recorded(4, 7), Edge::Begins, "another stream");
        assert_eq!(timing.recorded(3, 8), Edge::Ends);
        assert_eq!(timing.stands(3, 8, T, NOW), Stands::Apart);
        assert_eq!(timing.recorded(3, 9), Edge::Begins);
    }

    #[test]
    fn twenty_short_kernels_pass_as_one() {
        let timing = timing();
        timing.begin(3, 100, u64::MAX, NOW);
        for launched in 100..100 + MOST_COMMANDS {
            assert_eq!(timing.stands(3, launched, T, NOW), Stands::Within);
        }
        let end = 100 + MOST_COMMANDS;
        assert_eq!(timing.stands(3, end, T, NOW), Stands::Splits);
        assert_eq!(timing.stands(3, end, T, NOW), Stands::Apart, "counted once");
        assert_eq!(timing.recorded(3, end + 1), Edge::Ends);
        assert_eq!(timing.recorded(3, end + 1), Edge::Begins);
    }

    #[test]
    fn no_interval_takes_more_than_a_fiftieth_of_the_device() {
        for us in [1, 20, 60, 300, 1_000] {
            let time = Nanos(most_commands(Nanos::from_micros(us)) * us * 1_000);
            assert!(time.times(50) <= Limits::DEFAULT.trickle, "{us} us: {time}");
        }
        assert_eq!(most_commands(Nanos::from_millis(9)), 1, "as any trickle");
        assert_eq!(most_commands(Nanos::ZERO), 1, "of any length");
    }

    #[test]
    fn no_more_passes_than_a_cap_admits() {
        let timing = timing();
        timing.begin(3, 10, 2, NOW);
        let stands = |launched, t| timing.stands(3, launched, t, NOW);
        assert_eq!([10, 11].map(|n| stands(n, T)), [Stands::Within; 2]);
        assert_eq!(stands(12, T), Stands::Splits);
        // Even while they may be seconds long.
        timing.begin(3, 20, 2, NOW);
        assert_eq!(stands(20, Nanos::ZERO), Stands::Within);
        assert_eq!(stands(21, Nanos::ZERO), Stands::Splits);
    }

    #[test]
    fn a_pause_ends_what_passes() {
        let timing = timing();
        timing.begin(3, 0, u64::MAX, NOW);
        assert_eq!(timing.stands(3, 1, T, NOW + MOST_PAUSE), Stands::Splits);
        // It was recorded at the end of something: no interval was split.
        timing.begin(3, 5, u64::MAX, NOW);
        assert_eq!(timing.stands(3, 5, T, NOW + MOST_PAUSE), Stands::Apart);
        assert_eq!(timing.recorded(3, 5), Edge::Begins);
    }
}
