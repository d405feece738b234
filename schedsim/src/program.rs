//! Programs: what a thread of a client does next.

use xsched_common::units::Nanos;

use crate::timing::Rng;

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Launch a kernel that takes this long alone.
    Launch(Nanos),
    /// Wait until everything launched is complete.
    Sync,
    /// Wait until at most this many launched kernels are incomplete.
    Ahead(u64),
    /// Do something else until then; a timer ends it.
    Until(Nanos),
    /// Work on the processor until then.
    Compute(Nanos),
    /// A request that arrived then has been served.
    Served {
        /// When it came.
        arrived: Nanos,
    },
    /// End.
    Exit,
}

/// A program.
pub trait Program {
    /// What it does next.
    fn next(&mut self, now: Nanos, rng: &mut Rng) -> Op;
}

/// When requests come.
#[derive(Clone, Copy, Debug)]
pub enum Arrivals {
    /// Every period.
    Every(Nanos),
    /// Every period, give or take half of it.
    Jittered(Nanos),
    /// Exponential gaps with this mean.
    Poisson(Nanos),
    /// The next one with the end of the one before.
    BackToBack,
}

/// An online service: requests of some kernels and some synchronisations,
/// open loop: a request that has to queue counts from its arrival.
#[derive(Clone, Debug)]
pub struct Service {
    /// Kernels per request.
    pub kernels: u32,
    /// Each as long as this.
    pub kernel: Nanos,
    /// Synchronisations per request, spread evenly; the last one ends it.
    pub syncs: u32,
    /// Time on the processor after each but the last.
    pub think: Nanos,
    /// When requests come.
    pub arrivals: Arrivals,
    /// Where it stands.
    pub at: At,
}

/// Where a [`Service`] stands.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Kernels launched of this request.
    launched: u32,
    step: Step,
    arrived: Nanos,
    next: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Between two requests.
    Idle,
    /// A kernel is next.
    Kernel,
    /// A kernel was launched.
    Launched,
    /// A synchronisation within the request has returned.
    Synced,
    /// The last one has.
    Done,
}

impl Default for At {
    fn default() -> At {
        At {
            launched: 0,
            step: Step::Idle,
            arrived: Nanos::ZERO,
            next: Nanos::ZERO,
        }
    }
}

impl Program for Service {
    fn next(&mut self, now: Nanos, rng: &mut Rng) -> Op {
        loop {
            match self.at.step {
                Step::Idle => {
                    if now < self.at.next {
                        return Op::Until(self.at.next);
                    }
                    self.at.arrived = match self.arrivals {
                        Arrivals::BackToBack => now,
                        _ if self.at.next == Nanos::ZERO => now,
                        _ => self.at.next,
                    };
                    let gap = match self.arrivals {
                        Arrivals::BackToBack => Nanos::ZERO,
                        Arrivals::Every(period) => period,
                        Arrivals::Poisson(mean) => rng.exponential(mean),
                        Arrivals::Jittered(period) => {
                            Nanos((period.0 as f64 * (0.5 + rng.uniform())) as u64)
                        }
                    };
                    self.at.next = self.at.arrived + gap;
                    (self.at.launched, self.at.step) = (0, Step::Kernel);
                }
                Step::Kernel => {
                    self.at.launched += 1;
                    self.at.step = Step::Launched;
                    return Op::Launch(self.kernel);
                }
                Step::Launched => {
                    let (n, of, syncs) = (self.at.launched, self.kernels, self.syncs.max(1));
                    if n >= of {
                        self.at.step = Step::Done;
                        return Op::Sync;
                    }
                    if n * syncs / of != (n - 1) * syncs / of {
                        self.at.step = Step::Synced;
                        return Op::Sync;
                    }
                    self.at.step = Step::Kernel;
                }
                Step::Synced => {
                    self.at.step = Step::Kernel;
                    if self.think > Nanos::ZERO {
                        return Op::Until(now + self.think);
                    }
                }
                Step::Done => {
                    self.at.step = Step::Idle;
                    return Op::Served {
                        arrived: self.at.arrived,
                    };
                }
            }
        }
    }
}

/// Batch work: kernels without end, a bounded number ahead of the device, as
/// hipsim-batch.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Each about this long.
    pub kernel: Nanos,
    /// By how much lengths vary, in percent either way.
    pub jitter_percent: u64,
    /// Most kernels ahead.
    pub ahead: u64,
    /// Launched since it last looked how far ahead it is.
    pub since: u64,
}

impl Batch {
    /// Kernels of this length, give or take a tenth.
    pub fn of(kernel: Nanos) -> Batch {
        Batch {
            kernel,
            jitter_percent: 10,
            ahead: 256,
            since: 0,
        }
    }
}

impl Program for Batch {
    fn next(&mut self, _: Nanos, rng: &mut Rng) -> Op {
        if self.since >= self.ahead / 4 {
            self.since = 0;
            return Op::Ahead(self.ahead * 3 / 4);
        }
        self.since += 1;
        let jitter = self.jitter_percent as f64 / 100.0;
        let factor = 1.0 + jitter * (2.0 * rng.uniform() - 1.0);
        Op::Launch(Nanos((self.kernel.0 as f64 * factor) as u64))
    }
}

/// Work that starts all some seconds and takes so much device time: a training
/// step, a nightly job. A run that is late delays the next.
#[derive(Clone, Debug)]
pub struct Job {
    /// Time between two starts.
    pub every: Nanos,
    /// Kernels of a run.
    pub kernels: u64,
    /// Each as long as this.
    pub kernel: Nanos,
    /// Where it stands: kernels launched, when this run started and the next
    /// does.
    pub at: (u64, Nanos, Nanos),
}

impl Program for Job {
    fn next(&mut self, now: Nanos, _: &mut Rng) -> Op {
        let (launched, started, next) = &mut self.at;
        if *launched == 0 {
            if now < *next {
                return Op::Until(*next);
            }
            *started = now;
            *next = now + self.every;
        }
        *launched += 1;
        match *launched {
            n if n <= self.kernels => Op::Launch(self.kernel),
            n if n == self.kernels + 1 => Op::Sync,
            _ => {
                *launched = 0;
                Op::Served { arrived: *started }
            }
        }
    }
}
