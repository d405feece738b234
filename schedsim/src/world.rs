//! The event loop: programs, gates, the agent and the device on one clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use xsched_common::gate::{GateMode, ThreadKind};
use xsched_common::units::Nanos;
use xsched_policy::{
    BurstLatency, ClientId, ClientState, DeviceMemory, DeviceSettings, LatencyWindow, Override,
    Presence, SchedAttr, SloVerdict,
};

use crate::device::Device;
use crate::program::{Op, Program};
use crate::shim::{Bell, Look, Shim};
use crate::timing::{Rng, Timing};
pub use crate::ways::{Tells, Under};

/// Virtual time starts here: zero means "never" in pages.
pub const START: Nanos = Nanos::from_secs(1);

/// Time between two beats of the agent's heart.
const HEARTBEAT: Nanos = Nanos::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A program takes its next step.
    Step(usize),
    /// A launch at the gate looks again, unless it has looked since.
    Look(usize, u64),
    /// The agent decides.
    Decide,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Stepping,
    AtGate(Nanos),
    /// Until so many of its kernels have ended.
    Waiting(u64),
    Gone,
}

/// One process and what came of it.
pub struct Client {
    program: Box<dyn Program>,
    doing: Doing,
    rng: Rng,
    looks: u64,
    launched: u64,
    /// When its launch came to the gate.
    came: Nanos,
    /// A wait has ended that shows so many of its kernels complete.
    shown: Option<u64>,
    tells: Tells,
    /// When its kernels ended, where nothing else tells.
    ends: Vec<Nanos>,
    /// `None` runs natively.
    pub shim: Option<Shim>,
    attr: SchedAttr,
    hold: Option<Override>,
    presence: Presence,
    seen: (bool, u64),
    active_since: Nanos,
    window: LatencyWindow,
    /// Requests and how long each took from its arrival.
    pub served: Vec<(Nanos, Nanos)>,
    /// Times its gate changed what it allows.
    pub gate_changes: u64,
    /// The longest wait of one launch.
    pub longest_wait: Nanos,
}

/// A machine: one device, its processes, and the agent.
pub struct World {
    now: Nanos,
    rng: Rng,
    timing: Timing,
    settings: DeviceSettings,
    device: Device,
    clients: Vec<Client>,
    memory: DeviceMemory,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    event_count: u64,
    next_decision: Nanos,
    agent_alive: bool,
    last_beat: Nanos,
}

impl World {
    /// An empty machine.
    pub fn new(seed: u64, timing: Timing, settings: DeviceSettings) -> World {
        let mut world = World {
            now: START,
            rng: Rng::new(seed),
            timing,
            settings,
            device: Device::default(),
            clients: Vec::new(),
            memory: DeviceMemory::default(),
            events: BinaryHeap::new(),
            event_count: 0,
            next_decision: START,
            agent_alive: true,
            last_beat: START,
        };
        world.device.advance(START);
        world.push(START, Event::Decide);
        world
    }

    /// Starts a process; its number.
    pub fn start(
        &mut self,
        program: impl Program + 'static,
        attr: SchedAttr,
        under: Under,
    ) -> usize {
        let number = self.device.attach();
        let seed = (self.rng.uniform() * 1e15) as u64;
        self.clients.push(Client {
            program: Box::new(program),
            doing: Doing::Stepping,
            rng: Rng::new(seed),
            looks: 0,
            launched: 0,
            came: START,
            shown: None,
            tells: Tells::Sync,
            ends: Vec::new(),
            shim: match under {
                Under::Native => None,
                Under::Shim => Some(Shim::new(ThreadKind::Main)),
                Under::ShimWorker => Some(Shim::new(ThreadKind::Worker)),
            },
            attr,
            hold: None,
            presence: Presence::Never,
            seen: (false, 0),
            active_since: START,
            window: LatencyWindow::default(),
            served: Vec::new(),
            gate_changes: 0,
            longest_wait: Nanos::ZERO,
        });
        self.push(self.now, Event::Step(number));
        number
    }

    /// How its kernels' ends become known, from the start on.
    pub fn set_tells(&mut self, number: usize, tells: Tells) {
        self.clients[number].tells = tells;
    }

    /// What became of a process.
    pub fn client(&self, number: usize) -> &Client {
        &self.clients[number]
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The present.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Device time that the policy has charged to a process.
    pub fn charged(&self, number: usize) -> Nanos {
        self.memory.charged(id(number)).unwrap_or_default()
    }

    /// How a target goes.
    pub fn slo(&self, number: usize) -> Option<SloVerdict> {
        self.memory.slo(id(number))
    }

    /// What a gate allows now.
    pub fn gate(&self, number: usize) -> Option<GateMode> {
        Some(self.clients[number].shim.as_ref()?.word.mode())
    }

    /// Changes attributes, as `xsched-agent set` does.
    pub fn set_attr(&mut self, number: usize, attr: SchedAttr) {
        self.clients[number].attr = attr;
        self.push(self.now, Event::Decide);
    }

    /// Begins or ends a boost or suspension.
    pub fn set_hold(&mut self, number: usize, hold: Option<Override>) {
        self.clients[number].hold = hold;
        self.push(self.now, Event::Decide);
    }

    /// Changes how the device is shared.
    pub fn set_settings(&mut self, settings: DeviceSettings) {
        self.settings = settings;
        self.push(self.now, Event::Decide);
    }

    /// kill -9 of the agent.
    pub fn kill_agent(&mut self) {
        self.agent_alive = false;
    }

    fn push(&mut self, at: Nanos, event: Event) {
        self.event_count += 1;
        self.events.push(Reverse((at, self.event_count, event)));
    }

    /// Runs for a time.
    pub fn run(&mut self, time: Nanos) {
        let end = self.now + time;
        loop {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let kernel = self.device.next_end();
            let next = match (event, kernel) {
                (Some(a), Some(b)) => a.min(b),
                (a, b) => a.or(b).unwrap_or(Nanos::MAX),
            };
            if next > end {
                self.now = end;
                self.device.advance(end);
                return;
            }
            self.now = next.max(self.now);
            self.device.advance(self.now);
            self.note_ends();
            self.wake_waiters();
            while let Some(Reverse((_, _, event))) = self
                .events
                .peek()
                .copied()
                .filter(|Reverse((at, ..))| *at <= self.now)
            {
                self.events.pop();
                self.handle(event);
            }
        }
    }

    fn note_ends(&mut self) {
        for (number, client) in self.clients.iter_mut().enumerate() {
            if client.tells == Tells::Nothing {
                let finished = self.device.finished(number) as usize;
                client.ends.resize(finished, self.now);
            }
        }
    }

    /// From an end to its being known.
    fn told_after(&mut self, tells: Tells) -> Nanos {
        match tells {
            Tells::Sync => self.timing.sync,
            Tells::Function => self.timing.function.draw(&mut self.rng),
            Tells::Chain => {
                let event = self.timing.sync;
                event + self.timing.function.draw(&mut self.rng)
            }
            Tells::Query | Tells::Nothing => {
                let part = self.rng.uniform() * self.timing.poll.0 as f64;
                Nanos(part as u64) + self.timing.timer.draw(&mut self.rng)
            }
        }
    }

    /// Programs whose kernels have ended go on.
    fn wake_waiters(&mut self) {
        for number in 0..self.clients.len() {
            if let Doing::Waiting(upto) = self.clients[number].doing
                && self.device.finished(number) >= upto
            {
                self.clients[number].doing = Doing::Stepping;
                self.clients[number].shown = Some(upto);
                let delay = self.told_after(self.clients[number].tells);
                self.push(self.now + delay, Event::Step(number));
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Step(number) => self.step(number),
            Event::Look(number, look) => {
                if self.clients[number].looks == look {
                    self.look(number);
                }
            }
            Event::Decide => self.decide(),
        }
    }

    fn ring(&mut self, bell: Bell) {
        if bell == Bell::Rings {
            let delay = self.timing.doorbell.draw(&mut self.rng);
            self.push(self.now + delay, Event::Decide);
        }
    }

    fn step(&mut self, number: usize) {
        let finished = self.device.finished(number);
        loop {
            let client = &mut self.clients[number];
            if client.doing != Doing::Stepping {
                return;
            }
            // What a wait that has just ended shows.
            if let Some(upto) = client.shown.take()
                && client.tells != Tells::Nothing
                && let Some(shim) = &mut client.shim
            {
                let bell = shim.synchronised(self.now, upto);
                self.ring(bell);
            }
            let client = &mut self.clients[number];
            match client.program.next(self.now, &mut client.rng) {
                Op::Launch(length) => return self.launch(number, length),
                Op::Sync if client.launched > finished => {
                    client.doing = Doing::Waiting(client.launched);
                }
                Op::Sync => client.shown = Some(client.launched),
                Op::Ahead(most) if client.launched > finished + most => {
                    client.doing = Doing::Waiting(client.launched - most);
                }
                Op::Ahead(_) => {}
                Op::Until(time) => {
                    let late = self.timing.timer.draw(&mut self.rng);
                    let time = time.max(self.now + Nanos(1)) + late;
                    return self.push(time, Event::Step(number));
                }
                Op::Compute(time) => {
                    let time = time.max(self.now + Nanos(1));
                    return self.push(time, Event::Step(number));
                }
                Op::Served { arrived } => {
                    client.served.push((arrived, self.now.since(arrived)));
                }
                Op::Exit => client.doing = Doing::Gone,
            }
        }
    }

    fn launch(&mut self, number: usize, length: Nanos) {
        let client = &mut self.clients[number];
        client.doing = Doing::AtGate(length);
        client.came = self.now;
        let (look, bell) = match &mut client.shim {
            None => (Look::Go, Bell::Silent),
            Some(shim) => shim.arrive(self.now, &client.ends),
        };
        self.ring(bell);
        match look {
            Look::Go => self.admit(number, length),
            Look::Wait(_) => self.look(number),
        }
    }

    fn look(&mut self, number: usize) {
        let finished = self.device.finished(number);
        let beat = self.last_beat;
        let client = &mut self.clients[number];
        let Doing::AtGate(length) = client.doing else {
            return;
        };
        client.looks += 1;
        let Some(shim) = &mut client.shim else {
            return;
        };
        match shim.look(self.now, finished, beat) {
            Look::Go => self.admit(number, length),
            Look::Wait(until) => {
                let late = self.timing.timer.draw(&mut self.rng);
                let look = self.clients[number].looks;
                self.push(until + late, Event::Look(number, look));
            }
        }
    }

    fn admit(&mut self, number: usize, length: Nanos) {
        self.device.launch(number, length);
        let client = &mut self.clients[number];
        client.launched += 1;
        client.doing = Doing::Stepping;
        client.longest_wait = client.longest_wait.max(self.now.since(client.came));
        let bell = match &mut client.shim {
            None => Bell::Silent,
            Some(shim) => shim.admitted(self.now),
        };
        self.ring(bell);
        self.push(self.now + self.timing.launch, Event::Step(number));
    }

    /// A round of the agent.
    fn decide(&mut self) {
        if !self.agent_alive {
            return;
        }
        self.last_beat = Nanos(self.now.0 / HEARTBEAT.0 * HEARTBEAT.0);
        let now = self.now;
        let mut states = Vec::with_capacity(self.clients.len());
        let mut numbers = Vec::with_capacity(self.clients.len());
        for (number, client) in self.clients.iter_mut().enumerate() {
            if let Some(state) = client.observe(number, now) {
                states.push(state);
                numbers.push(number);
            }
        }
        let mut decisions = Vec::with_capacity(states.len());
        let again = xsched_policy::decide(
            &self.settings,
            &mut self.memory,
            now,
            &states,
            &mut decisions,
        );
        for (&number, decision) in numbers.iter().zip(&decisions) {
            let client = &mut self.clients[number];
            let Some(shim) = &mut client.shim else {
                continue;
            };
            shim.wanted = decision.edges;
            shim.fence_batch = self.settings.fence_batch;
            if !xsched_policy::worth_writing(shim.word.mode(), decision.mode) {
                continue;
            }
            shim.word = shim.word.next(decision.mode);
            client.gate_changes += 1;
            if matches!(client.doing, Doing::AtGate(_)) {
                let look = client.looks;
                let delay = self.timing.wake.draw(&mut self.rng);
                self.push(now + delay, Event::Look(number, look));
            }
        }
        let beat = Nanos((now.0 / HEARTBEAT.0 + 1) * HEARTBEAT.0);
        let next = again.unwrap_or(Nanos::MAX).min(beat);
        // One timer: a later one that is still set does nothing but decide.
        if next != self.next_decision {
            self.next_decision = next;
            let late = self.timing.timer.draw(&mut self.rng);
            self.push(next + late, Event::Decide);
        }
    }
}

fn id(number: usize) -> ClientId {
    ClientId(number as u64)
}

impl Client {
    /// As control reads a page.
    fn observe(&mut self, number: usize, now: Nanos) -> Option<ClientState> {
        let shim = self.shim.as_ref()?;
        let seen = (shim.active, shim.bursts);
        if seen != self.seen {
            (self.seen, self.active_since) = (seen, now);
            self.presence = match shim.active {
                true => Presence::Active,
                false => Presence::Idle { since: now },
            };
        }
        let latency: Option<BurstLatency> = match self.attr.slo_p99 {
            Some(_) => self.window.observe(now, || shim.burst_times.counts()),
            None => None,
        };
        Some(ClientState {
            hold: self.hold,
            presence: self.presence,
            progress: shim.launched + shim.bursts + shim.busy.0,
            in_flight: (shim.launched - shim.known) as u32,
            waiting: u32::from(shim.waits()),
            busy: shim.busy,
            bursts: shim.bursts,
            latency,
            kernel_time: Some(shim.kernel_time).filter(|t| t.0 > 0),
            gap: shim.gap,
            short_gaps: shim.gap_count as u64,
            active_since: self.active_since,
            told: Some(shim.told),
            lasts: shim.lasts,
            ..ClientState::new(id(number), self.attr)
        })
    }

    /// How long requests took that came after `from`.
    pub fn latencies(&self, from: Nanos) -> Vec<Nanos> {
        self.served
            .iter()
            .filter(|(arrived, _)| *arrived >= from)
            .map(|(_, took)| *took)
            .collect()
    }
}
