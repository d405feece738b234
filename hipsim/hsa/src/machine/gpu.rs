//! One GPU as this process uses it: its hardware rings and the clock that all processes on it share.

use simdevice::device::clock::{self, Clock};
use simdevice::jitter::Jitter;
use simdevice::model::rings::{Announce, Host, NORMAL_PRIORITY, RINGS, Rings, Sharing, Work};
use simdevice::model::share::Level;
use simdevice::options::{self, Discipline};
use simdevice::places;

use super::packet::{Effect, Packet, Part, Wait};
use super::queue::{End, Queue};
use super::signal::{Ends, Place, Signal};
use crate::abi::status::{Result, Status};

/// How soon to look again for an item held up by something without a known end, in ns.
const HELD_UP: u64 = 100_000;

/// See the module's description.
pub struct Gpu {
    number: usize,
    pub clock: Clock,
    rings: Rings<Packet>,
    /// Rings whose queue was destroyed.
    free: Vec<usize>,
    used: usize,
    jitter: Jitter,
    /// What was announced last: end, work and the priority it has.
    announced: (u64, u64, Level),
}

/// What a packet asks of the GPU.
pub struct Request {
    pub queue: &'static Queue,
    pub index: u64,
    pub wait: Wait,
    pub completion: Option<Signal>,
    /// Time alone on the device in ns, before jitter.
    pub service: u64,
    pub effect: Option<Effect>,
}

struct Hooks<'a> {
    clock: &'a mut Clock,
}

impl Host<Packet> for Hooks<'_> {
    fn may_start(&self, packet: &Packet) -> bool {
        packet.queue.is_destroyed() || packet.wait.is_over()
    }

    fn started(&mut self, packet: &mut Packet, service: u64) {
        if packet.part != Part::Effect
            && let Some(signal) = packet.completion
        {
            signal.begin(self.clock.time_at(service));
        }
    }

    fn finished(&mut self, packet: Packet, service: u64) {
        if packet.part != Part::Time {
            packet.queue.passed(packet.index);
            if let Some(signal) = packet.completion {
                signal.complete(self.clock.time_at(service));
            }
        }
    }

    fn reserve(&mut self, service: u64) -> u64 {
        self.clock.reserve(service)
    }
}

impl Gpu {
    /// Attaches this process to a device.
    ///
    /// # Errors
    /// `OUT_OF_RESOURCES` when its file cannot be used; standard error says why.
    pub fn attach(number: usize, place: usize) -> Result<Self> {
        let clock =
            Clock::attach(&places::path(place), options::get().discipline).map_err(|error| {
                eprintln!("hsasim: {error}");
                Status::OUT_OF_RESOURCES
            })?;
        let sharing = match clock.discipline() {
            Discipline::Amd => Sharing::Equal,
            Discipline::Fifo => Sharing::Reserved,
        };
        Ok(Self {
            number,
            clock,
            rings: Rings::new(sharing),
            free: Vec::new(),
            used: 0,
            jitter: Jitter::default(),
            announced: (0, 0, Level::default()),
        })
    }

    /// A ring for a new queue.
    pub fn take_ring(&mut self) -> usize {
        let empty = |ring: &usize| self.rings.len(*ring) == 0;
        if let Some(at) = self.free.iter().position(empty) {
            return self.free.swap_remove(at);
        }
        self.used += 1;
        match self.used <= RINGS {
            true => self.used - 1,
            false => self.rings.add(),
        }
    }

    /// Among the kernels at the heads of rings those of the highest priority run; and among processes those that have the
    /// highest priority at work. The GPU has been brought to the present.
    pub fn set_priority(&mut self, ring: usize, priority: u8, now: u64) {
        self.rings.set_priority(ring, priority);
        self.announce(now);
    }

    /// The queue of this ring is gone. What is left in it still runs.
    pub fn give_back(&mut self, ring: usize) {
        self.rings.set_priority(ring, NORMAL_PRIORITY);
        self.free.push(ring);
    }

    /// Brings the rings to the real time `now`.
    pub fn advance(&mut self, now: u64) {
        let service = self.clock.service(now);
        self.rings.advance(
            service,
            &mut Hooks {
                clock: &mut self.clock,
            },
        );
        self.announce(now);
    }

    fn announce(&mut self, now: u64) {
        let announced = match self.clock.discipline() {
            Discipline::Amd if self.rings.announced_work() == 0 => return,
            Discipline::Amd => {
                let level = Level::from_raw(self.rings.highest_priority());
                (self.rings.announced_end(), 1, level)
            }
            Discipline::Fifo => (0, self.rings.announced_work(), Level::default()),
        };
        if self.announced != announced {
            self.announced = announced;
            let (end, work, level) = announced;
            self.clock.set_level(now, level);
            self.clock.announce(now, end, work);
        }
    }

    /// Appends a packet to its queue's ring. The GPU has been brought to the present.
    pub fn push(&mut self, request: Request, now: u64) {
        let Request {
            queue,
            index,
            wait,
            completion,
            service,
            effect,
        } = request;
        // What may wait for the host is announced only once it starts.
        let announce = match &wait {
            Wait::None => Announce::AtPush,
            wait if wait.ends_by_itself() && self.rings.externals() == 0 => Announce::AtPush,
            _ => Announce::AtStart,
        };
        let ring = queue.ring;
        let packet = |part, wait, effect| Packet {
            queue,
            index,
            part,
            wait,
            completion,
            effect,
            due: None,
        };
        let service = Work::Service(queue.scaled(self.jitter.vary(service)));
        let hooks = &mut Hooks {
            clock: &mut self.clock,
        };
        let cumulative = if effect.is_some() {
            let time = packet(Part::Time, wait, None);
            self.rings.push(ring, service, announce, time, hooks);
            let effect = packet(Part::Effect, Wait::None, effect);
            self.rings
                .push(ring, Work::External, Announce::AtPush, effect, hooks)
        } else {
            let whole = packet(Part::Whole, wait, None);
            self.rings.push(ring, service, announce, whole, hooks)
        };
        if let Some(signal) = completion {
            let gpu = self.number;
            let place = Place::Ring {
                gpu,
                ring,
                cumulative,
            };
            let ends = match self.rings.is_announced(ring) {
                true => Ends::ByItself,
                false => Ends::WithHost,
            };
            signal.queued(place, ends);
        }
        self.announce(now);
    }

    /// Takes an effect that is due; its ring and the effect.
    pub fn take_due(&mut self, now: u64) -> Option<(usize, Effect)> {
        let mut heads = self.rings.external_heads();
        let head = heads.find(|head| {
            head.payload.effect.is_some() && head.payload.due.is_none_or(|due| due <= now)
        })?;
        let (ring, mut effect) = (head.ring, head.payload.effect.take()?);
        if head.payload.queue.is_destroyed() {
            // Its memory may be gone with it.
            effect = Effect::Gone;
        }
        drop(heads);
        self.rings.take_external(ring);
        Some((ring, effect))
    }

    /// The effect taken from this ring has happened.
    pub fn complete(&mut self, ring: usize, now: u64) {
        let service = self.clock.service(now);
        let hooks = &mut Hooks {
            clock: &mut self.clock,
        };
        self.rings.advance(service, hooks);
        self.rings.complete_external(ring, hooks);
        self.rings.advance(service, hooks);
        self.announce(now);
    }

    /// The effect taken from this ring must be tried again at `retry_at`.
    pub fn put_back(&mut self, ring: usize, effect: Effect, retry_at: u64) {
        if let Some(packet) = self.rings.untake_external(ring) {
            packet.effect = Some(effect);
            packet.due = Some(retry_at);
        }
    }

    /// The effect taken from this ring never ends: its queue stands, and nothing that is left in it completes.
    pub fn fail(&mut self, ring: usize) {
        for packet in self.rings.abandon(ring) {
            if packet.part != Part::Time
                && let Some(signal) = packet.completion
            {
                signal.forsake();
            }
            packet.queue.end(End::Failed);
        }
    }

    /// Whether effects are queued.
    pub fn has_effects(&self) -> bool {
        self.rings.externals() > 0
    }

    /// The earliest real time at which an effect can be due, without those being executed.
    pub fn next_effect(&mut self, now: u64) -> Option<u64> {
        let heads = self.rings.external_heads();
        let due = heads
            .filter(|head| head.payload.effect.is_some())
            .filter_map(|head| head.payload.due)
            .min();
        let coming = self
            .rings
            .earliest_external()
            .map(|service| self.clock.time_at(service));
        let next = due.into_iter().chain(coming).min()?;
        Some(self.not_yet(next, now))
    }

    /// When to look again for an item of a ring: never later than it can be reached.
    pub fn look_again(&self, ring: usize, cumulative: u64, now: u64) -> u64 {
        let end = self.rings.earliest_end(ring, cumulative);
        self.not_yet(self.clock.time_at(end), now)
    }

    /// An estimate that has passed means that something else holds the item up: another ring or the host.
    fn not_yet(&self, estimate: u64, now: u64) -> u64 {
        if estimate > now {
            return estimate;
        }
        let finish = self
            .rings
            .earliest_finish()
            .map(|service| self.clock.time_at(service));
        finish
            .filter(|at| *at > now)
            .unwrap_or(now + HELD_UP)
            .min(now + HELD_UP)
    }

    /// Whether anything is in the rings.
    pub fn is_idle(&self) -> bool {
        self.rings.is_empty()
    }

    /// Takes dead neighbours off the device.
    pub fn reap(&mut self, now: u64) {
        debug_assert!(now <= clock::now());
        self.clock.reap(now);
    }
}
