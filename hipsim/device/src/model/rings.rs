//! The hardware rings of one process: a few deep FIFO queues that share the process's service equally.
//!
//! Time here is the process's service clock (see [`super::share`] and [`super::fifo`]), not real time.

use std::collections::VecDeque;

/// Hardware rings per process, as the amdgpu driver gives by default.
pub const RINGS: usize = 4;
/// Priority of a ring that nobody has set.
pub const NORMAL_PRIORITY: u8 = 1;
/// Packets a ring holds; a launch into a full ring waits.
pub const RING_CAPACITY: usize = 16_384;

/// How kernels at the heads of several rings use the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// All at once, each at an equal part of the process's rate.
    Equal,
    /// Each at the time it reserved ([`Host::reserve`]).
    Reserved,
}

/// What an item needs to finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// This much service, in ns. Zero is allowed (markers).
    Service(u64),
    /// Somebody who calls [`Rings::complete_external`] (copies, host functions, kernels computed by the CPU).
    External,
}

/// Whether an item's work counts as runnable before it has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announce {
    /// As soon as everything before it in the ring does.
    AtPush,
    /// Only once it has started: it waits for another ring that may be stalled by the host.
    AtStart,
}

/// What the rings ask of their owner.
pub trait Host<P> {
    /// Whether everything this item waits for has finished.
    fn may_start(&self, payload: &P) -> bool;
    /// The item finished at `service`.
    fn finished(&mut self, payload: P, service: u64);
    /// The item began to run at `service`.
    fn started(&mut self, _payload: &mut P, _service: u64) {}
    /// Reserves `service` ns; the device time at which it ends ([`Sharing::Reserved`] only).
    fn reserve(&mut self, service: u64) -> u64;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Waiting,
    Running { remaining: u64 },
    External { since: u64, taken: bool },
}

struct Item<P> {
    work: Work,
    announce: Announce,
    /// Sum of service pushed to the ring up to and including this item.
    cumulative: u64,
    /// Device time of the end, once reserved.
    end: u64,
    payload: P,
}

struct Ring<P> {
    queue: VecDeque<Item<P>>,
    priority: u8,
    head: Head,
    /// Items from the front whose work is announced.
    announced: usize,
    pushed: u64,
    done: u64,
    /// Cumulative service at each queued external item.
    externals: VecDeque<u64>,
}

/// The rings of one process.
pub struct Rings<P> {
    sharing: Sharing,
    service: u64,
    announced_work: u64,
    rings: Vec<Ring<P>>,
}

/// An external item at the head of a ring.
pub struct ExternalHead<'a, P> {
    /// Index of its ring.
    pub ring: usize,
    /// Service clock when it became the head.
    pub since: u64,
    /// The item.
    pub payload: &'a mut P,
}

impl<P> Rings<P> {
    /// Empty rings.
    #[must_use]
    pub fn new(sharing: Sharing) -> Self {
        let mut rings = Self {
            sharing,
            service: 0,
            announced_work: 0,
            rings: Vec::new(),
        };
        for _ in 0..RINGS {
            rings.add();
        }
        rings
    }

    /// One more ring; its index.
    pub fn add(&mut self) -> usize {
        self.rings.push(Ring {
            queue: VecDeque::new(),
            priority: NORMAL_PRIORITY,
            head: Head::Waiting,
            announced: 0,
            pushed: 0,
            done: 0,
            externals: VecDeque::new(),
        });
        self.rings.len() - 1
    }

    /// Under [`Sharing::Equal`] the kernels of the highest priority among the heads run, the others stand still meanwhile.
    pub fn set_priority(&mut self, ring: usize, priority: u8) {
        self.rings[ring].priority = priority;
    }

    /// Service at which all announced work ends; meaningless when [`Self::announced_work`] is zero.
    #[must_use]
    pub fn announced_end(&self) -> u64 {
        self.service.saturating_add(self.announced_work)
    }

    /// Runnable work not done yet, in ns of service.
    #[must_use]
    pub fn announced_work(&self) -> u64 {
        self.announced_work
    }

    /// The highest priority among rings with announced work; normal if there is none.
    #[must_use]
    pub fn highest_priority(&self) -> u8 {
        let at_work = self.rings.iter().filter(|ring| ring.announced > 0);
        let highest = at_work.map(|ring| ring.priority).max();
        highest.unwrap_or(NORMAL_PRIORITY)
    }

    /// Items in a ring.
    #[must_use]
    pub fn len(&self, ring: usize) -> usize {
        self.rings[ring].queue.len()
    }

    /// Whether all work of a ring is announced: nothing in it waits for the host.
    #[must_use]
    pub fn is_announced(&self, ring: usize) -> bool {
        self.rings[ring].announced == self.rings[ring].queue.len()
    }

    /// Whether no ring holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rings.iter().all(|ring| ring.queue.is_empty())
    }

    /// External items queued anywhere.
    #[must_use]
    pub fn externals(&self) -> usize {
        self.rings.iter().map(|ring| ring.externals.len()).sum()
    }

    /// Appends an item; returns its cumulative service, the handle for [`Self::earliest_end`].
    /// The caller has advanced the rings to the present first.
    pub fn push(
        &mut self,
        ring: usize,
        work: Work,
        announce: Announce,
        payload: P,
        host: &mut impl Host<P>,
    ) -> u64 {
        let queue = &mut self.rings[ring];
        match work {
            Work::Service(service) => queue.pushed += service,
            Work::External => queue.externals.push_back(queue.pushed),
        }
        let cumulative = queue.pushed;
        queue.queue.push_back(Item {
            work,
            announce,
            cumulative,
            end: 0,
            payload,
        });
        self.announce(ring, host);
        cumulative
    }

    /// Runs everything up to `service` and reports what finished.
    pub fn advance(&mut self, service: u64, host: &mut impl Host<P>) {
        loop {
            self.start_heads(host);
            let Some(step) = self.next_finish() else {
                self.service = self.service.max(service);
                return;
            };
            if step > service {
                self.consume(service);
                return;
            }
            self.consume(step);
            self.finish_heads(host);
        }
    }

    /// The least service at which the item pushed with `cumulative` can have ended; exact for a ring that runs alone.
    #[must_use]
    pub fn earliest_end(&self, ring: usize, cumulative: u64) -> u64 {
        let ring = &self.rings[ring];
        match (self.sharing, ring.queue.front()) {
            (Sharing::Reserved, Some(head)) => head
                .end
                .max(self.service)
                .saturating_add(cumulative.saturating_sub(head.cumulative)),
            _ => self
                .service
                .saturating_add(cumulative.saturating_sub(ring.done)),
        }
    }

    /// The least service at which an external item can become the head of a ring, apart from those that are.
    #[must_use]
    pub fn earliest_external(&self) -> Option<u64> {
        (0..self.rings.len())
            .filter(|ring| !matches!(self.rings[*ring].head, Head::External { .. }))
            .filter_map(|ring| {
                self.rings[ring]
                    .externals
                    .front()
                    .map(|at| self.earliest_end(ring, *at))
            })
            .min()
    }

    /// The least service at which any running kernel can end.
    #[must_use]
    pub fn earliest_finish(&self) -> Option<u64> {
        self.next_finish()
    }

    /// External items at the heads of rings that nobody has taken.
    pub fn external_heads(&mut self) -> impl Iterator<Item = ExternalHead<'_, P>> {
        self.rings
            .iter_mut()
            .enumerate()
            .filter_map(|(ring, state)| match state.head {
                Head::External {
                    since,
                    taken: false,
                } => state.queue.front_mut().map(|item| ExternalHead {
                    ring,
                    since,
                    payload: &mut item.payload,
                }),
                _ => None,
            })
    }

    /// Marks the head as being executed, so that nobody else takes it.
    pub fn take_external(&mut self, ring: usize) {
        if let Head::External { taken, .. } = &mut self.rings[ring].head {
            *taken = true;
        }
    }

    /// Undoes [`Self::take_external`].
    pub fn untake_external(&mut self, ring: usize) -> Option<&mut P> {
        let state = &mut self.rings[ring];
        let Head::External { taken, .. } = &mut state.head else {
            return None;
        };
        *taken = false;
        state.queue.front_mut().map(|item| &mut item.payload)
    }

    /// Finishes a taken external head.
    pub fn complete_external(&mut self, ring: usize, host: &mut impl Host<P>) {
        if matches!(self.rings[ring].head, Head::External { .. }) {
            self.rings[ring].externals.pop_front();
            self.pop(ring, host);
        }
    }

    /// Takes all that is in a ring out whose head is external: none of it will finish. Nothing behind such a head is
    /// announced.
    pub fn abandon(&mut self, ring: usize) -> impl Iterator<Item = P> {
        let state = &mut self.rings[ring];
        debug_assert!(matches!(state.head, Head::External { .. }) && state.announced == 0);
        state.head = Head::Waiting;
        state.done = state.pushed;
        state.externals.clear();
        state.queue.drain(..).map(|item| item.payload)
    }

    fn start_heads(&mut self, host: &mut impl Host<P>) {
        // A marker that finishes can release the head of a ring already looked at.
        let mut changed = true;
        while changed {
            changed = false;
            for ring in 0..self.rings.len() {
                while self.rings[ring].head == Head::Waiting {
                    let service = self.service;
                    let Some(item) = self.rings[ring].queue.front_mut() else {
                        break;
                    };
                    if !host.may_start(&item.payload) {
                        break;
                    }
                    changed = true;
                    host.started(&mut item.payload, service);
                    match item.work {
                        Work::Service(0) => self.pop(ring, host),
                        Work::Service(remaining) => {
                            self.rings[ring].head = Head::Running { remaining };
                            self.announce(ring, host);
                        }
                        Work::External => {
                            self.rings[ring].head = Head::External {
                                since: self.service,
                                taken: false,
                            };
                        }
                    }
                }
            }
        }
    }

    /// The highest priority among the heads that can run, and how many have it.
    fn running(&self) -> (u8, u64) {
        let mut running = (0, 0);
        for ring in &self.rings {
            if matches!(ring.head, Head::Running { .. }) {
                if ring.priority > running.0 {
                    running = (ring.priority, 0);
                }
                running.1 += u64::from(ring.priority == running.0);
            }
        }
        running
    }

    /// Service at which the next running head ends.
    fn next_finish(&self) -> Option<u64> {
        let (priority, running) = self.running();
        let finish = |ring: &Ring<P>| match (ring.head, self.sharing) {
            (Head::Running { remaining }, Sharing::Equal) => (ring.priority == priority)
                .then_some(self.service.saturating_add(remaining * running)),
            (Head::Running { .. }, Sharing::Reserved) => {
                ring.queue.front().map(|item| item.end.max(self.service))
            }
            _ => None,
        };
        self.rings.iter().filter_map(finish).min()
    }

    /// Gives the running heads the service between the clock and `until`, which no head's end precedes.
    fn consume(&mut self, until: u64) {
        if self.sharing == Sharing::Reserved {
            self.service = self.service.max(until);
            return;
        }
        let (priority, running) = self.running();
        let running = running.max(1);
        // Whole ns per ring; the remainder stays on the clock.
        let each = until.saturating_sub(self.service) / running;
        self.service += each * running;
        for ring in &mut self.rings {
            if let Head::Running { remaining } = &mut ring.head
                && ring.priority == priority
            {
                *remaining -= each;
                ring.done += each;
                self.announced_work -= each;
            }
        }
    }

    fn finish_heads(&mut self, host: &mut impl Host<P>) {
        for ring in 0..self.rings.len() {
            let Head::Running { remaining } = self.rings[ring].head else {
                continue;
            };
            let finished = match self.sharing {
                Sharing::Equal => remaining == 0,
                Sharing::Reserved => self.rings[ring]
                    .queue
                    .front()
                    .is_some_and(|item| item.end <= self.service),
            };
            if finished {
                if self.sharing == Sharing::Reserved {
                    self.rings[ring].done += remaining;
                    self.announced_work -= remaining;
                }
                self.pop(ring, host);
            }
        }
    }

    fn pop(&mut self, ring: usize, host: &mut impl Host<P>) {
        let state = &mut self.rings[ring];
        state.head = Head::Waiting;
        state.announced = state.announced.saturating_sub(1);
        if let Some(item) = state.queue.pop_front() {
            host.finished(item.payload, self.service);
        }
        self.announce(ring, host);
    }

    /// Extends the announced part of a ring up to the next item that may be held up by the host.
    fn announce(&mut self, ring: usize, host: &mut impl Host<P>) {
        let state = &mut self.rings[ring];
        while let Some(item) = state.queue.get(state.announced) {
            let started = state.announced == 0 && state.head != Head::Waiting;
            if item.announce == Announce::AtStart && !started {
                return;
            }
            let Work::Service(service) = item.work else {
                return;
            };
            if self.sharing == Sharing::Reserved {
                let end = host.reserve(service);
                state.queue[state.announced].end = end;
            }
            self.announced_work += service;
            state.announced += 1;
        }
    }
}
