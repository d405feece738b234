//! The state of the process's device under one lock: queues, streams, events and the device clock.

use simdevice::jitter::Jitter;

use super::capture::{Captures, Status};
use super::command::{Command, Executor, External};
use super::devices::DeviceIndex;
use super::engine::Queue;
use super::events::{EventId, Events, Recorded};
use super::memory;
use super::streams::{LEGACY, Point, StreamId, StreamKind, Streams};
use crate::abi::error::{HipError, Result};
use crate::device::clock::{self, Clock};
use crate::model::rings::{Announce, Host, RING_CAPACITY, Rings, Sharing, Work};
use crate::options::{self, Discipline};

/// An item of a hardware ring.
pub struct Item {
    stream: StreamId,
    sequence: u64,
    waits_for: Option<Box<[Point]>>,
    action: Action,
}

enum Action {
    Nothing,
    Stamp(EventId),
    /// `due` is set when the item reaches the head of its ring. The work is gone while somebody executes it.
    External {
        work: Option<Box<External>>,
        due: Option<u64>,
    },
}

/// Whether the queue had room.
#[derive(Debug)]
pub enum Queued {
    At(Point),
    /// The ring is full; wait and try again.
    Full,
    /// The stream records into a graph; nothing was queued.
    Captured,
}

/// An external item taken from its ring for execution.
pub struct Taken {
    pub ring: usize,
    pub work: Box<External>,
}

/// How soon to look again for an item held up by something without a known end, in ns.
const HELD_UP: u64 = 100_000;

/// See the module's description.
pub struct Core {
    pub streams: Streams,
    pub events: Events,
    pub captures: Captures,
    pub clock: Clock,
    device: DeviceIndex,
    rings: Rings<Item>,
    jitter: Jitter,
    /// Items taken from their rings that use memory.
    executing: usize,
    /// Host functions queued or running.
    hosts: usize,
    /// What was announced last: end and work.
    announced: (u64, u64),
}

struct Hooks<'a> {
    streams: &'a mut Streams,
    events: &'a mut Events,
    clock: &'a mut Clock,
}

impl Host<Item> for Hooks<'_> {
    fn may_start(&self, item: &Item) -> bool {
        item.waits_for
            .as_ref()
            .is_none_or(|points| points.iter().all(|point| self.streams.reached(point)))
    }

    fn finished(&mut self, item: Item, service: u64) {
        if let Ok(stream) = self.streams.get_mut(item.stream) {
            stream.completed = item.sequence;
        }
        if let Action::Stamp(event) = item.action {
            self.events.stamp(
                event,
                item.stream,
                item.sequence,
                self.clock.time_at(service),
            );
        }
    }

    fn reserve(&mut self, service: u64) -> u64 {
        self.clock.reserve(service)
    }
}

impl Core {
    /// An idle process on this device.
    pub fn new(device: DeviceIndex, clock: Clock) -> Self {
        let sharing = match clock.discipline() {
            Discipline::Amd => Sharing::Equal,
            Discipline::Fifo => Sharing::Reserved,
        };
        Self {
            streams: Streams::default(),
            events: Events::default(),
            captures: Captures::default(),
            clock,
            device,
            rings: Rings::new(sharing),
            jitter: Jitter::default(),
            executing: 0,
            hosts: 0,
            announced: (0, 0),
        }
    }

    fn parts(&mut self) -> (&mut Rings<Item>, Hooks<'_>) {
        (
            &mut self.rings,
            Hooks {
                streams: &mut self.streams,
                events: &mut self.events,
                clock: &mut self.clock,
            },
        )
    }

    /// Brings queues, streams and events to the real time `now`.
    pub fn advance(&mut self, now: u64) {
        let service = self.clock.service(now);
        let (rings, mut hooks) = self.parts();
        rings.advance(service, &mut hooks);
        self.announce(now);
    }

    fn announce(&mut self, now: u64) {
        let announced = match self.clock.discipline() {
            Discipline::Amd if self.rings.announced_work() == 0 => return,
            Discipline::Amd => (self.rings.announced_end(), 1),
            Discipline::Fifo => (0, self.rings.announced_work()),
        };
        if self.announced != announced {
            self.announced = announced;
            self.clock.note_memory(memory::used_of(self.device));
            self.clock.announce(now, announced.0, announced.1);
        }
    }

    /// Queues a command at the end of a stream.
    ///
    /// # Errors
    /// The stream does not exist.
    pub fn submit(&mut self, stream: StreamId, command: &Command) -> Result<Queued> {
        let target = self.streams.get(stream)?;
        let ring = target.ring;
        if let Some(capture) = target.capture {
            if self.captures.status(capture) == Status::Invalidated {
                return Err(HipError::StreamCaptureInvalidated);
            }
            self.captures.record(capture, stream, command);
            return Ok(Queued::Captured);
        }
        let now = clock::now();
        self.advance(now);
        if self.rings.len(ring) + 2 > RING_CAPACITY {
            return Ok(Queued::Full);
        }
        let waits_for = self.order(stream, ring, command);
        let point = match command {
            Command::Kernel { service, effect } => {
                let service = self.jitter.vary(*service);
                let point = self.push(stream, Work::Service(service), waits_for, Action::Nothing);
                match effect {
                    Some(call) => {
                        let work = Some(Box::new(External::Kernel(*call)));
                        self.push(
                            stream,
                            Work::External,
                            None,
                            Action::External { work, due: None },
                        )
                    }
                    None => point,
                }
            }
            Command::External(external) => {
                let work = Some(Box::new(external.clone()));
                self.push(
                    stream,
                    Work::External,
                    waits_for,
                    Action::External { work, due: None },
                )
            }
            Command::Record(event) => {
                let point = self.push(stream, Work::Service(0), waits_for, Action::Stamp(*event));
                let slot = self.clock.slot();
                let mark = self.events.get_mut(*event).ok().and_then(|event| {
                    event.recorded = Recorded::At { point, at: None };
                    event.shared.as_ref().map(|shared| shared.record(slot))
                });
                match mark {
                    Some(mark) => {
                        let work = Some(Box::new(External::Reach(mark)));
                        let action = Action::External { work, due: None };
                        self.push(stream, Work::External, None, action)
                    }
                    None => point,
                }
            }
            Command::WaitFor(_) => self.push(stream, Work::Service(0), waits_for, Action::Nothing),
        };
        self.announce(now);
        Ok(Queued::At(point))
    }

    fn push(
        &mut self,
        id: StreamId,
        work: Work,
        waits_for: Option<Box<[Point]>>,
        action: Action,
    ) -> Point {
        // What waits for another ring may wait for the host there: its work is announced only once it starts.
        let announce = match &waits_for {
            Some(_) if self.rings.externals() > 0 => Announce::AtStart,
            _ => Announce::AtPush,
        };
        let (ring, sequence) = match self.streams.get_mut(id) {
            Ok(stream) => {
                stream.submitted += 1;
                (stream.ring, stream.submitted)
            }
            Err(_) => (0, 0),
        };
        let item = Item {
            stream: id,
            sequence,
            waits_for,
            action,
        };
        if let Action::External {
            work: Some(work), ..
        } = &item.action
        {
            self.hosts += usize::from(!work.is_quick());
        }
        let (rings, mut hooks) = self.parts();
        let cumulative = rings.push(ring, work, announce, item, &mut hooks);
        if let Ok(stream) = self.streams.get_mut(id) {
            stream.cumulative = cumulative;
        }
        Point {
            stream: id,
            sequence,
            ring,
            cumulative,
        }
    }

    /// What a command waits for besides its own stream: the default stream and the blocking streams wait for each other,
    /// and a wait command for its points.
    fn order(&self, id: StreamId, ring: usize, command: &Command) -> Option<Box<[Point]>> {
        let mut points: Vec<Point> = Vec::new();
        if let Command::WaitFor(events) = command {
            points.extend(events.iter().filter(|point| !self.streams.reached(point)));
        }
        match self.streams.get(id).map(|stream| stream.kind) {
            Ok(StreamKind::Legacy) => {
                let blocking = self
                    .streams
                    .iter()
                    .filter(|(_, stream)| stream.kind == StreamKind::Blocking);
                points.extend(blocking.filter_map(|(other, _)| self.streams.pending(other)));
            }
            Ok(StreamKind::Blocking) => points.extend(self.streams.pending(LEGACY)),
            _ => {}
        }
        // A ring is in order by itself.
        points.retain(|point| point.ring != ring);
        (!points.is_empty()).then(|| points.into_boxed_slice())
    }

    /// Takes an external item that is due and may run on this executor.
    pub fn take_due(&mut self, executor: Executor, now: u64) -> Option<Taken> {
        let latency = options::get().copy_latency;
        let clock = &self.clock;
        let mut found = None;
        for head in self.rings.external_heads() {
            let Action::External {
                work: Some(work),
                due,
            } = &mut head.payload.action
            else {
                continue;
            };
            let due = *due.get_or_insert_with(|| {
                clock
                    .time_at(head.since)
                    .saturating_add(work.latency(latency))
            });
            if due <= now && work.may_run_on(executor) {
                found = Some(head.ring);
                break;
            }
        }
        let ring = found?;
        let head = self.rings.external_heads().find(|head| head.ring == ring)?;
        let Action::External { work, .. } = &mut head.payload.action else {
            return None;
        };
        let work = work.take()?;
        self.rings.take_external(ring);
        self.executing += usize::from(work.is_quick());
        Some(Taken { ring, work })
    }

    /// The item taken has had its effect.
    pub fn complete(&mut self, taken: &Taken, now: u64) {
        if taken.work.is_quick() {
            self.executing -= 1;
        } else {
            self.hosts -= 1;
        }
        let service = self.clock.service(now);
        let (rings, mut hooks) = self.parts();
        rings.advance(service, &mut hooks);
        rings.complete_external(taken.ring, &mut hooks);
        rings.advance(service, &mut hooks);
        self.announce(now);
    }

    /// The item taken must be tried again at `retry_at`.
    pub fn put_back(&mut self, taken: Taken, retry_at: u64) {
        self.executing -= usize::from(taken.work.is_quick());
        if let Some(item) = self.rings.untake_external(taken.ring) {
            item.action = Action::External {
                work: Some(taken.work),
                due: Some(retry_at),
            };
        }
    }

    /// Whether no work of the device uses memory just now. Nothing can begin to while the core is locked.
    pub fn is_quiet(&self) -> bool {
        self.executing == 0
    }

    /// What is queued or being executed for the runtime's own threads.
    pub fn queue(&self) -> Queue {
        Queue {
            any: self.rings.externals() > 0,
            host: self.hosts > 0,
        }
    }

    /// The earliest real time at which an external item for this executor can be due, without those being executed.
    pub fn next_external(&mut self, executor: Executor) -> Option<u64> {
        let heads = self
            .rings
            .external_heads()
            .filter_map(|head| match &head.payload.action {
                Action::External {
                    work: Some(work),
                    due,
                } if work.may_run_on(executor) => *due,
                _ => None,
            });
        let due = heads.min();
        let coming = self
            .rings
            .earliest_external()
            .map(|service| self.clock.time_at(service));
        due.into_iter().chain(coming).min()
    }

    /// When to look again for `point`: never later than it can be reached.
    pub fn look_again(&self, point: &Point, now: u64) -> u64 {
        self.not_yet(
            self.clock
                .time_at(self.rings.earliest_end(point.ring, point.cumulative)),
            now,
        )
    }

    /// An estimate that has passed means that something else holds the item up: another ring or the host.
    pub fn not_yet(&self, estimate: u64, now: u64) -> u64 {
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

    /// Points that finish all work queued so far.
    pub fn all_pending(&self) -> Vec<Point> {
        self.streams
            .iter()
            .filter_map(|(id, _)| self.streams.pending(id))
            .collect()
    }
}
