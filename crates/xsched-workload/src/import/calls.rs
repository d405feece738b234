//! The calls of each thread, from Perfetto's packets.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use xsched_common::platform::{Completion, EntryClass, Scope, entry_point};
use xsched_common::units::Nanos;

use super::ImportError;
use super::packets::{Recording, Seen, Tracks};
use crate::perfetto::{EventType, TrackDescriptor};

/// A track of a track of a track: a recording has two.
const DEEPEST: usize = 8;

/// Threads that call: as many as a workload may have.
const MOST_THREADS: usize = 64 * 64;

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
        stream: Arc<str>,
        /// The calling library.
        caller: Arc<str>,
        /// When it returned, if that was recorded.
        to: Option<Nanos>,
    },
    /// It waits for a stream, or for everything.
    Wait {
        /// The stream's name in the recording.
        stream: Option<Arc<str>>,
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
    pub threads: BTreeMap<ThreadKey, Vec<Call>>,
}

/// Process and thread.
type ThreadKey = (u32, u32);

impl Calls {
    /// Reads a recording. What is not known is left out.
    pub fn read(bytes: &[u8]) -> Result<Calls, ImportError> {
        let Recording { tracks, mut events } = Recording::read(bytes)?;
        // Stable: what begins and ends at one time keeps its order.
        events.sort_by_key(|event| event.at);
        let mut calls = Calls::default();
        for track in tracks.values() {
            calls.introduce(track);
        }
        let streams = streams(&tracks);
        let mut open: HashMap<u64, Vec<Seen>> = HashMap::new();
        let mut at_gate: HashMap<ThreadKey, Nanos> = HashMap::new();
        // Launches that may still return: where they are among their thread's.
        let mut entered: HashMap<(ThreadKey, Nanos), usize> = HashMap::new();
        for event in events {
            match event.kind {
                EventType::SliceBegin => open.entry(event.track).or_default().push(event),
                EventType::SliceEnd => {
                    let begun = open.get_mut(&event.track).and_then(Vec::pop);
                    let (Some(begun), Some(thread)) = (begun, thread_of(&tracks, event.track))
                    else {
                        continue;
                    };
                    if &*begun.name == "gate wait" {
                        *at_gate.entry(thread).or_default() = event.at.since(begun.at);
                    } else if let Some(doing) = wait(&begun, event.at) {
                        let at_gate = at_gate.remove(&thread).unwrap_or_default();
                        calls.push(thread, begun.at, at_gate, doing)?;
                    } else if works(&begun)
                        && let Some(at) = entered.remove(&(thread, begun.at))
                    {
                        calls.returned(thread, at, event.at);
                    }
                }
                EventType::Instant => {
                    let pid = process_of(&tracks, event.track);
                    let tid = event.tid.and_then(|tid| u32::try_from(tid).ok());
                    if let (Some(pid), Some(tid)) = (pid, tid)
                        && let Some(stream) = streams.get(&event.track)
                        && let Some(doing) = launch(&event, stream)
                    {
                        let thread = (pid, tid);
                        let at_gate = at_gate.remove(&thread).unwrap_or_default();
                        let at = calls.push(thread, event.at, at_gate, doing)?;
                        entered.insert((thread, event.at), at);
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

    /// Its place among the thread's, as they have come.
    fn push(
        &mut self,
        thread: ThreadKey,
        from: Nanos,
        at_gate: Nanos,
        doing: Doing,
    ) -> Result<usize, ImportError> {
        let are_full = self.threads.len() >= MOST_THREADS;
        let calls = match self.threads.entry(thread) {
            Entry::Vacant(_) if are_full => {
                return Err(ImportError::TooMuch(format!("{MOST_THREADS} threads")));
            }
            entry => entry.or_default(),
        };
        calls.push(Call {
            from,
            at_gate,
            doing,
        });
        Ok(calls.len() - 1)
    }

    /// The launch of a thread at this place has returned.
    fn returned(&mut self, thread: ThreadKey, place: usize, at: Nanos) {
        let call = self
            .threads
            .get_mut(&thread)
            .and_then(|of| of.get_mut(place));
        if let Some(Call {
            doing: Doing::Launch { to, .. },
            ..
        }) = call
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

/// Names of tracks, each once.
fn streams(tracks: &Tracks) -> HashMap<u64, Arc<str>> {
    let name = |(uuid, track): (&u64, &TrackDescriptor)| (*uuid, Arc::from(track.name()));
    tracks.iter().map(name).collect()
}

fn launch(event: &Seen, stream: &Arc<str>) -> Option<Doing> {
    works(event).then(|| Doing::Launch {
        stream: Arc::clone(stream),
        caller: event.caller.clone().unwrap_or_default(),
        to: None,
    })
}

/// Whether it enqueues work. An event has the kernel's name where that is
/// known, and then the function's beside it.
fn works(event: &Seen) -> bool {
    let function = event.function.as_ref().unwrap_or(&event.name);
    entry_point(function).is_some_and(|(_, entry)| {
        matches!(
            entry.class,
            EntryClass::Launch | EntryClass::Memcpy | EntryClass::Memset
        ) && !entry.drains()
    })
}

fn wait(begun: &Seen, to: Nanos) -> Option<Doing> {
    // Of one that went on when the recording ended nobody knows the end.
    if begun.is_unfinished || begun.function.is_some() {
        return None;
    }
    let (_, entry) = entry_point(&begun.name)?;
    match entry.completion {
        Completion::Return(Scope::Event(_) | Scope::Events(..), _) => {
            Some(Doing::WaitForEvent { to })
        }
        Completion::Return(..) => {
            let stream = begun
                .stream
                .as_ref()
                .filter(|stream| &***stream != EVERYTHING);
            let stream = stream.cloned();
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

#[cfg(test)]
mod tests {
    use super::super::fixture::Writer;
    use super::*;

    /// Launches of one thread, all without returns that are told.
    fn launches(count: u64) -> Writer {
        let mut writer = Writer::with_a_thread();
        for at in 0..count {
            writer.launch(at, 0);
        }
        writer
    }

    /// A backwards search for each return would take hours here.
    #[test]
    fn returns_find_their_launches_at_once() {
        let mut writer = launches(100_000);
        for at in 0..100_000 {
            writer.returned(at, 200_000 + at);
        }
        let began = std::time::Instant::now();
        let calls = Calls::read(&writer.bytes).expect("a recording");
        assert!(began.elapsed() < std::time::Duration::from_secs(20));
        let [of] = calls.threads.values().collect::<Vec<_>>()[..] else {
            panic!("one thread");
        };
        let returned = |call: &&Call| matches!(call.doing, Doing::Launch { to: Some(_), .. });
        assert_eq!(of.iter().filter(returned).count(), 100_000);
    }

    #[test]
    fn threads_have_a_limit() {
        let mut writer = Writer::with_a_thread();
        for tid in 0..=MOST_THREADS as u64 {
            writer.launch(1, tid);
        }
        let refused = Calls::read(&writer.bytes).expect_err("too many");
        assert!(refused.to_string().contains("threads"), "{refused}");
    }
}
