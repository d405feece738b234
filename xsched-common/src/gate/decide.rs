//! The decision: go, wait, or pass in spite of the gate.
//!
//! Every wait is bounded by one of three guards, whatever the agent and the
//! other processes do:
//!
//! - **trickle**: a closed gate lets one launch per process through every
//!   100 ms (16 ms when the main thread waits: people look at those programs;
//!   more for kernels so long that this would be a share of the device of
//!   its own), so nothing starves outright;
//! - **stall escape**: with work in flight and no completion for
//!   max(20 ms, 4 T), at most 5 s, a launch passes: the running kernel may be
//!   waiting for the very one that the gate holds back;
//! - **lease**: a heartbeat that stands still for 250 ms of the waiter's own
//!   clock means the agent is gone, and the process runs free.

use super::{GateMode, GateWord, MAX_CAP};
use crate::units::Nanos;

/// Which thread waits at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadKind {
    /// The process's first thread.
    Main,
    /// Any other.
    Worker,
}

/// The guards' numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time between two launches through a closed gate.
    pub trickle: Nanos,
    /// The same when the main thread waits.
    pub trickle_main: Nanos,
    /// Shortest time without a completion that counts as a stall.
    pub stall_floor: Nanos,
    /// Longest, whatever T was measured to be: T is an upper bound that a
    /// pause of the program or another tenant's work may have blown up.
    pub stall_ceiling: Nanos,
    /// A standing heartbeat this old means that the agent is gone.
    pub lease: Nanos,
    /// How often a waiter looks for completions when nobody wakes it.
    pub poll: Nanos,
    /// The same when the device idles from the next completion until it is
    /// seen. Half a percent of a core more than with [`Limits::poll`], for one
    /// of the device (docs/BENCHMARKS.md).
    pub poll_last: Nanos,
    /// How often a waiter looks at the heartbeat. A beat counts from when it
    /// was seen: one that came at the start of a long sleep, just before the
    /// agent died, would start the lease only at its end.
    pub look: Nanos,
}

impl Limits {
    /// The numbers every shim runs with.
    pub const DEFAULT: Limits = Limits {
        trickle: Nanos::from_millis(100),
        trickle_main: Nanos::from_millis(16),
        stall_floor: Nanos::from_millis(20),
        stall_ceiling: Nanos::from_secs(5),
        lease: Nanos::from_millis(250),
        poll: Nanos::from_micros(50),
        look: Nanos::from_millis(20),
        poll_last: Nanos::from_micros(12),
    };
}

/// What a waiter sees of its process and device when it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateView {
    /// The control word.
    pub word: GateWord,
    /// Gated commands handed to the runtime and not known to be complete.
    pub in_flight: u32,
    /// When a completion was last seen on this device.
    pub last_completion: Nanos,
    /// Until when the waiter could not look for one: it stood behind others,
    /// or the machine did not let it run. That time is no stall.
    pub blind_until: Nanos,
    /// When a launch last passed this gate while it was closed.
    pub last_trickle: Nanos,
    /// The measured kernel time T; zero while unknown.
    pub kernel_time: Nanos,
    /// When the process, not just this waiter, last saw the agent's heartbeat
    /// change. A launch that passes every 16 ms must not start the lease
    /// anew each time.
    pub beat_seen: Nanos,
    /// The waiter's clock.
    pub now: Nanos,
    /// How often a stall has doubled this process's cap.
    pub cap_doublings: u8,
    /// Whether this waiter is the first in line of its process and device.
    pub turn: Turn,
}

/// A waiter's place in its process's queue at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// First in line: may pass.
    First,
    /// Behind others: may only run free.
    Behind,
}

/// One thread's wait at the gate, from its arrival to its passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// When it came.
    pub arrived: Nanos,
    /// Which thread it is.
    pub thread: ThreadKind,
}

impl Waiter {
    /// A thread that arrives at the gate now.
    pub const fn new(now: Nanos, thread: ThreadKind) -> Waiter {
        Waiter {
            arrived: now,
            thread,
        }
    }
}

/// Why a launch passed although the gate did not admit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Guard {
    /// One launch per [`Limits::trickle`] through a closed gate.
    Trickle = 0,
    /// No completion for [`stall_limit`].
    Stall = 1,
    /// The agent is gone: the process must run free from here on.
    Lease = 2,
}

impl Guard {
    /// How many there are: the length of arrays indexed by one.
    pub const COUNT: usize = 3;
    /// All guards, in page order.
    pub const ALL: [Guard; Guard::COUNT] = [Guard::Trickle, Guard::Stall, Guard::Lease];

    /// The name in JSON and on screen.
    pub const fn name(self) -> &'static str {
        match self {
            Guard::Trickle => "trickle",
            Guard::Stall => "stall",
            Guard::Lease => "lease",
        }
    }
}

/// What a thread at the gate does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Launch: the gate admits it.
    Go,
    /// Launch: a guard ends the wait. The caller counts it.
    Pass(Guard),
    /// Sleep on the word until it changes or this time comes, look for
    /// completions, and ask again.
    Wait {
        /// A point on the waiter's clock, always later than the view's `now`.
        until: Nanos,
    },
}

/// How many launches a capped gate admits now.
pub fn room(view: &GateView) -> u32 {
    match view.word.mode() {
        GateMode::Capped(cap) => {
            effective_cap(cap, view.cap_doublings).saturating_sub(view.in_flight)
        }
        _ => 0,
    }
}

/// How long a process with work in flight may go without a completion before
/// a launch passes: max(20 ms, 4 T), at most 5 s.
pub fn stall_limit(limits: &Limits, kernel_time: Nanos) -> Nanos {
    limits
        .stall_floor
        .max(kernel_time.times(4))
        .min(limits.stall_ceiling)
}

/// Time between two launches through a closed gate: never more than
/// [`Limits::trickle`], and for a main thread so long that its kernels take
/// no more than 1/32 of the device, where that is possible.
pub fn trickle_interval(limits: &Limits, kernel_time: Nanos, thread: ThreadKind) -> Nanos {
    match thread {
        ThreadKind::Main => limits
            .trickle_main
            .max(kernel_time.times(32))
            .min(limits.trickle),
        ThreadKind::Worker => limits.trickle,
    }
}

/// When the first in line looks for completions again. With several commands
/// in flight the device has work while one is reaped. With only one it idles
/// from its end until it is seen: nothing is to be seen in the first three
/// quarters of its time, and the end is looked for closely.
fn next_look(limits: &Limits, view: &GateView, waiter: &Waiter) -> Nanos {
    if view.in_flight > 1 || view.kernel_time <= limits.poll {
        return view.now + limits.poll;
    }
    let begun = view.last_completion.max(waiter.arrived);
    let early = begun + Nanos(view.kernel_time.0 / 4 * 3);
    early
        .min(view.now + limits.stall_floor)
        .max(view.now + limits.poll_last)
}

/// Decides what `waiter` does, given `view`.
pub fn decide(limits: &Limits, view: &GateView, waiter: &Waiter) -> Decision {
    let mode = view.word.mode();
    match mode {
        GateMode::Open | GateMode::Watched => return Decision::Go,
        GateMode::Capped(_) if view.turn == Turn::First && room(view) > 0 => return Decision::Go,
        GateMode::Capped(_) | GateMode::Closed => {}
    }

    let lease_ends = view.beat_seen + limits.lease;
    if view.now >= lease_ends {
        return Decision::Pass(Guard::Lease);
    }
    let mut until = lease_ends.min(view.now + limits.look);

    if view.turn == Turn::First {
        if view.in_flight > 0 {
            let stalled_at = view
                .last_completion
                .max(view.blind_until)
                .max(view.last_trickle)
                .max(waiter.arrived)
                + stall_limit(limits, view.kernel_time);
            if view.now >= stalled_at {
                return Decision::Pass(Guard::Stall);
            }
            // Completions are seen by whoever waits, so a waiter must look.
            until = until.min(stalled_at).min(next_look(limits, view, waiter));
        }
        if mode == GateMode::Closed {
            let every = trickle_interval(limits, view.kernel_time, waiter.thread);
            let next = view.last_trickle.max(waiter.arrived) + every;
            if view.now >= next {
                return Decision::Pass(Guard::Trickle);
            }
            until = until.min(next);
        }
    }
    Decision::Wait { until }
}

/// The cap after `doublings` stall escapes. A kernel that waits for the n-th
/// launch behind it so gets that after log2 n stalls, in less than a second
/// whatever n is; more than [`MAX_CAP`] commands are in no hardware queue.
fn effective_cap(cap: u16, doublings: u8) -> u32 {
    (u32::from(cap) << doublings.min(16)).min(u32::from(MAX_CAP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const L: Limits = Limits::DEFAULT;
    /// A living agent's heart beats this often, ns.
    const BEAT: u64 = 50_000_000;

    fn view(mode: GateMode, in_flight: u32, now: Nanos) -> GateView {
        GateView {
            word: GateWord::new(mode, 1),
            in_flight,
            last_completion: Nanos::ZERO,
            blind_until: Nanos::ZERO,
            last_trickle: Nanos::ZERO,
            kernel_time: Nanos::ZERO,
            beat_seen: Nanos(now.0 / BEAT * BEAT),
            now,
            cap_doublings: 0,
            turn: Turn::First,
        }
    }

    /// Waits as the shim would (sleeping to `until`, beating heart) and
    /// returns when and why the launch passed.
    fn wait_out(
        mode: GateMode,
        in_flight: u32,
        thread: ThreadKind,
        beats: bool,
    ) -> (Nanos, Decision) {
        let start = Nanos::from_secs(10);
        let mut now = start;
        let waiter = Waiter::new(now, thread);
        for _ in 0..100_000 {
            let mut v = view(mode, in_flight, now);
            if !beats {
                v.beat_seen = start;
            }
            match decide(&L, &v, &waiter) {
                Decision::Wait { until } => {
                    assert!(until > now, "a wait must move on");
                    now = until;
                }
                passed => return (now.since(start), passed),
            }
        }
        panic!("the wait never ended");
    }

    #[test]
    fn open_goes_and_capped_goes_below_the_cap() {
        let w = Waiter::new(Nanos(1), ThreadKind::Worker);
        assert_eq!(
            decide(&L, &view(GateMode::Open, 9, Nanos(1)), &w),
            Decision::Go
        );
        assert_eq!(
            decide(&L, &view(GateMode::Capped(4), 3, Nanos(1)), &w),
            Decision::Go
        );
        assert!(matches!(
            decide(&L, &view(GateMode::Capped(4), 4, Nanos(1)), &w),
            Decision::Wait { .. }
        ));
    }

    #[test]
    fn a_closed_gate_trickles() {
        let (after, why) = wait_out(GateMode::Closed, 0, ThreadKind::Worker, true);
        assert_eq!(
            (after, why),
            (Nanos::from_millis(100), Decision::Pass(Guard::Trickle))
        );
        let (after, why) = wait_out(GateMode::Closed, 0, ThreadKind::Main, true);
        assert_eq!(
            (after, why),
            (Nanos::from_millis(16), Decision::Pass(Guard::Trickle))
        );
    }

    #[test]
    fn long_kernels_trickle_no_more_than_their_share() {
        let every = |t_us, thread| trickle_interval(&L, Nanos::from_micros(t_us), thread);
        assert_eq!(every(60, ThreadKind::Main), Nanos::from_millis(16));
        assert_eq!(every(1_000, ThreadKind::Main), Nanos::from_millis(32));
        assert_eq!(every(5_000, ThreadKind::Main), Nanos::from_millis(100));
        assert_eq!(every(5_000, ThreadKind::Worker), Nanos::from_millis(100));
    }

    #[test]
    fn the_end_of_a_lone_kernel_is_looked_for_closely() {
        let start = Nanos::from_secs(1);
        let waiter = Waiter::new(start, ThreadKind::Worker);
        let mut v = view(GateMode::Capped(1), 1, start);
        (v.beat_seen, v.kernel_time) = (start, Nanos::from_millis(4));
        let look = |v: &GateView| match decide(&L, v, &waiter) {
            Decision::Wait { until } => until,
            other => panic!("{other:?}"),
        };
        assert_eq!(look(&v), start + Nanos::from_millis(3));
        v.now = start + Nanos::from_millis(3);
        assert_eq!(look(&v), v.now + L.poll_last);
        v.in_flight = 2;
        v.word = GateWord::new(GateMode::Capped(2), 1);
        assert_eq!(look(&v), v.now + L.poll);
    }

    /// Who could not look has seen no stall, and the kernel runs on all the
    /// same: the end is not later for that.
    #[test]
    fn blindness_postpones_a_stall_and_no_look() {
        let start = Nanos::from_secs(1);
        let waiter = Waiter::new(start, ThreadKind::Worker);
        let mut v = view(GateMode::Capped(1), 1, start + Nanos::from_millis(25));
        (v.beat_seen, v.blind_until) = (v.now, v.now);
        v.kernel_time = Nanos::from_millis(4);
        let soon = v.now + L.poll_last;
        assert_eq!(decide(&L, &v, &waiter), Decision::Wait { until: soon });
        v.blind_until = start;
        assert_eq!(decide(&L, &v, &waiter), Decision::Pass(Guard::Stall));
    }

    #[test]
    fn a_stall_ends_a_capped_wait() {
        let (after, why) = wait_out(GateMode::Capped(2), 2, ThreadKind::Worker, true);
        assert_eq!(
            (after, why),
            (Nanos::from_millis(20), Decision::Pass(Guard::Stall))
        );
    }

    #[test]
    fn long_kernels_are_not_stalls() {
        assert_eq!(
            stall_limit(&L, Nanos::from_millis(30)),
            Nanos::from_millis(120)
        );
        assert_eq!(
            stall_limit(&L, Nanos::from_micros(60)),
            Nanos::from_millis(20)
        );
    }

    /// A pause that was taken for a kernel must not become a hang.
    #[test]
    fn no_measured_time_makes_a_wait_endless() {
        for t in [Nanos::from_secs(60), Nanos(u64::MAX)] {
            let start = Nanos::from_secs(100);
            let waiter = Waiter::new(start, ThreadKind::Worker);
            let mut v = view(GateMode::Capped(1), 1, start + L.stall_ceiling);
            v.kernel_time = t;
            assert_eq!(decide(&L, &v, &waiter), Decision::Pass(Guard::Stall));
        }
    }

    #[test]
    fn a_doubled_cap_admits_more() {
        let mut v = view(GateMode::Capped(2), 3, Nanos(1));
        v.cap_doublings = 1;
        let w = Waiter::new(Nanos(1), ThreadKind::Worker);
        assert_eq!(decide(&L, &v, &w), Decision::Go);
        (v.cap_doublings, v.in_flight) = (u8::MAX, u32::from(MAX_CAP) - 1);
        assert_eq!(decide(&L, &v, &w), Decision::Go);
        v.in_flight += 1;
        assert!(matches!(decide(&L, &v, &w), Decision::Wait { .. }));
    }

    #[test]
    fn a_dead_agent_frees_even_the_last_in_line() {
        let start = Nanos::from_secs(1);
        let w = Waiter::new(start, ThreadKind::Worker);
        let mut v = view(GateMode::Closed, 0, start);
        (v.beat_seen, v.turn) = (start, Turn::Behind);
        assert_eq!(
            decide(&L, &v, &w),
            Decision::Wait {
                until: start + L.look
            }
        );
        v.now = start + L.lease;
        assert_eq!(decide(&L, &v, &w), Decision::Pass(Guard::Lease));
    }

    /// Whenever an agent dies between two beats, whatever the waiter was
    /// doing, it is free within 300 ms.
    #[test]
    fn a_beat_that_is_seen_late_does_not_prolong_the_lease() {
        for died_ms in 0..200 {
            let start = Nanos::from_secs(1);
            let died = start + Nanos::from_millis(died_ms);
            let w = Waiter::new(start, ThreadKind::Worker);
            let (mut now, mut beat, mut beat_seen, mut last_trickle) = (start, 0, start, start);
            loop {
                let newest = now.min(died).since(start).0 / BEAT;
                if newest != beat {
                    (beat, beat_seen) = (newest, now);
                }
                let mut v = view(GateMode::Closed, 0, now);
                (v.beat_seen, v.last_trickle) = (beat_seen, last_trickle);
                match decide(&L, &v, &w) {
                    Decision::Wait { until } => now = until,
                    Decision::Pass(Guard::Lease) => break,
                    _ => last_trickle = now,
                }
            }
            assert!(now.since(died) <= Nanos::from_millis(280), "{died_ms} ms");
        }
    }

    /// A main thread passes a closed gate every 16 ms; none of these waits is
    /// as long as the lease, and still it must end.
    #[test]
    fn a_dead_agent_frees_a_thread_that_trickles() {
        let start = Nanos::from_secs(1);
        let (mut now, mut last_trickle) = (start, Nanos::ZERO);
        loop {
            let w = Waiter::new(now, ThreadKind::Main);
            let passed = loop {
                let mut v = view(GateMode::Closed, 0, now);
                (v.beat_seen, v.last_trickle) = (start, last_trickle);
                match decide(&L, &v, &w) {
                    Decision::Wait { until } => now = until,
                    passed => break passed,
                }
            };
            last_trickle = now;
            assert!(now.since(start) <= L.lease, "still held after the lease");
            if passed == Decision::Pass(Guard::Lease) {
                break;
            }
        }
    }

    proptest! {
        /// Invariant: every wait at the gate is bounded.
        #[test]
        fn every_wait_ends(cap in 1u16..64, in_flight in 0u32..128, main: bool, beats: bool, closed: bool) {
            let mode = if closed { GateMode::Closed } else { GateMode::Capped(cap) };
            let thread = if main { ThreadKind::Main } else { ThreadKind::Worker };
            let (after, _) = wait_out(mode, in_flight, thread, beats);
            prop_assert!(after <= Nanos::from_millis(300));
        }

        /// Whatever a page or a clock says, a decision is made and a wait
        /// lies in the future.
        #[test]
        fn any_view_has_a_decision(
            raw: u32, in_flight: u32, completion: u64, blind: u64, trickle: u64, t: u64, beat: u64,
            now in 0..u64::MAX - 1, doublings: u8, arrived: u64,
        ) {
            let v = GateView {
                word: GateWord(raw), in_flight, last_completion: Nanos(completion),
                blind_until: Nanos(blind), last_trickle: Nanos(trickle), kernel_time: Nanos(t),
                beat_seen: Nanos(beat), now: Nanos(now), cap_doublings: doublings, turn: Turn::First,
            };
            let w = Waiter::new(Nanos(arrived), ThreadKind::Main);
            if let Decision::Wait { until } = decide(&L, &v, &w) {
                prop_assert!(until > v.now);
            }
        }
    }
}
