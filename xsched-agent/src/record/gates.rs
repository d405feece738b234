//! Gates, classes and work in flight of joined processes and their class
//! groups, as their pages say them from time to time.
//!
//! The pages are looked at, not told of: what comes and goes between two looks
//! is not seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::DeviceStatus;
use xsched_common::units::{Class, Nanos};
use xsched_host::pages::{self, ClientPages};
use xsched_host::process::{ProcessError, ProcessId};
use xsched_observe::Observer;

use super::writer::{Category, TraceWriter, Track, Value};

/// Clients that are looked at.
const MOST: usize = 256;

/// All joined clients of a recording, by process and number.
#[derive(Default)]
pub struct Gates {
    clients: BTreeMap<(u32, u64), Client>,
    /// Whether there were more.
    are_too_many: bool,
    /// Processes with pages that look like an agent's for them and are not.
    with_others: BTreeSet<u32>,
}

struct Client {
    pages: ClientPages,
    /// The process's.
    track: Track,
    /// Of a group: its class when it was first seen, which names its lines.
    group: Option<&'static str>,
    class: Option<State>,
    devices: BTreeMap<usize, Device>,
    is_gone: bool,
}

/// Something that has held since then.
struct State {
    line: Track,
    since: Nanos,
    name: String,
}

struct Device {
    gate: State,
    counter: Track,
    in_flight: Option<u32>,
}

impl State {
    /// What holds now; what held before is written once it has ended.
    fn becomes<W: Write>(
        &mut self,
        name: String,
        now: Nanos,
        category: Category,
        writer: &mut TraceWriter<W>,
    ) -> io::Result<bool> {
        if self.name == name {
            return Ok(false);
        }
        self.end(now, category, writer)?;
        (self.since, self.name) = (now, name);
        Ok(true)
    }

    fn end<W: Write>(
        &self,
        now: Nanos,
        category: Category,
        writer: &mut TraceWriter<W>,
    ) -> io::Result<()> {
        let to = now.max(self.since);
        writer.slice(self.line, self.since, to, &self.name, category, &[])
    }
}

fn gate_name(word: u32) -> String {
    match GateWord(word).mode() {
        GateMode::Open | GateMode::Watched => "open".to_owned(),
        GateMode::Capped(cap) => format!("capped {cap}"),
        GateMode::Closed => "closed".to_owned(),
    }
}

/// As users write it; what is none is the lowest.
fn class_of(pages: &ClientPages) -> &'static str {
    let raw = pages.control().class.load(Relaxed);
    let class = Class::ALL.into_iter().find(|class| *class as u32 == raw);
    class.unwrap_or(Class::Low).name()
}

impl Gates {
    /// Looks for clients of these processes, each with its start and line. A
    /// process can hold up whoever reads its memory map, which the observer
    /// survives. Returns those that are gone, or another's by now.
    pub fn find(
        &mut self,
        processes: impl Iterator<Item = (u32, Option<u64>, Track)>,
        observer: &mut Observer,
    ) -> Vec<u32> {
        let mut ended = Vec::new();
        for (pid, began, track) in processes {
            let read = move || (ProcessId::of(pid), pages::of_process(pid));
            // Who holds it up has no such lines.
            let Some((now, found)) = observer.read_of(pid, read) else {
                continue;
            };
            let is_gone = matches!(now, Err(ProcessError::Gone(_)));
            if is_gone || began.is_some_and(|began| now.is_ok_and(|now| now.start_time != began)) {
                ended.push(pid);
                continue;
            }
            // Not joined, or not to be read.
            let found = found.unwrap_or_default();
            if found.left_out > 0 && self.with_others.len() < MOST {
                self.with_others.insert(pid);
            }
            self.take(pid, track, found.clients);
        }
        ended
    }

    fn take(&mut self, pid: u32, track: Track, found: Vec<ClientPages>) {
        for (place, pages) in found.into_iter().enumerate() {
            let key = (pid, pages.client_id);
            if self.clients.contains_key(&key) {
                continue;
            }
            if self.clients.len() >= MOST {
                self.are_too_many = true;
                return;
            }
            let group = (place > 0).then(|| class_of(&pages));
            let client = Client {
                pages,
                track,
                group,
                class: None,
                devices: BTreeMap::new(),
                is_gone: false,
            };
            self.clients.insert(key, client);
        }
    }

    /// What is not in the trace, in words for the user.
    pub fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if self.are_too_many {
            limits.push(format!(
                "more than {MOST} clients of an agent: further ones have no lines of gates and classes"
            ));
        }
        let pids: Vec<String> = self
            .with_others
            .iter()
            .take(3)
            .map(u32::to_string)
            .collect();
        if !pids.is_empty() {
            limits.push(format!(
                "{} processes have pages that look like an agent's, and that neither root nor you made, that were \
                 made for another pid (if the agent is in another pid namespace, record in that one), or more than an \
                 agent gives (process {}): they have no lines of gates and classes",
                self.with_others.len(),
                pids.join(", ")
            ));
        }
        limits
    }

    /// Looks once.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn look<W: Write>(&mut self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        for client in self.clients.values_mut().filter(|client| !client.is_gone) {
            match client.pages.refresh() {
                Ok(()) => client.look(now, writer)?,
                Err(_) => client.is_gone = true,
            }
        }
        Ok(())
    }

    /// The program of a process has ended, and what it was as a client.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn ended<W: Write>(
        &mut self,
        pid: u32,
        at: Nanos,
        writer: &mut TraceWriter<W>,
    ) -> io::Result<()> {
        let of_process = (pid, 0)..=(pid, u64::MAX);
        let gone = self.clients.extract_if(of_process, |_, _| true);
        gone.map(|(_, client)| client)
            .try_for_each(|client| client.end(at, writer))
    }

    /// The recording has ended.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn end<W: Write>(&self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        let mut clients = self.clients.values();
        clients.try_for_each(|client| client.end(now, writer))
    }
}

impl Client {
    fn end<W: Write>(&self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        if let Some(class) = &self.class {
            class.end(now, Category::Class, writer)?;
        }
        for device in self.devices.values() {
            device.gate.end(now, Category::Gate, writer)?;
        }
        Ok(())
    }

    /// A line's name, with that of the group that it is of.
    fn named(&self, what: &str) -> String {
        match self.group {
            Some(class) => format!("{what} (group {class})"),
            None => what.to_owned(),
        }
    }

    fn look<W: Write>(&mut self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        let class = class_of(&self.pages).to_owned();
        match &mut self.class {
            Some(state) => {
                let before = state.name.clone();
                if state.becomes(class.clone(), now, Category::Class, writer)? {
                    let details = [("from", Value::Text(&before)), ("to", Value::Text(&class))];
                    writer.moment(state.line, now, "class change", Category::Class, &details)?;
                }
            }
            None => {
                let line = writer.line(Some(self.track), &self.named("class"))?;
                self.class = Some(State {
                    line,
                    since: now,
                    name: class,
                });
            }
        }
        let count = self.pages.status().devices().count();
        for index in 0..count {
            let status = &self.pages.status().devices[index];
            let in_flight = status.in_flight.load(Relaxed);
            let gate = gate_name(self.pages.control().devices[index].word.load(Relaxed));
            let device = match self.devices.entry(index) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => {
                    // One that it has never launched on says nothing.
                    if status.admitted.load(Relaxed) == 0 && gate == "open" {
                        continue;
                    }
                    let place = place(status, index);
                    let named = |what: &str| match self.group {
                        Some(class) => format!("{what} {place} (group {class})"),
                        None => format!("{what} {place}"),
                    };
                    new.insert(Device {
                        gate: State {
                            line: writer.line(Some(self.track), &named("gate"))?,
                            since: now,
                            name: gate.clone(),
                        },
                        counter: writer.counter(self.track, &named("in flight"))?,
                        in_flight: None,
                    })
                }
            };
            device.gate.becomes(gate, now, Category::Gate, writer)?;
            if device.in_flight != Some(in_flight) {
                device.in_flight = Some(in_flight);
                writer.count(device.counter, now, i64::from(in_flight))?;
            }
        }
        Ok(())
    }
}

/// A device's address, or its number in the process.
fn place(status: &DeviceStatus, index: usize) -> String {
    match status.pci() {
        Some(address) => address.to_string(),
        None => format!("device {index}"),
    }
}
