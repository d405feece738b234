//! One process in a recording: its lines, and what is remembered of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, Write};
use std::sync::Arc;

use xsched_common::bpf::{CallRecord, CallRoute};
use xsched_common::platform::{ArgumentAt, ENTRY_POINTS, EntryPoint, Platform};
use xsched_common::units::{Nanos, StreamClass};
use xsched_host::process;
use xsched_host::text::printable;
use xsched_observe::{ObjectKind, Returns, effective_stream};

use super::Summary;
use super::names::{Kernels, Room};
use super::scene::{GATE_WAIT, Introduced, Places};
use super::threads::{Thread, Wait};
use super::writer::{Category, TraceWriter, Track, Value};

/// Streams with a line of their own, per process; further ones share one. A
/// program can make up handles without end.
const MAX_STREAMS: usize = 1_024;

/// What of a call is shown with it.
#[derive(Clone, Debug)]
struct Call {
    /// The kernel, else the function.
    name: Arc<str>,
    caller: Arc<str>,
    stream: String,
    route: &'static str,
}

struct KnownThread {
    track: Track,
    bursts: Option<Track>,
    thread: Thread<Call>,
}

/// A program that runs in a process: another one begins with an exec, or when
/// another process has its number.
pub struct KnownProcess {
    returns: Returns,
    pub track: Track,
    /// Clock ticks since boot, if the process could be asked.
    pub start_time: Option<u64>,
    threads: HashMap<u32, KnownThread>,
    streams: HashMap<u64, Track>,
    others: Option<Track>,
    callers: HashMap<u64, (Arc<str>, ObjectKind)>,
    pub kernels: Kernels,
}

impl KnownProcess {
    /// One that is seen for the first time. `kernels` are those that it has
    /// looked up before.
    pub fn begin<W: Write>(
        pid: u32,
        introduced: Introduced,
        platform: Platform,
        returns: Returns,
        kernels: Kernels,
        writer: &mut TraceWriter<W>,
    ) -> io::Result<KnownProcess> {
        let Introduced {
            name,
            arguments,
            start_time,
        } = introduced;
        Ok(KnownProcess {
            returns,
            track: writer.process(pid, &name, platform.name(), arguments)?,
            start_time,
            threads: HashMap::new(),
            streams: HashMap::new(),
            others: None,
            callers: HashMap::new(),
            kernels,
        })
    }

    /// It ends: waits that go on are shown up to `now`.
    pub fn end<W: Write>(
        mut self,
        now: Nanos,
        room: &mut Room,
        writer: &mut TraceWriter<W>,
    ) -> io::Result<()> {
        for known in self.threads.values_mut() {
            // Inner ones end no later than outer ones.
            let waits = known.thread.waiting().into_iter().rev();
            for wait in waits.filter(|wait| ENTRY_POINTS[usize::from(wait.api)].drains()) {
                let name = ENTRY_POINTS[usize::from(wait.api)].symbol;
                let details = [
                    ("caller", Value::Text(&wait.call.caller)),
                    ("unfinished", Value::Text("yes")),
                ];
                let to = now.max(wait.from);
                writer.slice(known.track, wait.from, to, name, Category::Wait, &details)?;
            }
        }
        room.forget_callers(self.callers.len());
        room.forget_threads(self.threads.len());
        room.forget_kernels(&self.kernels);
        Ok(())
    }

    /// It has entered a call.
    pub fn entered<W: Write>(
        &mut self,
        record: &CallRecord,
        entry: &'static EntryPoint,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
        (places, room): (&mut impl Places, &mut Room),
    ) -> io::Result<()> {
        let (caller, kind) = self.caller(record, places, room);
        let at = Nanos(record.time_ns);
        let drains = entry.drains();
        if kind == ObjectKind::Runtime && !drains {
            // The inner half of a call that is shown already.
            summary.nested += 1;
            return Ok(());
        }
        let class = effective_stream(entry, StreamClass::of_handle(record.stream));
        let through = kind == ObjectKind::Shim || record.route == CallRoute::Shim as u8;
        let route = match through {
            true => "through the shim",
            false => "direct",
        };
        let known = self.thread(record, writer, summary, room)?;
        let track = known.map(|known| known.track);
        let waited = Nanos(record.since_shim_ns);
        if waited >= GATE_WAIT {
            summary.gate_waits += 1;
            let entered = Nanos(record.time_ns.saturating_sub(waited.0));
            let details = [("before", Value::Text(entry.symbol))];
            if let Some(track) = track {
                writer.slice(track, entered, at, "gate wait", Category::Gate, &details)?;
            }
        }
        if drains {
            let Some(track) = track else {
                return Ok(());
            };
            let stream = match entry.stream_at {
                ArgumentAt::Nowhere => "all that it waits for".to_owned(),
                _ => stream_name(record, class),
            };
            if self.returns == Returns::Leave {
                // When it ends nobody tells.
                let details = [
                    ("caller", Value::Text(&caller)),
                    ("stream", Value::Text(&stream)),
                    ("route", Value::Text(route)),
                ];
                return writer.moment(track, at, entry.symbol, Category::Wait, &details);
            }
            let call = Call {
                name: entry.symbol.into(),
                caller,
                stream,
                route,
            };
            if let Some(known) = self.threads.get_mut(&record.tid) {
                known.thread.entered(record.api, at, call);
            }
            return Ok(());
        }
        let kernel = match entry.is_launch() {
            true => self.kernel(record, summary, places, room),
            false => None,
        };
        let name = kernel.clone().unwrap_or_else(|| entry.symbol.into());
        let category = match entry.is_launch() {
            true => Category::Launch,
            false => Category::Copy,
        };
        if entry.is_launch() {
            summary.launches += 1;
            let call = Call {
                name: Arc::clone(&name),
                caller: Arc::clone(&caller),
                stream: stream_name(record, class),
                route,
            };
            if let Some(known) = self.threads.get_mut(&record.tid) {
                known.thread.launched(at);
                if self.returns == Returns::OfWaits {
                    known.thread.entered(record.api, at, call);
                }
            }
        }
        let stream = self.stream(record, class, writer, summary)?;
        let details = [
            ("caller", Value::Text(&caller)),
            ("route", Value::Text(route)),
            ("function", Value::Text(entry.symbol)),
            ("tid", Value::Number(u64::from(record.tid))),
        ];
        writer.moment(stream, at, &name, category, &details)
    }

    /// The name of the kernel that a launch names, if anything tells it.
    fn kernel(
        &mut self,
        record: &CallRecord,
        summary: &mut Summary,
        places: &mut impl Places,
        room: &mut Room,
    ) -> Option<Arc<str>> {
        if let Some(known) = self.kernels.get(record.kernel) {
            return known;
        }
        if record.kernel == 0 || !room.has_kernels(&self.kernels) {
            return None;
        }
        // A handle lies in no file; what stands for a kernel in a program does.
        let name = places.symbol(record.tgid, record.kernel);
        let name: Option<Arc<str>> = name.map(|name| name.into());
        self.kernels
            .insert(record.kernel, name.clone(), room, summary);
        name
    }

    /// A call of it has returned.
    pub fn returned<W: Write>(
        &mut self,
        record: &CallRecord,
        entry: &'static EntryPoint,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
        room: &mut Room,
    ) -> io::Result<()> {
        let process = self.track;
        let at = Nanos(record.time_ns);
        let Some(known) = self.thread(record, writer, summary, room)? else {
            return Ok(());
        };
        if !entry.drains() {
            let Some(Wait { from, call, .. }) = known.thread.left(record.api) else {
                return Ok(());
            };
            let details = [
                ("caller", Value::Text(&call.caller)),
                ("stream", Value::Text(&call.stream)),
                ("route", Value::Text(call.route)),
                ("function", Value::Text(entry.symbol)),
            ];
            let (track, to) = (known.track, at.max(from));
            return writer.slice(track, from, to, &call.name, Category::Launch, &details);
        }
        let (wait, burst) = known.thread.returned(record.api);
        if let Some(Wait { from, call, .. }) = wait {
            *summary.waits.get_or_insert(0) += 1;
            let details = [
                ("caller", Value::Text(&call.caller)),
                ("stream", Value::Text(&call.stream)),
                ("route", Value::Text(call.route)),
            ];
            let (track, to) = (known.track, at.max(from));
            writer.slice(track, from, to, &call.name, Category::Wait, &details)?;
        }
        if let Some(burst) = burst {
            *summary.bursts.get_or_insert(0) += 1;
            let bursts = match known.bursts {
                Some(track) => track,
                None => {
                    let name = format!("bursts of thread {}", record.tid);
                    *known.bursts.insert(writer.line(Some(process), &name)?)
                }
            };
            let details = [("launches", Value::Number(burst.launches))];
            let to = at.max(burst.from);
            writer.slice(bursts, burst.from, to, "burst", Category::Burst, &details)?;
        }
        Ok(())
    }

    fn caller(
        &mut self,
        record: &CallRecord,
        places: &mut impl Places,
        room: &mut Room,
    ) -> (Arc<str>, ObjectKind) {
        if let Some((name, kind)) = self.callers.get(&record.caller) {
            return (Arc::clone(name), *kind);
        }
        if !room.take_caller(self.callers.len()) {
            return (Arc::from("(others)"), ObjectKind::Others);
        }
        let caller = places.caller(record.tgid, record.caller);
        let known = (Arc::from(caller.object.name.as_str()), caller.object.kind);
        self.callers
            .insert(record.caller, (Arc::clone(&known.0), known.1));
        known
    }

    /// The calling thread, if there is room for it.
    fn thread<W: Write>(
        &mut self,
        record: &CallRecord,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
        room: &mut Room,
    ) -> io::Result<Option<&mut KnownThread>> {
        let known = self.threads.len();
        match self.threads.entry(record.tid) {
            Entry::Occupied(known) => Ok(Some(known.into_mut())),
            Entry::Vacant(_) if !room.take_thread(known) => Ok(None),
            Entry::Vacant(new) => {
                summary.threads += 1;
                let name = process::thread_name(record.tgid, record.tid);
                let name = printable(&name.unwrap_or_default());
                let track = writer.thread(self.track, record.tgid, record.tid, &name)?;
                Ok(Some(new.insert(KnownThread {
                    track,
                    bursts: None,
                    thread: Thread::default(),
                })))
            }
        }
    }

    fn stream<W: Write>(
        &mut self,
        record: &CallRecord,
        class: StreamClass,
        writer: &mut TraceWriter<W>,
        summary: &mut Summary,
    ) -> io::Result<Track> {
        // Each thread has its own stream per thread.
        let key = match class {
            StreamClass::PerThread => u64::from(record.tid) << 32 | 2,
            _ => record.stream,
        };
        if let Some(&track) = self.streams.get(&key) {
            return Ok(track);
        }
        if self.streams.len() >= MAX_STREAMS {
            return match self.others {
                Some(track) => Ok(track),
                None => {
                    let track = writer.line(Some(self.track), "other streams")?;
                    Ok(*self.others.insert(track))
                }
            };
        }
        summary.streams += 1;
        let track = writer.line(Some(self.track), &stream_name(record, class))?;
        self.streams.insert(key, track);
        Ok(track)
    }
}

fn stream_name(record: &CallRecord, class: StreamClass) -> String {
    match class {
        StreamClass::Null => "null stream".to_owned(),
        StreamClass::Legacy => "legacy stream".to_owned(),
        StreamClass::PerThread => format!("stream of thread {}", record.tid),
        StreamClass::Created if record.stream == 0 => "a stream named before".to_owned(),
        StreamClass::Created => format!("stream {:#x}", record.stream),
    }
}
