//! One service under observation.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::{Activity, StatusPage};
use xsched_common::units::{DeviceIndex, Nanos};
use xsched_host::run_delay::RunDelays;
use xsched_policy::ClientId;

use crate::control::{ClientShared, Stats};

/// A look that comes so much later than it should was held up, with all of
/// the agent.
const HELD_UP: Nanos = Nanos::from_millis(20);

/// Somebody else on the service's device.
#[derive(Clone)]
pub struct Other {
    /// Its pages.
    pub client: Arc<ClientShared>,
    /// Its number for the device.
    pub device: DeviceIndex,
    /// Whether its class is below the service's.
    pub lower: bool,
}

/// Whom to watch, and beside whom.
pub struct Request {
    /// The service.
    pub client: Arc<ClientShared>,
    /// Its number for the device.
    pub device: DeviceIndex,
    /// Others on the device.
    pub others: Vec<Other>,
}

impl Request {
    /// Of the service.
    pub fn id(&self) -> ClientId {
        self.client.id
    }
}

/// What was seen of a service.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Within its bursts its threads were ready to run and had no processor.
    pub delay: Nanos,
    /// Within its bursts the agent could not act while lower classes worked.
    pub agent: Nanos,
    /// Bursts that were seen from their beginning to their end.
    pub bursts: u64,
    /// From their first launch to their last, in sum.
    pub launching: Nanos,
    /// By other client.
    pub others: Vec<OtherSeen>,
}

/// What was seen of another client.
#[derive(Clone, Debug)]
pub struct OtherSeen {
    /// Which.
    pub pid: u32,
    /// Whether it is of a lower class.
    pub lower: bool,
    /// Commands in flight when a burst of the service might begin, in sum, and
    /// how often that was looked at.
    pub in_flight: u64,
    /// See `in_flight`.
    pub looks: u64,
    /// The largest cap that its gate had then.
    pub cap: u32,
    /// How long its kernels take.
    pub kernel: Nanos,
    /// Its device time.
    pub busy: Nanos,
}

/// The agent's own delays.
pub struct Agent {
    stats: Arc<Stats>,
    control: Option<RunDelays>,
    last: Nanos,
}

/// Of one look, since the one before.
pub struct Delays {
    /// The time.
    over: Nanos,
    /// The agent could not act.
    agent: Nanos,
    /// Whether the look was held up, so that bursts went by unseen.
    blind: bool,
}

impl Agent {
    pub fn new(stats: Arc<Stats>) -> Agent {
        Agent {
            stats,
            control: None,
            last: Nanos::ZERO,
        }
    }

    /// Nobody is watched.
    pub fn rest(&mut self) {
        self.last = Nanos::ZERO;
    }

    /// Since the last look, which was to be `every` ago.
    pub fn look(&mut self, now: Nanos, every: Nanos) -> Delays {
        if self.control.is_none() {
            let thread = self.stats.beats.thread();
            self.control = thread.map(RunDelays::of_own_thread);
        }
        let control = self.control.as_mut().map(RunDelays::since_last);
        let first = self.last == Nanos::ZERO;
        let over = now.since(self.last);
        self.last = now;
        if first {
            return Delays {
                over: Nanos::ZERO,
                agent: Nanos::ZERO,
                blind: false,
            };
        }
        let late = over.since(every);
        let due = Nanos(self.stats.beat_due.load(Relaxed));
        let overdue = match due {
            Nanos::ZERO => Nanos::ZERO,
            due => now.since(due),
        };
        let blind = late >= HELD_UP;
        // The control thread stands still alone, or with everything.
        let stood = match overdue >= HELD_UP {
            true => over,
            false if blind => late,
            false => Nanos::ZERO,
        };
        Delays {
            over,
            agent: control.unwrap_or_default().max(stood).min(over),
            blind,
        }
    }
}

/// A service, and what was seen of it since the last account.
pub struct Watched {
    request: Request,
    delays: RunDelays,
    last: Option<Look>,
    /// When the burst under way was first seen, and its last launch.
    burst: Option<(Nanos, Nanos)>,
    others: Vec<OtherLast>,
    seen: Seen,
}

struct Look {
    activity: Activity,
    launches: u64,
    burst_time: u64,
}

#[derive(Clone, Copy, Default)]
struct OtherLast {
    busy: u64,
    admitted: u64,
}

/// Where the time between two looks lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Where {
    /// In a burst to this part.
    Within(f64),
    /// Between two bursts, or one has just begun.
    Between,
}

impl Watched {
    pub fn new(request: Request) -> Watched {
        let pid = request.client.process.pid;
        let mut watched = Watched {
            request,
            delays: RunDelays::of_process(pid),
            last: None,
            burst: None,
            others: Vec::new(),
            seen: Seen::default(),
        };
        watched.prepare();
        watched
    }

    /// Others may have come and gone, threads as well.
    pub fn renew(&mut self, request: Request) {
        self.request = request;
        self.delays.choose();
        self.prepare();
    }

    /// Counts anew.
    fn prepare(&mut self) {
        let others = &self.request.others;
        self.others = others.iter().map(OtherLast::of).collect();
        self.seen.others = others
            .iter()
            .map(|other| OtherSeen {
                pid: other.client.process.pid,
                lower: other.lower,
                in_flight: 0,
                looks: 0,
                cap: 0,
                kernel: kernel(other),
                busy: Nanos::ZERO,
            })
            .collect();
    }

    /// What was seen since the last call.
    pub fn take(&mut self) -> Seen {
        let seen = std::mem::take(&mut self.seen);
        self.prepare();
        seen
    }

    /// Looks once.
    pub fn look(&mut self, now: Nanos, agent: &Delays) {
        let page: &StatusPage = &self.request.client.status;
        let Some(status) = page.devices.get(usize::from(self.request.device.0)) else {
            return;
        };
        let look = Look {
            activity: status.activity(),
            launches: super::super::page_reader::sum_of_launches(page),
            burst_time: page.bursts.sum.load(Relaxed),
        };
        let delay = self.delays.since_last();
        let place = self.place(&look, agent);
        if let Some(place) = place {
            if let Where::Within(part) = place {
                // A delay is told when it is over: it may be as long as the
                // burst so far.
                let began = self.burst.map_or(now, |(began, _)| began);
                let most = agent.over + now.since(began);
                self.seen.delay = self.seen.delay + partly(delay.min(most), part);
            }
            self.note_burst(now, &look, place, agent);
            self.note_others(place, agent, look.activity.active);
        }
        self.last = Some(look);
    }

    /// Where the time since the last look lies; `None` for the first.
    fn place(&self, look: &Look, agent: &Delays) -> Option<Where> {
        let last = self.last.as_ref()?;
        let changes = look
            .activity
            .transitions
            .wrapping_sub(last.activity.transitions);
        Some(
            match (last.activity.active, changes, look.activity.active) {
                _ if agent.blind => {
                    let bursts = look.burst_time.wrapping_sub(last.burst_time) as f64;
                    Where::Within((bursts / agent.over.0.max(1) as f64).min(1.0))
                }
                // A delay is counted when it ends: before a burst begins that is
                // between bursts, before it ends it is within.
                (true, 0 | 1, _) => Where::Within(1.0),
                (false, 0 | 1, _) => Where::Between,
                _ => Where::Within(0.5),
            },
        )
    }

    fn note_burst(&mut self, now: Nanos, look: &Look, place: Where, agent: &Delays) {
        let active = look.activity.active;
        let launched = self
            .last
            .as_ref()
            .is_some_and(|last| last.launches != look.launches);
        match (&mut self.burst, place) {
            _ if agent.blind => self.burst = None,
            (None, Where::Between) if active => {
                // It has begun since the last look, on the mean half way.
                let began = now.since(Nanos(agent.over.0 / 2));
                self.burst = Some((began, began));
            }
            (Some((_, last)), Where::Within(1.0)) if active => {
                if launched {
                    *last = now;
                }
            }
            (Some((began, last)), Where::Within(1.0)) => {
                // It has ended since the last look, on the mean half way.
                let last = match launched {
                    true => now.since(Nanos(agent.over.0 / 2)),
                    false => *last,
                };
                self.seen.bursts += 1;
                self.seen.launching = self.seen.launching + last.since(*began);
                self.burst = None;
            }
            _ => self.burst = None,
        }
    }

    fn note_others(&mut self, place: Where, agent: &Delays, active: bool) {
        let mut lower_works = false;
        let pairs = self.request.others.iter().zip(&mut self.others);
        for ((other, last), seen) in pairs.zip(&mut self.seen.others) {
            let now = OtherLast::of(other);
            // Told when it is complete, so it may be more than this look's.
            let busy = Nanos(now.busy.saturating_sub(last.busy));
            let worked = now.admitted != last.admitted || busy > Nanos::ZERO;
            *last = now;
            let status = &other.client.status.devices[usize::from(other.device.0)];
            let in_flight = status.in_flight.load(Relaxed);
            lower_works |= other.lower && (worked || in_flight > 0);
            seen.busy = seen.busy + busy;
            // What a burst that begins now finds.
            if place == Where::Between && !active {
                let control = &other.client.control.devices[usize::from(other.device.0)];
                let cap = match GateWord(control.word.load(Relaxed)).mode() {
                    GateMode::Capped(cap) => u32::from(cap),
                    GateMode::Open | GateMode::Watched | GateMode::Closed => in_flight,
                };
                seen.in_flight += u64::from(in_flight);
                seen.looks += 1;
                seen.cap = seen.cap.max(cap);
            }
        }
        if let Where::Within(part) = place
            && lower_works
        {
            self.seen.agent = self.seen.agent + partly(agent.agent, part);
        }
    }
}

impl OtherLast {
    fn of(other: &Other) -> OtherLast {
        let status = &other.client.status.devices[usize::from(other.device.0)];
        OtherLast {
            busy: status.busy_ns.load(Relaxed),
            admitted: status.admitted.load(Relaxed),
        }
    }
}

fn kernel(other: &Other) -> Nanos {
    let said = other.client.status.kernel_time(other.device);
    let alone = other.client.kernel_alone(other.device);
    match (said, alone) {
        (Some(said), Some(alone)) => said.min(alone),
        (said, alone) => said.or(alone).unwrap_or_default(),
    }
}

fn partly(time: Nanos, part: f64) -> Nanos {
    Nanos((time.0 as f64 * part) as u64)
}
