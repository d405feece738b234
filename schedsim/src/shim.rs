//! The shim of one process with one stream: the real gate and the real
//! estimators over a model of their surroundings.

use std::collections::VecDeque;

use xsched_common::gate::{
    Decision, Evidence, FENCES, GAPS, GAPS_PER_LOOK, GateMode, GateView, GateWord, Guard,
    LONGEST_GAP, Limits, Pace, Stamp, ThreadKind, Turn, Waiter, decide, fence_batch, gap_p95,
    kernel_time,
};
use xsched_common::page::{Edges, Histogram};
use xsched_common::units::Nanos;

/// A process's pages and what its shim remembers.
pub struct Shim {
    /// Which thread launches.
    pub thread: ThreadKind,
    /// Agent-written.
    pub word: GateWord,
    /// Agent-written.
    pub wanted: Edges,
    /// Agent-written.
    pub fence_batch: u32,
    /// Whether it says that it has work.
    pub active: bool,
    /// Bursts so far.
    pub bursts: u64,
    /// Bursts by length.
    pub burst_times: Histogram,
    /// Launches that passed by a guard.
    pub guards: [u64; Guard::COUNT],
    /// T.
    pub kernel_time: Nanos,
    /// P95 of its own short gaps.
    pub gap: Option<Nanos>,
    /// Time with commands in flight.
    pub busy: Nanos,
    /// Commands launched.
    pub launched: u64,
    /// Of these, known to be complete.
    pub known: u64,
    fences: VecDeque<u64>,
    fenced_to: u64,
    fence_samples: u32,
    mark: Nanos,
    last_completion: Nanos,
    burst_start: Nanos,
    idle_since: Option<Nanos>,
    gaps: Vec<u32>,
    /// Gaps short enough to linger over.
    pub gap_count: usize,
    /// Commands of whose completion the program has told.
    pub told: u64,
    /// While it is timed: how long the burst should last.
    pub lasts: Option<Nanos>,
    pace: Pace,
    expected_end: Nanos,
    last_trickle: Nanos,
    doublings: (u16, u8),
    at_gate: Option<AtGate>,
}

#[derive(Clone, Copy)]
struct AtGate {
    waiter: Waiter,
    slept: bool,
}

/// What a look at the gate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Launch now.
    Go,
    /// Look again when the word changes, or then.
    Wait(Nanos),
}

/// Whether the agent hears of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Bell {
    /// It does.
    Rings,
    /// It does not care, or nothing changed.
    Silent,
}

impl Shim {
    /// A process that has just joined.
    pub fn new(thread: ThreadKind) -> Shim {
        Shim {
            thread,
            word: GateWord::OPEN,
            wanted: Edges::ACTIVE,
            fence_batch: 0,
            active: false,
            bursts: 0,
            burst_times: Histogram::new(),
            guards: [0; Guard::COUNT],
            kernel_time: Nanos::ZERO,
            gap: None,
            busy: Nanos::ZERO,
            launched: 0,
            known: 0,
            fences: VecDeque::new(),
            fenced_to: 0,
            fence_samples: 0,
            mark: Nanos::ZERO,
            last_completion: Nanos::ZERO,
            burst_start: Nanos::ZERO,
            idle_since: None,
            gaps: vec![0; GAPS],
            gap_count: 0,
            told: 0,
            lasts: None,
            pace: Pace::new(),
            expected_end: Nanos::ZERO,
            last_trickle: Nanos::ZERO,
            doublings: (0, 0),
            at_gate: None,
        }
    }

    /// Whether a thread waits at the gate.
    pub fn waits(&self) -> bool {
        self.at_gate.is_some_and(|at| at.slept)
    }

    fn begin(&mut self, now: Nanos) -> Bell {
        if self.active {
            return Bell::Silent;
        }
        self.active = true;
        (self.burst_start, self.mark) = (now, now);
        self.expected_end = now;
        if let Some(since) = self.idle_since {
            self.record_gap(now.since(since));
        }
        self.bell(Edges::ACTIVE)
    }

    fn bell(&self, edge: Edges) -> Bell {
        if self.wanted.contains(edge) {
            Bell::Rings
        } else {
            Bell::Silent
        }
    }

    fn record_gap(&mut self, gap: Nanos) {
        if gap > LONGEST_GAP {
            return;
        }
        self.gaps[self.gap_count % GAPS] = gap.0 as u32;
        self.gap_count += 1;
        if self.gap_count.is_multiple_of(GAPS_PER_LOOK) {
            let mut used = self.gaps[..self.gap_count.min(GAPS)].to_vec();
            self.gap = gap_p95(&mut used).filter(|gap| gap.0 > 0);
        }
    }

    fn fence(&mut self, batch: u64) {
        let unfenced = self.launched - self.fenced_to.max(self.known);
        if unfenced >= batch && unfenced > 0 && self.fences.len() < FENCES {
            self.fences.push_back(self.launched);
            self.fenced_to = self.launched;
        }
    }

    fn completed(&mut self, commands: u64, now: Nanos, evidence: Evidence) {
        if commands == 0 {
            return;
        }
        self.last_completion = now;
        let busy = now.since(self.mark);
        self.mark = now;
        self.busy = self.busy + busy;
        if evidence == Evidence::Fence {
            self.fence_samples += 1;
        }
        let sample = Nanos(busy.0 / commands);
        self.kernel_time = kernel_time(self.kernel_time, sample, evidence, self.fence_samples);
    }

    fn reap(&mut self, finished: u64, now: Nanos) {
        let before = self.known;
        while let Some(fence) = self.fences.pop_front_if(|fence| *fence <= finished) {
            self.known = self.known.max(fence);
        }
        self.completed(self.known - before, now, Evidence::Fence);
    }

    /// A launch of a program that is timed; `ends` are those of its kernels so
    /// far (`crates/xsched-shim-core/src/gate/watch.rs`).
    fn watch(&mut self, now: Nanos, ends: &[Nanos]) -> Bell {
        let began = self.begin(now);
        let ended = self.expected_end;
        let passed = |stamp: Stamp| match stamp.sequence.checked_sub(1) {
            None => Some(stamp.put),
            Some(last) => ends.get(last as usize).map(|end| stamp.put.max(*end)),
        };
        while let Some((first, next)) = self.pace.next() {
            let Some((from, to)) = passed(first).zip(passed(next)) else {
                break;
            };
            let (took, _) = self.pace.passed(Some(to.since(from)));
            self.known = self.known.max(next.sequence);
            if let Some(took) = took {
                self.busy = self.busy + took.time;
                self.fence_samples += 1;
                let sample = Nanos(took.time.0 / took.commands);
                let samples = self.fence_samples;
                self.kernel_time = kernel_time(self.kernel_time, sample, Evidence::Fence, samples);
            }
        }
        self.pace.settle(self.launched, now);
        self.pace.arrives(self.launched, now);
        if self.pace.wants_stamp(self.launched) {
            self.pace.put(Stamp {
                event: 1,
                sequence: self.launched,
                put: now,
            });
        }
        let until = self.pace.launches(self.launched, now, self.kernel_time);
        let anew = ended <= now && began == Bell::Silent && self.wanted.contains(Edges::ACTIVE);
        let mut bell = began;
        if anew {
            self.active = false;
            self.bursts += 1;
            self.idle_since = Some(ended);
            bell = self.begin(now);
        }
        self.expected_end = self.expected_end.max(until.unwrap_or(now));
        self.lasts = until.map(|_| self.expected_end.since(self.burst_start).max(Nanos(1)));
        bell
    }

    /// A launch comes to the gate; `ends` are those of its kernels so far.
    pub fn arrive(&mut self, now: Nanos, ends: &[Nanos]) -> (Look, Bell) {
        if self.word.is_open() {
            return (Look::Go, Bell::Silent);
        }
        if self.word.mode() == GateMode::Watched {
            return (Look::Go, self.watch(now, ends));
        }
        let bell = self.begin(now);
        self.fence(fence_batch(self.fence_batch, self.word.mode()));
        self.at_gate = Some(AtGate {
            waiter: Waiter::new(now, self.thread),
            slept: false,
        });
        (Look::Wait(now), bell)
    }

    /// The launch at the gate looks again; `finished` of its kernels have
    /// ended and the agent's heart last beat at `beat`.
    pub fn look(&mut self, now: Nanos, finished: u64, beat: Nanos) -> Look {
        let Some(mut at) = self.at_gate else {
            return Look::Go;
        };
        self.reap(finished, now);
        let generation = self.word.generation();
        let doublings = match self.doublings {
            (of, doublings) if of == generation => doublings,
            _ => 0,
        };
        let view = GateView {
            word: self.word,
            in_flight: (self.launched - self.known) as u32,
            last_completion: self.last_completion,
            blind_until: Nanos::ZERO,
            last_trickle: self.last_trickle,
            kernel_time: self.kernel_time,
            beat_seen: beat,
            now,
            cap_doublings: doublings,
            turn: Turn::First,
        };
        match decide(&Limits::DEFAULT, &view, &at.waiter) {
            Decision::Go => {}
            Decision::Pass(guard) => {
                self.guards[guard as usize] += 1;
                self.last_trickle = now;
                if guard == Guard::Stall {
                    self.doublings = (generation, doublings + 1);
                }
            }
            Decision::Wait { until } => {
                at.slept = true;
                self.at_gate = Some(at);
                if self.fences.is_empty() {
                    self.fence(1);
                }
                return Look::Wait(until);
            }
        }
        if at.slept && self.launched == self.known {
            self.mark = now;
        }
        self.at_gate = None;
        Look::Go
    }

    /// The launch is handed to the device.
    pub fn admitted(&mut self, now: Nanos) -> Bell {
        self.launched += 1;
        self.begin(now)
    }

    /// A call returns that shows `finished` kernels complete.
    pub fn synchronised(&mut self, now: Nanos, finished: u64) -> Bell {
        self.fences.retain(|fence| *fence > finished);
        let news = finished.saturating_sub(self.known);
        self.known = self.known.max(finished);
        self.told += news;
        self.completed(news, now, Evidence::Sync);
        if !self.active || self.known < self.launched || self.waits() {
            return Bell::Silent;
        }
        self.active = false;
        self.bursts += 1;
        self.idle_since = Some(now);
        self.burst_times.record(now.since(self.burst_start));
        self.bell(Edges::IDLE)
    }
}
