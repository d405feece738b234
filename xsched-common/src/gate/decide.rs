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

/// Work of another group of the waiter's own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sibling {
    /// Commands before a fence that has not passed.
    pub fenced: u64,
    /// When a completion of that group was last seen.
    pub last_completion: Nanos,
    /// T of that group.
    pub kernel_time: Nanos,
}

/// When a launch passes because another group of its process makes no progress:
/// what runs there may wait for this very one. Only work in front of a fence
/// tells that: of other work nobody can know that it is not complete. A stall
/// that has let `doublings` launches pass lets the next one pass sooner, so that
/// a kernel that waits for the n-th of them gets it in time.
pub fn sibling_stalls_at(
    limits: &Limits,
    sibling: &Sibling,
    waiter: &Waiter,
    last_trickle: Nanos,
    doublings: u8,
) -> Option<Nanos> {
    if sibling.fenced == 0 {
        return None;
    }
    let limit = stall_limit(limits, sibling.kernel_time.times(sibling.fenced));
    let since = sibling.last_completion.max(last_trickle);
    Some(match doublings {
        0 => since.max(waiter.arrived) + limit,
        n => since + Nanos(limit.0 >> n.min(16)),
    })
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
mod tests;
