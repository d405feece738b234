//! A thread of a workload.

use std::collections::VecDeque;
use std::ffi::CString;
use std::time::{Duration, Instant};

use xsched_workload::{Launch, Move, Player, Thread, Wait};

use super::hip::{Event, Kernel, Stream};

/// A shorter pause of the host is spent on the processor, as host code does;
/// a timer would be late.
const SPIN: Duration = Duration::from_micros(100);

/// Launches between two events of a thread that waits for some to be complete.
const MARK_EVERY: u64 = 64;

/// What came of it.
#[derive(Debug, Default)]
pub struct Done {
    /// Launches that were measured.
    pub launches: u64,
    /// Their device time.
    pub device_ns: u64,
    /// All launches, the warm-up's too.
    pub all_launches: u64,
    /// Their device time.
    pub all_device_ns: u64,
    /// Waits.
    pub waits: u64,
    /// When each measured request came, ns from the start.
    pub arrived: Vec<u64>,
    /// How long it took.
    pub took: Vec<u64>,
    /// Time that was measured.
    pub measured: Duration,
}

/// A thread that plays.
pub struct Playing<'a> {
    player: Player<&'a Thread>,
    kernel: &'a Kernel,
    streams: &'a [Stream],
    /// Streams that it has launched on.
    used: Vec<Stream>,
    random: hipsim_samples::Random,
    /// Events behind the launch of this number, oldest first.
    marks: VecDeque<(u64, Event)>,
    spare: Vec<Event>,
    is_marked: bool,
    last: Stream,
    done: Done,
}

impl<'a> Playing<'a> {
    pub fn new(
        thread: &'a Thread,
        kernel: &'a Kernel,
        streams: &'a [Stream],
        seed: u64,
    ) -> Playing<'a> {
        let waits_for_some = |step: &xsched_workload::Step| matches!(step, xsched_workload::Step::Wait(wait) if wait.ahead > 0);
        Playing {
            player: Player::new(thread),
            kernel,
            streams,
            used: Vec::new(),
            random: hipsim_samples::Random::new(seed),
            marks: VecDeque::new(),
            spare: Vec::new(),
            is_marked: thread.steps.iter().any(waits_for_some),
            last: Stream::DEFAULT,
            done: Done::default(),
        }
    }

    /// Plays until the steps or the time are over.
    pub fn run(
        mut self,
        start: Instant,
        warmup: Duration,
        duration: Duration,
    ) -> Result<Done, String> {
        let from = warmup.as_nanos() as u64;
        let end = from + duration.as_nanos() as u64;
        let now = || start.elapsed().as_nanos() as u64;
        loop {
            let time = now();
            if time >= end {
                break;
            }
            match self.player.next(time, || self.random.uniform()) {
                Move::Launch(launch) => {
                    self.launch(launch)?;
                    let returned = now();
                    self.player.returned(returned);
                    self.done.all_launches += 1;
                    self.done.all_device_ns += launch.ns;
                    if returned >= from {
                        self.done.launches += 1;
                        self.done.device_ns += launch.ns;
                    }
                }
                Move::Wait(wait) => {
                    self.wait(wait)?;
                    self.player.returned(now());
                    self.done.waits += 1;
                }
                Move::Compute(until) => pause(until, &now),
                Move::Idle(until) => {
                    let until = until.min(end);
                    std::thread::sleep(Duration::from_nanos(until.saturating_sub(now())));
                }
                Move::Served { arrived } if arrived >= from => {
                    self.done.arrived.push(arrived);
                    self.done.took.push(time - arrived);
                }
                Move::Served { .. } => {}
                Move::End => break,
            }
        }
        self.done.measured = Duration::from_nanos(now().saturating_sub(from));
        self.wait(Wait::default())?;
        Ok(self.done)
    }

    fn launch(&mut self, launch: Launch) -> Result<(), String> {
        let stream = self
            .streams
            .get(launch.stream as usize)
            .copied()
            .unwrap_or(Stream::DEFAULT);
        self.kernel.launch(launch.ns, stream, launch.caller)?;
        self.last = stream;
        if !self.used.contains(&stream) {
            self.used.push(stream);
        }
        let number = self.done.all_launches + 1;
        if self.is_marked && number.is_multiple_of(MARK_EVERY) {
            self.mark(number)?;
        }
        Ok(())
    }

    fn mark(&mut self, number: u64) -> Result<(), String> {
        if self.marks.back().is_some_and(|(last, _)| *last == number) {
            return Ok(());
        }
        let event = match self.spare.pop() {
            Some(event) => event,
            None => Event::created()?,
        };
        event.record(self.last)?;
        self.marks.push_back((number, event));
        Ok(())
    }

    fn wait(&mut self, wait: Wait) -> Result<(), String> {
        if wait.ahead > 0 {
            let launched = self.done.all_launches;
            self.mark(launched)?;
            let target = launched.saturating_sub(wait.ahead);
            let mut latest = None;
            while let Some((_, event)) = self.marks.pop_front_if(|(number, _)| *number <= target) {
                self.spare.extend(latest.replace(event));
            }
            if let Some(event) = latest {
                event.synchronize()?;
                self.spare.push(event);
            }
            return Ok(());
        }
        if let Some(stream) = wait.stream {
            let stream = self.streams.get(stream as usize).copied();
            return stream.unwrap_or(Stream::DEFAULT).synchronize();
        }
        self.used.iter().try_for_each(|stream| stream.synchronize())
    }
}

/// Until then: asleep, and the last of it on the processor.
fn pause(until: u64, now: &impl Fn() -> u64) {
    let left = Duration::from_nanos(until.saturating_sub(now()));
    if left > SPIN {
        std::thread::sleep(left - SPIN / 2);
    }
    while now() < until {
        std::hint::spin_loop();
    }
}

/// Gives the thread its name, by which rules know it.
pub fn rename(name: &str) {
    if name.is_empty() {
        return;
    }
    let short: String = name
        .chars()
        .filter(|c| c.is_ascii_graphic())
        .take(15)
        .collect();
    if let Ok(name) = CString::new(short) {
        let _ = rustix::thread::set_name(&name);
    }
}
