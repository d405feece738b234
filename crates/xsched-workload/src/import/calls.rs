//! The calls of each thread, from Perfetto's packets.

use std::collections::{BTreeMap, HashMap};

use prost::Message as _;
use xsched_common::platform::{Completion, EntryClass, Scope, entry_point};
use xsched_common::units::Nanos;

use super::ImportError;
use crate::perfetto::{EventType, Trace, TrackDescriptor, TrackEvent};

/// A track of a track of a track: a recording has two.
const DEEPEST: usize = 8;

/// What a wait waits for when that is no stream.
const EVERYTHING: &str = "all that it waits for";

/// A call of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// When it was entered, past the gate.
    pub from: Nanos,
    /// How long it stood at the gate before.
    pub at_gate: Nanos,
    /// What it does.
    pub doing: Doing,
}

/// What a call does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It enqueues work: a kernel, a graph, a copy, a memset.
    Launch {
        /// The stream's name in the recording.
        stream: String,
        /// The calling library.
        caller: String,
        /// When it returned, if that was recorded.
        to: Option<Nanos>,
    },
    /// It waits for a stream, or for everything.
    Wait {
        /// The stream's name in the recording.
        stream: Option<String>,
        /// When it returned.
        to: Nanos,
    },
    /// It waits for an event, nobody says which.
    WaitForEvent {
        /// When it returned.
        to: Nanos,
    },
}

/// A process of a recording.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub command: Vec<String>,
}

/// All calls.
#[derive(Debug, Default)]
pub struct Calls {
    /// By pid.
    pub processes: HashMap<u32, Process>,
    /// Names of threads, by pid and tid.
    pub names: HashMap<(u32, u32), String>,
    /// In the order of their times, by pid and tid.
    pub threads: BTreeMap<(u32, u32), Vec<Call>>,
}

/// An event with its texts.
struct Seen {
    at: Nanos,
    track: u64,
    kind: EventType,
    name: String,
    details: HashMap<String, Detail>,
}

enum Detail {
    Number(u64),
    Text(String),
}

impl Seen {
    fn text(&self, key: &str) -> Option<&str> {
        match self.details.get(key)? {
            Detail::Text(text) => Some(text),
            Detail::Number(_) => None,
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        match self.details.get(key)? {
            Detail::Number(number) => Some(*number),
            Detail::Text(_) => None,
        }
    }
}

impl Calls {
    /// Reads a recording. What is not known is left out.
    pub fn read(bytes: &[u8]) -> Result<Calls, ImportError> {
        let trace = Trace::decode(bytes)?;
        let (tracks, mut events) = packets(trace);
        // Stable: what begins and ends at one time keeps its order.
        events.sort_by_key(|event| event.at);
        let mut calls = Calls::default();
        for track in tracks.values() {
            calls.introduce(track);
        }
        let mut open: HashMap<u64, Vec<Seen>> = HashMap::new();
        let mut at_gate: HashMap<(u32, u32), Nanos> = HashMap::new();
        for event in events {
            match event.kind {
                EventType::SliceBegin => open.entry(event.track).or_default().push(event),
                EventType::SliceEnd => {
                    let begun = open.get_mut(&event.track).and_then(Vec::pop);
                    if let (Some(begun), Some(thread)) = (begun, thread_of(&tracks, event.track)) {
                        if begun.name == "gate wait" {
                            *at_gate.entry(thread).or_default() = event.at.since(begun.at);
                        } else if let Some(doing) = wait(&begun, event.at) {
                            let at_gate = at_gate.remove(&thread).unwrap_or_default();
                            let from = begun.at;
                            let call = Call {
                                from,
                                at_gate,
                                doing,
                            };
                            calls.threads.entry(thread).or_default().push(call);
                        } else if works(&begun) {
                            calls.returned(thread, begun.at, event.at);
                        }
                    }
                }
                EventType::Instant => {
                    let pid = process_of(&tracks, event.track);
                    let tid = event.number("tid").and_then(|tid| u32::try_from(tid).ok());
                    if let (Some(pid), Some(tid)) = (pid, tid)
                        && let Some(stream) = tracks.get(&event.track)
                        && let Some(doing) = launch(&event, stream.name())
                    {
                        let at_gate = at_gate.remove(&(pid, tid)).unwrap_or_default();
                        let from = event.at;
                        let call = Call {
                            from,
                            at_gate,
                            doing,
                        };
                        calls.threads.entry((pid, tid)).or_default().push(call);
                    }
                }
                EventType::Counter | EventType::Unspecified => {}
            }
        }
        // Waits come when they end.
        for calls in calls.threads.values_mut() {
            calls.sort_by_key(|call| call.from);
        }
        Ok(calls)
    }

    /// A launch of a thread, entered then, has returned.
    fn returned(&mut self, thread: (u32, u32), entered: Nanos, at: Nanos) {
        let calls = self.threads.get_mut(&thread);
        let launch = calls.and_then(|calls| calls.iter_mut().rfind(|call| call.from == entered));
        if let Some(Call {
            doing: Doing::Launch { to, .. },
            ..
        }) = launch
        {
            *to = Some(at);
        }
    }

    fn introduce(&mut self, track: &TrackDescriptor) {
        if let Some(process) = &track.process
            && let Ok(pid) = u32::try_from(process.pid())
        {
            let known = Process {
                name: process.process_name().to_owned(),
                command: process.cmdline.clone(),
            };
            self.processes.insert(pid, known);
        }
        if let Some(thread) = &track.thread
            && let (Ok(pid), Ok(tid)) = (u32::try_from(thread.pid()), u32::try_from(thread.tid()))
        {
            self.names
                .insert((pid, tid), thread.thread_name().to_owned());
        }
    }
}

type Tracks = HashMap<u64, TrackDescriptor>;

fn packets(trace: Trace) -> (Tracks, Vec<Seen>) {
    let mut tracks = Tracks::new();
    let mut events = Vec::new();
    let (mut names, mut keys, mut values) = (HashMap::new(), HashMap::new(), HashMap::new());
    for packet in trace.packet {
        if let Some(new) = packet.interned_data {
            for (known, new) in [
                (&mut names, new.event_names),
                (&mut keys, new.debug_annotation_names),
                (&mut values, new.debug_annotation_string_values),
            ] {
                known.extend(
                    new.into_iter()
                        .map(|text| (text.iid(), text.name().to_owned())),
                );
            }
        }
        if let Some(track) = packet.track_descriptor {
            tracks.insert(track.uuid(), track);
        }
        if let (Some(event), Some(at)) = (packet.track_event, packet.timestamp) {
            events.push(seen(&event, Nanos(at), &names, &keys, &values));
        }
    }
    (tracks, events)
}

type Texts = HashMap<u64, String>;

fn seen(event: &TrackEvent, at: Nanos, names: &Texts, keys: &Texts, values: &Texts) -> Seen {
    let details = event.debug_annotations.iter().filter_map(|detail| {
        let key = keys.get(&detail.name_iid())?.clone();
        let value = match (detail.string_value_iid, detail.uint_value) {
            (Some(text), _) => Detail::Text(values.get(&text)?.clone()),
            (None, number) => Detail::Number(number?),
        };
        Some((key, value))
    });
    Seen {
        at,
        track: event.track_uuid(),
        kind: event.kind(),
        name: names.get(&event.name_iid()).cloned().unwrap_or_default(),
        details: details.collect(),
    }
}

fn launch(event: &Seen, stream: &str) -> Option<Doing> {
    works(event).then(|| Doing::Launch {
        stream: stream.to_owned(),
        caller: event.text("caller").unwrap_or_default().to_owned(),
        to: None,
    })
}

/// Whether it enqueues work. An event has the kernel's name where that is
/// known, and then the function's beside it.
fn works(event: &Seen) -> bool {
    let function = event.text("function").unwrap_or(&event.name);
    entry_point(function).is_some_and(|(_, entry)| {
        matches!(
            entry.class,
            EntryClass::Launch | EntryClass::Memcpy | EntryClass::Memset
        ) && !entry.drains()
    })
}

fn wait(begun: &Seen, to: Nanos) -> Option<Doing> {
    // Of one that went on when the recording ended nobody knows the end.
    if begun.details.contains_key("unfinished") {
        return None;
    }
    if begun.text("function").is_some() {
        return None;
    }
    let (_, entry) = entry_point(&begun.name)?;
    match entry.completion {
        Completion::Return(Scope::Event(_) | Scope::Events(..), _) => {
            Some(Doing::WaitForEvent { to })
        }
        Completion::Return(..) => {
            let stream = begun.text("stream").filter(|stream| *stream != EVERYTHING);
            let stream = stream.map(str::to_owned);
            Some(Doing::Wait { stream, to })
        }
        _ => None,
    }
}

/// Tracks from this one upwards.
fn upwards(tracks: &Tracks, from: u64) -> impl Iterator<Item = &TrackDescriptor> {
    let parent = |track: &&TrackDescriptor| tracks.get(&track.parent_uuid?);
    std::iter::successors(tracks.get(&from), parent).take(DEEPEST)
}

fn process_of(tracks: &Tracks, track: u64) -> Option<u32> {
    let mut all = upwards(tracks, track);
    let process = all.find_map(|track| track.process.as_ref())?;
    u32::try_from(process.pid()).ok()
}

fn thread_of(tracks: &Tracks, track: u64) -> Option<(u32, u32)> {
    let thread = tracks.get(&track)?.thread.as_ref()?;
    let (pid, tid) = (thread.pid(), thread.tid());
    Some((u32::try_from(pid).ok()?, u32::try_from(tid).ok()?))
}
