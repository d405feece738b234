//! Gates, classes and work in flight of joined processes and their class
//! groups, as their pages say them from time to time.
//!
//! The pages are looked at, not told of: what comes and goes between two looks
//! is not seen.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::{GateMode, GateWord};
use xsched_common::page::DeviceStatus;
use xsched_common::units::{Class, Nanos};
use xsched_host::pages::{self, ClientPages};
use xsched_observe::Observer;

use super::writer::{Category, TraceWriter, Track, Value};

/// Clients that are looked at.
const MOST: usize = 256;

/// All joined clients of a recording, by process and number.
#[derive(Default)]
pub struct Gates {
    clients: BTreeMap<(u32, u64), Client>,
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
    /// Looks for clients of these processes, each with its line. A process can
    /// hold up whoever reads its memory map, which the observer survives.
    pub fn find(&mut self, processes: impl Iterator<Item = (u32, Track)>, observer: &mut Observer) {
        for (pid, track) in processes {
            if self.clients.len() >= MOST {
                return;
            }
            // Not joined, gone, or not to be read: it has no such lines.
            let found = observer.read_of(pid, move || pages::of_process(pid));
            let found = found.and_then(Result::ok).unwrap_or_default();
            for (place, pages) in found.into_iter().enumerate() {
                let key = (pid, pages.client_id);
                if self.clients.contains_key(&key) {
                    continue;
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

    /// The recording has ended.
    ///
    /// # Errors
    /// The trace cannot be written.
    pub fn end<W: Write>(&mut self, now: Nanos, writer: &mut TraceWriter<W>) -> io::Result<()> {
        for client in self.clients.values() {
            if let Some(class) = &client.class {
                class.end(now, Category::Class, writer)?;
            }
            for device in client.devices.values() {
                device.gate.end(now, Category::Gate, writer)?;
            }
        }
        Ok(())
    }
}

impl Client {
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
