//! Looks after the control thread from outside, and after the agent's end.
//!
//! Clients run free by themselves 250 ms after the last heartbeat. Should the
//! control thread stand still for longer, the watchdog opens all gates, so
//! that nobody depends on that, and sends it a signal, which ends whatever
//! wait in the kernel can be ended. If it goes on, it decides anew; if not,
//! the agent ends, because the state of every client is that thread's own:
//! its service manager starts another, and clients join that.
//!
//! A control thread that is ready to run and gets no processor lives: on a
//! machine full of busy programs the watchdog, which needs next to no time,
//! gives the heartbeat in its place, for some seconds. Clients would otherwise
//! run free and join again, over and over. An agent that is dead, stopped or
//! frozen has no watchdog either.
//!
//! Time is counted in looks of its own, not by a clock: an agent that was
//! stopped, frozen or suspended as a whole has not hung.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;
use xsched_policy::ClientId;

use super::clients::ClientShared;
use super::{RosterEvent, Stats, device, scheduling};

/// Between two looks.
const TICK: Duration = Duration::from_millis(50);

/// Looks without a heartbeat, after which gates open.
const STANDS_STILL: u32 = 20;

/// Looks without a heartbeat, after which the agent ends.
const HANGS: u32 = 40;

/// Looks after the order to stop, after which the agent ends in any order.
const OVERDUE: u32 = 60;

/// Looks in a row at which a thread may want for a processor.
const STARVES: u32 = 100;

/// A sign of life of a thread.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
    thread: AtomicI32,
}

impl Pulse {
    /// By the thread that lives.
    pub fn beat(&self) {
        self.thread
            .store(rustix::thread::gettid().as_raw_nonzero().get(), Relaxed);
        self.beats.fetch_add(1, Release);
    }

    /// The thread, once it has given one.
    pub fn thread(&self) -> Option<u32> {
        let thread = u32::try_from(self.thread.load(Relaxed)).ok()?;
        (thread != 0).then_some(thread)
    }

    /// How often it was given.
    pub fn beats(&self) -> u64 {
        self.beats.load(Relaxed)
    }
}

/// Why the agent ends out of turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ending {
    /// See the module.
    #[error(
        "the control thread hangs: all gates are open and the agent ends, so that it can be started \
         again; please report this, with what `cat /proc/PID/task/*/stack` says if it happens again"
    )]
    Hangs,
    /// It was told to stop and could not in good order.
    #[error(
        "a thread of the agent does not stop: all gates are open and the agent ends without it"
    )]
    DoesNotStop,
}

/// What the watchdog is to look at.
pub struct Charge {
    /// Threads of which nothing depends on their beating in time: they are
    /// only woken up if they stand still in a system call.
    pub others: Vec<Arc<Pulse>>,
    /// Set once the agent is told to stop.
    pub stop_asked: Arc<AtomicBool>,
    /// Ends the process.
    pub end: Box<dyn FnOnce(Ending) + Send>,
}

impl Default for Charge {
    /// The control thread alone, which nobody ends.
    fn default() -> Charge {
        Charge {
            others: Vec::new(),
            stop_asked: Arc::default(),
            end: Box::new(|_| ()),
        }
    }
}

/// A running watchdog. Dropped with the control thread, whose heart then
/// stands still for a reason; the agent's end is still looked after.
pub(super) struct Watchdog {
    news: Sender<RosterEvent>,
    off_duty: Arc<AtomicBool>,
}

impl Watchdog {
    pub fn start(stats: Arc<Stats>, charge: Charge) -> io::Result<Watchdog> {
        listen_to_nudges()?;
        let (news, heard) = channel();
        let off_duty = Arc::new(AtomicBool::new(false));
        let mut watch = Watch {
            stats,
            clients: HashMap::new(),
            charge,
            off_duty: off_duty.clone(),
            heart: Standing::default(),
            starving: Starving::default(),
            others: Vec::new(),
            stopping: 0,
        };
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                scheduling::prefer();
                watch.keep(&heard);
            })?;
        Ok(Watchdog { news, off_duty })
    }

    /// Tells it of clients, from any thread; never waits.
    pub fn feed(&self) -> impl Fn(&RosterEvent) + Send + 'static {
        let news = self.news.clone();
        move |event| {
            if let RosterEvent::Joined(_) | RosterEvent::Left(_) = event {
                // Gone only with the process.
                let _ = news.send(event.clone());
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.off_duty.store(true, Relaxed);
    }
}

/// How often in a row a thread was found without a new beat.
#[derive(Default)]
struct Standing {
    beats: u64,
    looks: u32,
}

impl Standing {
    fn look(&mut self, beats: u64) -> u32 {
        let stands = beats == self.beats && beats > 0;
        self.beats = beats;
        self.looks = match stands {
            true => self.looks.saturating_add(1),
            false => 0,
        };
        self.looks
    }
}

/// Whether the control thread is ready to run and gets no processor.
#[derive(Default)]
struct Starving {
    /// How long it had run at the last look.
    ran: Option<u64>,
    /// Looks in a row.
    looks: u32,
}

impl Starving {
    /// Once a look without a new beat. One that runs without a beat hangs in a
    /// loop, and one that is not ready to run waits in the kernel.
    fn look(&mut self, pulse: &Pulse) -> bool {
        let state = pulse.thread().and_then(run_state);
        let starves = match (state, self.ran) {
            (Some(now), Some(before)) => {
                let ran = now.ran_ns.saturating_sub(before);
                now.ready && u128::from(ran) < TICK.as_nanos() / 2
            }
            _ => false,
        };
        self.ran = state.map(|state| state.ran_ns);
        self.looks = match starves {
            true => self.looks.saturating_add(1),
            false => 0,
        };
        starves && self.looks <= STARVES
    }
}

/// What the kernel says of a thread of this process.
#[derive(Clone, Copy)]
struct RunState {
    /// Runs, or waits for a processor.
    ready: bool,
    ran_ns: u64,
}

fn run_state(tid: u32) -> Option<RunState> {
    let read = |file| std::fs::read_to_string(format!("/proc/self/task/{tid}/{file}")).ok();
    let (stat, times) = (read("stat")?, read("schedstat")?);
    // The name before it may hold anything.
    let state = stat.rsplit_once(')')?.1.split_ascii_whitespace().next()?;
    Some(RunState {
        ready: state == "R",
        ran_ns: times.split_ascii_whitespace().next()?.parse().ok()?,
    })
}

struct Watch {
    stats: Arc<Stats>,
    /// Not kept alive: unmapping a page is not this thread's work.
    clients: HashMap<ClientId, Weak<ClientShared>>,
    charge: Charge,
    off_duty: Arc<AtomicBool>,
    heart: Standing,
    starving: Starving,
    others: Vec<Standing>,
    /// Looks since the order to stop.
    stopping: u32,
}

impl Watch {
    fn keep(&mut self, heard: &Receiver<RosterEvent>) {
        let mut next = Instant::now() + TICK;
        loop {
            match heard.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(RosterEvent::Joined(client)) => {
                    self.clients.insert(client.id, Arc::downgrade(&client));
                }
                Ok(RosterEvent::Left(id)) => {
                    self.clients.remove(&id);
                }
                Ok(RosterEvent::Shared(..) | RosterEvent::Target(..))
                | Err(RecvTimeoutError::Timeout) => {}
                // The control thread is gone; the agent's end is not.
                Err(RecvTimeoutError::Disconnected) => {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                }
            }
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + TICK;
            if let Some(ending) = self.look() {
                // A control thread that is well would close them again.
                self.stats.ended.store(true, Release);
                nudge(self.stats.beats.thread.load(Relaxed));
                thread::sleep(TICK);
                self.open_all();
                return (std::mem::take(&mut self.charge).end)(ending);
            }
        }
    }

    fn look(&mut self) -> Option<Ending> {
        if self.charge.stop_asked.load(Relaxed) {
            self.stopping += 1;
            if self.stopping >= OVERDUE {
                return Some(Ending::DoesNotStop);
            }
        }
        self.others
            .resize_with(self.charge.others.len(), Standing::default);
        for (pulse, standing) in self.charge.others.iter().zip(&mut self.others) {
            if standing.look(pulse.beats()).is_multiple_of(STANDS_STILL) && standing.looks > 0 {
                nudge(pulse.thread.load(Relaxed));
            }
        }
        if self.off_duty.load(Relaxed) {
            return None;
        }
        if self.heart.beats == self.stats.beats.beats() && self.starving.look(&self.stats.beats) {
            self.beat_for_it();
            return None;
        }
        let before = self.heart.looks;
        match self.heart.look(self.stats.beats.beats()) {
            0 if before >= STANDS_STILL => {
                warn!(
                    "the control thread goes on: it stood still for {:.1} s",
                    (TICK * before).as_secs_f64()
                );
                None
            }
            STANDS_STILL => {
                warn!("the control thread stands still: all gates open");
                self.open_all();
                nudge(self.stats.beats.thread.load(Relaxed));
                None
            }
            HANGS => Some(Ending::Hangs),
            _ => None,
        }
    }

    /// Clients' leases go on.
    fn beat_for_it(&self) {
        for client in self.clients.values().filter_map(Weak::upgrade) {
            client.control.heartbeat.fetch_add(1, Relaxed);
        }
    }

    /// The control thread decides anew if it ever goes on.
    fn open_all(&self) {
        for client in self.clients.values().filter_map(Weak::upgrade) {
            device::open_all(&client.control);
        }
        self.stats.opened.store(true, Release);
    }
}

/// The signal that ends waits. By default it is ignored, and nobody else in
/// this process uses it.
const NUDGE: libc::c_int = libc::SIGURG;

extern "C" fn nothing(_: libc::c_int) {}

fn listen_to_nudges() -> io::Result<()> {
    // SAFETY: zero is a valid sigaction; the handler does nothing. Without
    // SA_RESTART a system call that waits returns.
    let rc = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as libc::sighandler_t;
        libc::sigaction(NUDGE, &raw const action, std::ptr::null_mut())
    };
    match rc {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn nudge(thread: i32) {
    if thread > 0 {
        // SAFETY: no memory is passed; a thread that is gone is an error.
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, NUDGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::newcomers::Newcomer;
    use xsched_common::gate::{GateMode, GateWord};
    use xsched_host::process::ProcessId;

    /// A watched heart, one client behind a closed gate, and how it ends.
    struct World {
        stats: Arc<Stats>,
        watchdog: Watchdog,
        client: crate::control::clients::Client,
        stop: Arc<AtomicBool>,
        ended: Receiver<Ending>,
    }

    impl World {
        fn new(others: Vec<Arc<Pulse>>) -> World {
            let stats = Arc::new(Stats::default());
            let (tell, ended) = channel();
            let stop = Arc::new(AtomicBool::new(false));
            let charge = Charge {
                others,
                stop_asked: stop.clone(),
                end: Box::new(move |ending| tell.send(ending).expect("awaited")),
            };
            let watchdog = Watchdog::start(stats.clone(), charge).expect("starts");
            let process = ProcessId {
                pid: 1,
                start_time: 1,
            };
            let (client, _) = Newcomer::settled(ClientId(1), process).expect("memfds");
            let closed = GateWord::new(GateMode::Closed, 1);
            client.shared.control.devices[0]
                .word
                .store(closed.0, Relaxed);
            watchdog.feed()(&RosterEvent::Joined(client.shared.clone()));
            World {
                stats,
                watchdog,
                client,
                stop,
                ended,
            }
        }

        fn mode(&self) -> GateMode {
            GateWord(self.client.shared.control.devices[0].word.load(Relaxed)).mode()
        }

        fn beat_for(&self, time: Duration) {
            let end = Instant::now() + time;
            while Instant::now() < end {
                self.stats.beats.beat();
                thread::sleep(Duration::from_millis(20));
            }
        }
    }

    #[test]
    fn a_heart_that_stands_still_opens_gates_and_then_ends_the_agent() {
        let world = World::new(Vec::new());
        world.beat_for(TICK * (HANGS + 5));
        assert_eq!(world.mode(), GateMode::Closed, "it beats");
        assert!(world.ended.try_recv().is_err());
        let still = Instant::now();
        while world.mode() == GateMode::Closed {
            assert!(still.elapsed() < Duration::from_secs(10), "it opens");
            thread::sleep(Duration::from_millis(5));
        }
        let opened = still.elapsed();
        assert!(opened >= TICK * (STANDS_STILL - 1), "{opened:?}");
        assert!(world.stats.opened.load(Relaxed), "it will decide anew");
        let ended = world.ended.recv_timeout(Duration::from_secs(10));
        assert_eq!(ended, Ok(Ending::Hangs));
        assert!(still.elapsed() >= TICK * (HANGS - 1));
    }

    #[test]
    fn the_order_to_stop_has_an_end() {
        let world = World::new(Vec::new());
        world.stop.store(true, Relaxed);
        drop(world.watchdog);
        let ended = world.ended.recv_timeout(Duration::from_secs(30));
        assert_eq!(ended, Ok(Ending::DoesNotStop));
    }

    /// As one whose user's socket lingers.
    #[test]
    fn a_thread_that_waits_in_the_kernel_is_woken_up() {
        let pulse = Arc::new(Pulse::default());
        let _world = World::new(vec![pulse.clone()]);
        let waits = thread::spawn(move || {
            pulse.beat();
            let (quiet, _keep) = std::io::pipe().expect("a pipe");
            let mut byte = [0; 1];
            rustix::io::read(quiet, &mut byte)
        });
        assert_eq!(waits.join().expect("ends"), Err(rustix::io::Errno::INTR));
    }
}
