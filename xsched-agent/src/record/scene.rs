//! From records of calls to tracks: who called, on which stream, for how
//! long.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};

use xsched_common::bpf::{CallMoment, CallRecord};
use xsched_common::platform::ENTRY_POINTS;
use xsched_common::units::Nanos;
use xsched_host::process;
use xsched_host::text::printable;
use xsched_observe::{Caller, Observer, Returns};

use super::Summary;
use super::names::{Kernels, Room};
use super::process::KnownProcess;
use super::writer::{TraceWriter, Track};

/// A shim's own work and two probes take a few microseconds; what takes
/// longer has waited at the gate.
pub const GATE_WAIT: Nanos = Nanos::from_micros(20);

/// Arguments of a process that are shown, and bytes of all of them that are
/// read.
const MAX_ARGUMENTS: usize = 64;
const MAX_COMMAND_LINE: u64 = 16_384;

/// What a process says of itself when it is first seen.
#[derive(Clone, Debug, Default)]
pub struct Introduced {
    /// Its name, printable.
    pub name: String,
    /// Its arguments, printable.
    pub arguments: Vec<String>,
    /// When it began, clock ticks since boot; none if it cannot be asked.
    pub start_time: Option<u64>,
}

impl Introduced {
    /// Reads /proc/PID/cmdline, which waits for the process's memory map: not
    /// for a thread that others wait for.
    fn of(pid: u32) -> Introduced {
        let Ok(stat) = process::stat(pid) else {
            return Introduced::nameless("(gone too soon to be asked)");
        };
        let arguments = process::arguments_within(pid, MAX_COMMAND_LINE).unwrap_or_default();
        let arguments = arguments.iter().take(MAX_ARGUMENTS);
        Introduced {
            name: printable(&stat.comm),
            arguments: arguments
                .map(|argument| printable(&argument.to_string_lossy()))
                .collect(),
            start_time: Some(stat.start_time),
        }
    }

    fn nameless(why: &str) -> Introduced {
        Introduced {
            name: why.to_owned(),
            ..Introduced::default()
        }
    }
}

/// Who knows processes, and what is at an address of one.
pub trait Places {
    /// What a process says of itself.
    fn introduce(&mut self, pid: u32) -> Introduced;
    /// The library that an address belongs to.
    fn caller(&mut self, pid: u32, address: u64) -> Caller;
    /// What begins there.
    fn symbol(&mut self, pid: u32, address: u64) -> Option<String>;
}

impl Places for Observer {
    fn introduce(&mut self, pid: u32) -> Introduced {
        let read = self.read_of(pid, move || Introduced::of(pid));
        read.unwrap_or_else(|| Introduced::nameless("(not to be read)"))
    }

    fn caller(&mut self, pid: u32, address: u64) -> Caller {
        Observer::caller(self, pid, address)
    }

    fn symbol(&mut self, pid: u32, address: u64) -> Option<String> {
        Observer::symbol(self, pid, address)
    }
}

/// A program that has ended.
#[derive(Clone, Copy, Debug)]
struct Ended {
    at: Nanos,
    /// Whether that was known before the last records were read.
    is_settled: bool,
}

/// Everybody who was seen in a recording.
pub struct Scene {
    returns: Returns,
    processes: HashMap<u32, KnownProcess>,
    /// Names that were told before the program's first call.
    early: HashMap<u32, Kernels>,
    /// Programs of processes that have ended: records of what they did before
    /// may still come.
    ended: HashMap<u32, Ended>,
    room: Room,
}

impl Scene {
    /// Nobody yet. `returns` says whether the ends of waits are told of.
    pub fn new(returns: Returns) -> Scene {
        Scene {
            returns,
            processes: HashMap::new(),
            early: HashMap::new(),
            ended: HashMap::new(),
            room: Room::default(),
        }
    }

    /// Number, start and line of everybody whose program goes on.
    pub fn processes(&self) -> impl Iterator<Item = (u32, Option<u64>, Track)> {
        let known = self.processes.iter();
        let known = known.filter(|(pid, _)| !self.ended.contains_key(pid));
        known.map(|(pid, known)| (*pid, known.start_time, known.track))
    }

    /// What is not in the trace, in words for the user.
    pub fn limits(&self) -> Vec<String> {
        self.room.limits()
    }

    /// The program of a process has ended: by an exec, or the process itself
    /// has. What comes later is another's.
    pub fn ended(&mut self, pid: u32, at: Nanos) {
        if let Some(kernels) = self.early.remove(&pid) {
            self.room.forget_kernels(&kernels);
        }
        if self.processes.contains_key(&pid) {
            let is_settled = false;
            self.ended.entry(pid).or_insert(Ended { at, is_settled });
        }
    }

    /// All records were read: those that had ended before are forgotten.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn settle<W: Write>(&mut self, writer: &mut TraceWriter<W>) -> io::Result<()> {
        let settled: Vec<(u32, Ended)> =
            self.ended.extract_if(|_, ended| ended.is_settled).collect();
        for (pid, ended) in settled {
            self.forget(pid, ended.at, writer)?;
        }
        for ended in self.ended.values_mut() {
            ended.is_settled = true;
        }
        Ok(())
    }

    /// Forgets names that processes have told which are gone without a call.
    pub fn forget_early(&mut self, is_gone: impl Fn(u32) -> bool) {
        let room = &mut self.room;
        self.early.retain(|pid, kernels| {
            let gone = is_gone(*pid);
            if gone {
                room.forget_kernels(kernels);
            }
            !gone
        });
    }

    fn forget<W: Write>(
        &mut self,
        pid: u32,
        at: Nanos,
        writer: &mut TraceWriter<W>,
    ) -> io::Result<()> {
        match self.processes.remove(&pid) {
            Some(known) => known.end(at, &mut self.room, writer),
            None => Ok(()),
        }
    }

    /// A process has looked a kernel up by its name.
    pub fn name_kernel(&mut self, pid: u32, handle: u64, name: &str, summary: &mut Summary) {
        let name = printable(name).into();
        let known = self.processes.get_mut(&pid);
        // Of a program that has ended names were told before.
        let kernels = match known.filter(|_| !self.ended.contains_key(&pid)) {
            Some(known) => &mut known.kernels,
            None => self.early.entry(pid).or_default(),
        };
        kernels.insert(handle, Some(name), &mut self.room, summary);
    }

    /// Takes in a record. `places` finds out what is at an address of its
    /// process.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn take<W: Write>(
        &mut self,
        record: &CallRecord,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
        places: &mut impl Places,
    ) -> io::Result<()> {
        let (Some(entry), Some(moment)) = (
            ENTRY_POINTS.get(usize::from(record.api)),
            CallMoment::from_raw(record.moment),
        ) else {
            return Ok(());
        };
        let pid = record.tgid;
        if let Entry::Occupied(ended) = self.ended.entry(pid)
            && ended.get().at.0 <= record.time_ns
        {
            let ended = ended.remove();
            self.forget(pid, ended.at, writer)?;
        }
        let process = match self.processes.entry(pid) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                summary.processes += 1;
                new.insert(KnownProcess::begin(
                    pid,
                    places.introduce(pid),
                    entry.platform,
                    self.returns,
                    self.early.remove(&pid).unwrap_or_default(),
                    writer,
                )?)
            }
        };
        match moment {
            CallMoment::Entry => {
                process.entered(record, entry, writer, summary, (places, &mut self.room))
            }
            CallMoment::Return => process.returned(record, entry, writer, summary, &mut self.room),
        }
    }

    /// The recording has ended: waits that go on are shown up to `now`.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn end<W: Write>(&mut self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        for (pid, known) in self.processes.drain() {
            let at = self.ended.remove(&pid).map_or(now, |ended| ended.at);
            known.end(at, &mut self.room, writer)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
