//! Calls that tell something when they return: what is complete, which
//! streams exist, which of them record graphs.
//!
//! The result is handed on as it is, and `errno` with it.

use xsched_common::bpf::SHIM_FRAMES;
use xsched_common::platform::{
    ArgumentAt, Completion, DefaultStream, Direction, Effect, EntryPoint, Register, Scope,
    StreamKind,
};
use xsched_common::units::{DeviceIndex, StreamClass};

use super::commands::is_captured;
use super::fence::EventFences;
use super::frame::Frame;
use super::host_functions::{self, Form};
use super::streams::{self, Stream};
use super::told::{News, settle_here, told};
use super::{DISABLE_TIMING, Runtime, SUCCESS, devices, fence, handles, of_trampoline, services};
use crate::callers::{self, Treatment};
use crate::gate::{self, Command};
use crate::groups::{self, Group};
use crate::inflight::{Past, STREAMS, StreamOrdering, StreamSlot};
use crate::page::Session;
use crate::process::{Process, process, session};
use crate::sys;

/// The flag of a stream that does not wait for the default stream.
const NON_BLOCKING: u64 = 1;
/// From the host to a device and the reverse: the copies that the runtime
/// waits for. Copies between devices are asynchronous, and a direction that is
/// left to the runtime may mean either.
const HOST_KINDS: std::ops::RangeInclusive<u64> = 1..=2;
/// "Illegal state" and "wrong thread": the capture goes on.
const STILL_CAPTURING: [i32; 2] = [401, 908];
/// "Illegal address" and "launch failure": nothing runs any more.
const DEAD_CONTEXT: [i32; 2] = [700, 719];

/// The largest of the frames below a wait leaves room for the others.
const _: () = assert!(size_of::<[u64; STREAMS]>() as u64 <= SHIM_FRAMES / 2);

/// Calls the runtime and looks at the result.
///
/// # Safety
/// Called by the trampoline only, with the frame it built.
pub unsafe extern "C-unwind" fn call<R: Runtime>(frame: *const Frame) -> u64 {
    // SAFETY: the trampoline's frame.
    let frame = unsafe { &*frame };
    let index = frame.export as usize;
    let real = services::real_or_error::<R>(index);
    let Some(export) = of_trampoline::<R>(index) else {
        return invoke(real, frame);
    };
    let session = session();
    let caller = callers::of(frame.return_address, R::is_runtime, session);
    if caller.treatment() == Treatment::Inside {
        return invoke(real, frame);
    }
    let process = process();
    match session {
        Some(session) if is_about_work(export) => completing::<R>(&Call {
            process,
            session,
            export,
            frame,
            real,
        }),
        _ => plain::<R>(process, export, frame, real),
    }
}

fn invoke(real: usize, frame: &Frame) -> u64 {
    use Register::{R8, R9, Rcx, Rdi, Rdx, Rsi};
    let arguments = [Rdi, Rsi, Rdx, Rcx, R8, R9];
    enter(real, arguments.map(|r| frame.register(r)))
}

/// "C-unwind", because a thread may be cancelled inside of the runtime.
fn enter(real: usize, arguments: [u64; 6]) -> u64 {
    // SAFETY: hooked functions take at most six integer arguments (the table
    // of entry points), and these are the caller's.
    let real: unsafe extern "C-unwind" fn(u64, u64, u64, u64, u64, u64) -> u64 =
        unsafe { std::mem::transmute(real) };
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: as above.
    unsafe { real(a, b, c, d, e, f) }
}

pub(super) fn status(result: u64) -> i32 {
    result as u32 as i32
}

/// Whether there is anything to learn only while joined: of work in flight.
fn is_about_work(export: &EntryPoint) -> bool {
    match export.effect {
        Effect::Nothing
        | Effect::EventElapsed
        | Effect::EventRecord
        | Effect::EventForget(_)
        | Effect::StreamWait
        | Effect::HostFunction
        | Effect::StreamCallback => true,
        Effect::EventCreate(_)
        | Effect::StreamCreate(_)
        | Effect::StreamDestroy
        | Effect::CaptureBegin
        | Effect::CaptureEnd
        | Effect::LookUp
        | Effect::DeviceSet
        | Effect::DeviceChange
        | Effect::DeviceReset
        | Effect::ContextGone(_)
        | Effect::DeviceGone(_) => false,
    }
}

/// What is worth knowing even before the process joins.
#[inline(never)]
fn plain<R: Runtime>(process: &Process, export: &EntryPoint, frame: &Frame, real: usize) -> u64 {
    let effect = export.effect;
    let first = frame.register(Register::Rdi);
    if effect == Effect::StreamDestroy {
        let _unseen = sys::Unseen::new();
        process.captures.end(first);
        let stream = Stream::new(first, DefaultStream::Legacy);
        // The default one cannot be destroyed, and keeps its class.
        if stream.class == StreamClass::Created {
            process.groups.forget_stream(first);
        }
        for slot in streams::slots::<R>(process, stream) {
            fence::abandon::<R>(process, slot);
        }
    }
    let captured = Stream::new(first, export.default_stream).handle;
    if effect == Effect::CaptureBegin {
        let _unseen = sys::Unseen::new();
        begin_capture(process, captured);
    }
    let doomed = match effect {
        Effect::DeviceReset => devices::current::<R>(),
        Effect::ContextGone(context) => devices::of_context::<R>(frame.register(context)),
        _ => None,
    };
    let result = invoke(real, frame);
    let _unseen = sys::Unseen::new();
    let succeeded = status(result) == SUCCESS;
    match effect {
        Effect::DeviceSet if succeeded => devices::set_current(first as u32 as i32),
        Effect::DeviceChange => devices::forget_current(),
        Effect::StreamCreate(kind) if succeeded => {
            let handle = read_handle(first);
            match kind {
                StreamKind::Flags(flags) if frame.register(flags) & NON_BLOCKING != 0 => {
                    streams::created::<R>(process, handle, StreamOrdering::Independent);
                }
                StreamKind::Blocking | StreamKind::Flags(_) => {
                    streams::created::<R>(process, handle, StreamOrdering::Blocking);
                }
                // Of its context's device, which may be another than the
                // thread's: its first use tells.
                StreamKind::Independent => streams::forget(process, handle),
            }
        }
        Effect::EventCreate(flags) if succeeded => {
            match flags.map_or(0, |flags| frame.register(flags)) & DISABLE_TIMING {
                0 => process.timing.created(read_handle(first)),
                _ => process.timing.created_without(read_handle(first)),
            }
        }
        Effect::StreamDestroy => settle_here(process, devices::current::<R>()),
        Effect::DeviceReset | Effect::ContextGone(_) => {
            if succeeded && let Some(device) = doomed {
                forget_device(process, device);
            }
            if effect != Effect::DeviceReset {
                devices::forget_current();
            }
            settle_here(process, doomed);
        }
        Effect::DeviceGone(number) if succeeded => {
            let number = frame.register(number) as u32;
            if let Some(device) = devices::index(number)
                && !devices::is_alive::<R>(number)
            {
                forget_device(process, device);
                settle_here(process, Some(device));
            }
            devices::forget_current();
        }
        Effect::CaptureBegin if !succeeded => process.captures.end(captured),
        Effect::CaptureEnd if !STILL_CAPTURING.contains(&status(result)) => {
            process.captures.end(captured);
        }
        Effect::LookUp if succeeded => {
            handles::substitute::<R>(first, frame.register(Register::Rsi));
        }
        _ => {}
    }
    result
}

/// Marks a capture and waits for the fences that are being made: each for one
/// call of the runtime that does not wait for the device. Bounded all the
/// same, since a signal may have ended such a thread.
fn begin_capture(process: &Process, stream: u64) {
    process.captures.begin(stream);
    sys::yield_until(|| process.captures.is_quiet().then_some(()));
}

/// The handle that a successful creation has written.
fn read_handle(out: u64) -> u64 {
    if out == 0 {
        return 0;
    }
    // SAFETY: the runtime has just written a handle there.
    unsafe { (out as *const u64).read_unaligned() }
}

/// Events die with the device's context, so they are not given back.
fn forget_device(process: &Process, device: DeviceIndex) {
    use std::sync::atomic::Ordering::Relaxed;
    for slot in process.streams.of(device) {
        slot.with_fences(|fences| {
            while let Some(fence) = fences.oldest() {
                fences.remove(fence);
            }
        });
        gate::watch::forget(slot);
        process.streams.remove(slot);
    }
    let index = usize::from(device.0);
    let pools = [
        process.fence_pools.get(index),
        process.stamp_pools.get(index),
    ];
    for pool in pools.into_iter().flatten() {
        for event in pool {
            event.store(0, Relaxed);
        }
    }
}

/// A call about completion, of a process that has joined.
pub(super) struct Call<'a> {
    pub process: &'static Process,
    pub session: &'static Session,
    export: &'static EntryPoint,
    frame: &'a Frame,
    real: usize,
}

impl Call<'_> {
    pub fn stream(&self) -> Stream {
        // SAFETY: hooked functions have their stream in a register.
        let handle = unsafe { Frame::stream(self.frame, self.export.stream_at) };
        Stream::new(handle.unwrap_or(0), self.export.default_stream)
    }

    pub fn argument(&self, register: Register) -> u64 {
        self.frame.register(register)
    }

    /// Whether the copy goes in a direction in which the host waits for it.
    fn goes(&self, direction: Direction) -> bool {
        match direction {
            Direction::Any => true,
            Direction::At(register) => HOST_KINDS.contains(&self.argument(register)),
            Direction::Unread => false,
        }
    }

    pub fn invoke(&self) -> u64 {
        invoke(self.real, self.frame)
    }

    /// Calls the runtime with another function of the program and another
    /// argument for that.
    pub fn invoke_with(&self, function: u64, data: u64) -> u64 {
        use Register::{R8, R9, Rcx, Rdi};
        let [rdi, rcx, r8, r9] = [Rdi, Rcx, R8, R9].map(|r| self.frame.register(r));
        enter(self.real, [rdi, function, data, rcx, r8, r9])
    }
}

/// What it calls has large frames, which stay apart: all of them together
/// would be more than the observer takes for a shim's ([`SHIM_FRAMES`]).
fn completing<R: Runtime>(call: &Call<'_>) -> u64 {
    match call.export.effect {
        Effect::StreamWait => return stream_waits::<R>(call),
        Effect::HostFunction => return host_functions::hand_over::<R>(call, Form::Function),
        Effect::StreamCallback => return host_functions::hand_over::<R>(call, Form::Callback),
        Effect::EventRecord => return event_record::<R>(call),
        Effect::EventForget(event) => call.process.events.forget(call.argument(event)),
        _ => {}
    }
    let scope = match call.export.completion {
        Completion::Return(scope, direction) if call.goes(direction) => scope,
        Completion::Query(scope) => scope,
        _ => return call.invoke(),
    };
    let result = match scope {
        Scope::Device => {
            let device = devices::current::<R>();
            drain(call, device, |slot| Some(slot.info().device) == device)
        }
        Scope::DeviceOf(context) => {
            let device = devices::of_context::<R>(call.argument(context));
            drain(call, device, |slot| Some(slot.info().device) == device)
        }
        // A synchronous copy names none.
        Scope::Stream if call.export.stream_at == ArgumentAt::Nowhere => drain_default::<R>(call),
        Scope::Stream => drain_stream::<R>(call, call.stream()),
        Scope::Event(event) => event_sync(call, &[event]),
        Scope::Events(first, second) => event_sync(call, &[first, second]),
        Scope::Context => call.invoke(),
    };
    if call.export.effect == Effect::EventElapsed && status(result) == SUCCESS {
        call.process.timing.asked();
    }
    result
}

/// An empty stream: what was put on it is complete.
#[inline(never)]
fn drain_stream<R: Runtime>(call: &Call<'_>, stream: Stream) -> u64 {
    let mut past = Past::NONE;
    for slot in streams::slots::<R>(call.process, stream) {
        call.process.streams.add_contents(slot, &mut past);
    }
    let result = awaiting(
        call,
        |group| is_of(call.process, &past, group),
        || call.invoke(),
    );
    if ended(result) {
        let _unseen = sys::Unseen::new();
        told(call.process, call.session, &past);
    }
    result
}

/// A synchronous copy on the default stream waits for that and for the
/// blocking streams.
fn drain_default<R: Runtime>(call: &Call<'_>) -> u64 {
    if call.export.default_stream == DefaultStream::PerThread {
        return drain_stream::<R>(call, Stream::new(0, DefaultStream::PerThread));
    }
    let device = devices::current::<R>();
    drain(call, device, |slot| {
        let info = slot.info();
        Some(info.device) == device && info.ordering != StreamOrdering::Independent
    })
}

/// Calls the runtime; if that succeeds, everything launched before on the
/// streams chosen is complete.
#[inline(never)]
fn drain(
    call: &Call<'_>,
    device: Option<DeviceIndex>,
    chosen: impl Fn(&StreamSlot) -> bool,
) -> u64 {
    let mut before = [0u64; STREAMS];
    for (number, slot) in before.iter_mut().zip(call.process.streams.slots()) {
        if slot.in_use() && chosen(slot) {
            *number = slot.launched();
        }
    }
    let holds = |group| {
        let mut slots = before.iter().zip(call.process.streams.slots());
        slots.any(|(number, slot)| {
            *number != 0 && slot.info().group == group && !slot.has_completed(*number)
        })
    };
    let result = awaiting(call, holds, || call.invoke());
    if ended(result) {
        let _unseen = sys::Unseen::new();
        let mut news = News::default();
        if let Some(device) = device {
            for session in groups::sessions(call.process, call.session) {
                news.note(session.group, device, 0);
            }
        }
        let before = before.iter().zip(call.process.streams.slots());
        for (number, slot) in before.filter(|(number, _)| **number != 0) {
            news.complete(slot, *number);
        }
        news.tell(call.process, call.session);
    }
    result
}

fn ended(result: u64) -> bool {
    status(result) == SUCCESS || DEAD_CONTEXT.contains(&status(result))
}

/// Makes a call that waits for work of the groups that `holds` names: the lower
/// ones of them run meanwhile.
fn awaiting(call: &Call<'_>, holds: impl Fn(Group) -> bool, invoke: impl FnOnce() -> u64) -> u64 {
    let _awaiting = match call.export.completion {
        Completion::Return(..) => groups::Awaiting::begin(call.process, call.session, holds),
        _ => None,
    };
    invoke()
}

/// Whether work of a group comes before a point.
fn is_of(process: &Process, past: &Past, group: Group) -> bool {
    let mut parts = past.parts();
    parts.any(|(slot, sequence)| {
        let slot = process.streams.slot(slot);
        slot.is_some_and(|slot| slot.info().group == group && !slot.has_completed(sequence))
    })
}

/// What stands before some events is complete, if the call succeeds.
#[inline(never)]
fn event_sync(call: &Call<'_>, events: &[Register]) -> u64 {
    let past = |event: &Register| call.process.events.past(call.argument(*event));
    let mut all = Past::NONE;
    for (slot, sequence) in events.iter().filter_map(past).flat_map(Past::into_parts) {
        all.add(slot, sequence);
    }
    let result = awaiting(
        call,
        |group| is_of(call.process, &all, group),
        || call.invoke(),
    );
    if ended(result) {
        let _unseen = sys::Unseen::new();
        told(call.process, call.session, &all);
    }
    result
}

/// A stream goes on when an event is complete. The wait is taken over by a
/// capture that either belongs to.
#[inline(never)]
fn stream_waits<R: Runtime>(call: &Call<'_>) -> u64 {
    let past = call.process.events.past(call.argument(Register::Rsi));
    let result = call.invoke();
    let stream = call.stream();
    if status(result) == SUCCESS
        && let Some(past) = past
        && !is_captured::<R>(call.process, stream)
        && let Some((_, Some(slot))) = streams::place::<R>(call.process, Group::PROCESS, stream)
    {
        call.process.streams.wait(slot, &past);
    }
    result
}

#[inline(never)]
fn event_record<R: Runtime>(call: &Call<'_>) -> u64 {
    let event = call.argument(Register::Rdi);
    let stream = call.stream();
    keep_whole::<R>(call, event, stream);
    let slot = streams::place::<R>(call.process, Group::PROCESS, stream);
    let slot = slot.and_then(|(_, slot)| slot);
    let past = slot.map(|slot| call.process.streams.past(slot));
    // Until the call has succeeded, the event stands for what it stood for
    // or for nothing.
    call.process.events.forget(event);
    let result = call.invoke();
    // Asked only after a success: on some runtimes the answer replaces the
    // error that the program has yet to read.
    if status(result) == SUCCESS
        && !is_captured::<R>(call.process, stream)
        && let Some(past) = past
    {
        call.process.events.record(event, past);
    }
    result
}

/// What the program measures from here on passes the gate as one.
fn keep_whole<R: Runtime>(call: &Call<'_>, event: u64, stream: Stream) {
    let process = process();
    if !process.timing.may_measure(event) || process.captures.any() {
        return;
    }
    let caller = callers::of(call.frame.return_address, R::is_runtime, session());
    if caller.treatment() == Treatment::Gate
        && let Some(session) = session()
        && let session = groups::of_command(process, session, stream.handle)
        && let Some((device, stream)) = streams::place::<R>(process, session.group, stream)
    {
        let command = Command {
            device,
            stream,
            entry: call.export,
        };
        gate::timing::before_record(process, session, command, EventFences::<R>::new);
    }
}
