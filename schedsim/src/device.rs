//! hipsim's device (its first discipline) in virtual time: processor sharing
//! among the processes that have work, one ring each.

use simdevice::model::rings::{Announce, Host, Rings, Sharing, Work};
use simdevice::model::share::{Level, MAX_PROCESSES, Snapshot};
use xsched_common::units::Nanos;

/// A device that processes are added to.
#[derive(Default)]
pub struct Device {
    clock: Snapshot,
    processes: Vec<Rings<()>>,
    finished: Vec<u64>,
    /// Service given, ns, by process.
    served: Vec<u64>,
}

/// Counts what finishes.
struct Finished(u64);

impl Host<()> for Finished {
    fn may_start(&self, (): &()) -> bool {
        true
    }
    fn finished(&mut self, (): (), _: u64) {
        self.0 += 1;
    }
    fn reserve(&mut self, _: u64) -> u64 {
        0
    }
}

impl Device {
    /// Attaches a process; its number.
    ///
    /// # Panics
    /// The simulator has room for 64.
    pub fn attach(&mut self) -> usize {
        assert!(self.processes.len() < MAX_PROCESSES, "the device is full");
        self.processes.push(Rings::new(Sharing::Equal));
        self.finished.push(0);
        self.served.push(0);
        self.processes.len() - 1
    }

    /// Runs everything up to `now`.
    pub fn advance(&mut self, now: Nanos) {
        let rings = &self.processes;
        self.clock = self
            .clock
            .advance(now.0, |process| rings[process].announced_end());
        for (process, rings) in self.processes.iter_mut().enumerate() {
            let work = rings.announced_work();
            let mut done = Finished(0);
            rings.advance(self.clock.service[Level::Normal as usize], &mut done);
            self.finished[process] += done.0;
            self.served[process] += work - rings.announced_work();
        }
    }

    /// A kernel of this length for a process; the caller has advanced to the
    /// present.
    pub fn launch(&mut self, process: usize, length: Nanos) {
        let mut done = Finished(0);
        self.processes[process].push(
            0,
            Work::Service(length.0.max(1)),
            Announce::AtPush,
            (),
            &mut done,
        );
        // Starts it, if it is the first: the next end is that of what runs.
        self.processes[process].advance(self.clock.service[Level::Normal as usize], &mut done);
        self.clock = self.clock.with(process, Level::Normal);
    }

    /// When the next kernel ends, if none comes before.
    pub fn next_end(&self) -> Option<Nanos> {
        let rings = &self.processes;
        rings
            .iter()
            .filter_map(|process| process.earliest_finish())
            .map(|service| {
                Nanos(self.clock.time_at(Level::Normal, service, |process| {
                    rings[process].announced_end()
                }))
            })
            .min()
    }

    /// Kernels of a process that have ended.
    pub fn finished(&self, process: usize) -> u64 {
        self.finished[process]
    }

    /// Device time that a process has had.
    pub fn served(&self, process: usize) -> Nanos {
        Nanos(self.served[process])
    }

    /// Device time that anybody has had.
    pub fn busy(&self) -> Nanos {
        Nanos(self.served.iter().sum())
    }
}
