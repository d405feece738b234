//! Device commands: kernels, graphs, memsets, asynchronous copies.
//!
//! What a launch at an open gate does stands in one line of code without jumps
//! ([`cold_path`]): after a runtime's own work neither the cache nor the branch
//! predictor knows this code.

use std::hint::cold_path;
use std::sync::atomic::Ordering::Relaxed;

use xsched_common::gate::GateWord;
use xsched_common::page::Route;
use xsched_common::platform::{EntryPoint, SizeAt};

use super::fence::{EventFences, MOST_AHEAD};
use super::frame::Frame;
use super::services::{self, call};
use super::streams::{self, Stream};
use super::{Runtime, SUCCESS, devices, of_trampoline};
use crate::callers::{self, Treatment};
use crate::gate::{self, Command};
use crate::groups::{self, Group};
use crate::inflight::StreamOrdering;
use crate::owner::Role;
use crate::page::Session;
use crate::process::{Process, process, session};
use crate::{lifecycle, sys};

/// Copies below this are not gated: they cost the device next to nothing,
/// and programs wait for them.
const GATED_COPY: u64 = 64 * 1024;

/// Returns, when the command may go, where it goes. "C-unwind", because a
/// thread may end at the gate: a signal handler calls `pthread_exit`.
///
/// # Safety
/// Called by the trampoline only, with the frame it built.
pub unsafe extern "C-unwind" fn admit<R: Runtime>(frame: *const Frame) -> usize {
    // SAFETY: the trampoline's frame; its stack arguments are read through
    // the pointer.
    let index = unsafe { (*frame).export } as usize;
    let real = services::real_or_error::<R>(index);
    if R::passes_later(index) {
        cold_path();
        return real;
    }
    let process = process();
    if let Some(session) = session() {
        // SAFETY: as above.
        unsafe { gated::<R>(process, session, frame, index) };
    } else if lifecycle::due(process) {
        // SAFETY: as above.
        unsafe { join_first::<R>(process, frame, index) };
    }
    real
}

#[cold]
#[inline(never)]
unsafe fn join_first<R: Runtime>(process: &'static Process, frame: *const Frame, index: usize) {
    // SAFETY: the caller's frame.
    let return_address = unsafe { (*frame).return_address };
    // The runtime calling itself may hold its locks, and joining asks it
    // for its devices.
    if callers::of(return_address, R::is_runtime, None).treatment() == Treatment::Inside {
        return;
    }
    lifecycle::start::<R>();
    services::forget_absences(R::services());
    lifecycle::join::<R>(process);
    if let Some(session) = session() {
        // SAFETY: the caller's frame.
        unsafe { gated::<R>(process, session, frame, index) };
    }
}

#[inline(always)]
unsafe fn gated<R: Runtime>(
    process: &'static Process,
    session: &'static Session,
    frame: *const Frame,
    index: usize,
) {
    let Some(export) = of_trampoline::<R>(index) else {
        return;
    };
    // SAFETY: the caller's frame.
    let registers = unsafe { &*frame };
    let caller = callers::of(registers.return_address, R::is_runtime, Some(session));
    let treatment = caller.treatment();
    if treatment == Treatment::Inside {
        cold_path();
        return;
    }
    // SAFETY: the export's own place of its stream.
    let handle = unsafe { Frame::stream(frame, export.stream_at) };
    let stream = Stream::new(handle.unwrap_or(0), export.default_stream);
    let role = process.owner.role();
    if treatment == Treatment::Pass || is_captured::<R>(process, stream) {
        cold_path();
        if export.is_launch() {
            let counts = callers::counts(registers.return_address, caller, session, role);
            counts.raise(Route::Passthrough, stream.class);
        }
        callers::refresh(session);
        return;
    }
    let mut route = Route::Gated;
    if copies_little(export, registers) {
        cold_path();
        watched_pass_by::<R>(process, session, stream);
    } else if groups::in_use(process) {
        cold_path();
        route = admitted_of_group::<R>(process, session, export, stream, role);
    } else {
        // Said as a constant: most programs never ask for a group.
        route = admitted::<R>(process, session, Group::PROCESS, export, stream, role);
    }
    if export.is_launch() {
        let counts = callers::counts(registers.return_address, caller, session, role);
        counts.raise(route, stream.class);
    }
}

/// Asks the gate; how the command went on.
#[inline(always)]
fn admitted<R: Runtime>(
    process: &'static Process,
    session: &'static Session,
    group: Group,
    export: &'static EntryPoint,
    stream: Stream,
    role: Role,
) -> Route {
    let Some((device, slot)) = streams::place::<R>(process, group, stream) else {
        return Route::Gated;
    };
    let command = Command {
        device,
        stream: slot,
        entry: export,
    };
    gate::admit(process, session, command, role, EventFences::<R>::new)
}

/// The same where threads or streams have classes of their own. Apart, since
/// most programs never come here.
#[inline(never)]
fn admitted_of_group<R: Runtime>(
    process: &'static Process,
    base: &'static Session,
    export: &'static EntryPoint,
    stream: Stream,
    role: Role,
) -> Route {
    let session = groups::of_command(process, base, stream.handle);
    admitted::<R>(process, session, session.group, export, stream, role)
}

/// A call on a stream that is no command, of a program that is timed
/// ([`gate::watch`]).
#[inline(always)]
pub(super) fn watched_pass_by<R: Runtime>(
    process: &'static Process,
    session: &'static Session,
    stream: Stream,
) {
    if let Some(device) = devices::current::<R>()
        && let Some(control) = session.control().devices.get(usize::from(device.0))
        && !GateWord(control.word.load(Relaxed)).is_open()
    {
        stamp_behind::<R>(process, session, stream);
    }
}

#[cold]
#[inline(never)]
fn stamp_behind<R: Runtime>(process: &'static Process, session: &'static Session, stream: Stream) {
    let place = streams::slots::<R>(process, stream).next();
    if let Some(slot) = place
        && slot.in_flight() > 0
        // Not every such call puts work on the stream, and an event on the
        // default stream ties all blocking ones together.
        && slot.info().ordering != StreamOrdering::Default
        && !process.streams.waits_for_default(slot)
        // The thread may be the one that makes room in a full queue.
        && process.streams.in_flight(slot.info().device) <= MOST_AHEAD
        && gate::watch::is_asked_for(session, slot.info().device)
        && !is_captured::<R>(process, stream)
    {
        let device = slot.info().device;
        sys::undisturbed(|_| {
            let _unseen = sys::Unseen::new();
            let session = groups::session_of(process, session, slot.info().group);
            gate::watch::pass_by(
                process,
                session,
                device,
                slot,
                &EventFences::<R>::new(process),
            );
        });
    }
}

#[inline(always)]
fn copies_little(export: &EntryPoint, registers: &Frame) -> bool {
    match export.size_at {
        SizeAt::Nowhere => false,
        size => {
            cold_path();
            bytes(size, registers) < GATED_COPY
        }
    }
}

#[inline(never)]
fn bytes(at: SizeAt, registers: &Frame) -> u64 {
    match at {
        SizeAt::Nowhere => 0,
        SizeAt::Register(bytes) => registers.register(bytes),
        SizeAt::Product(width, height) => {
            let width = registers.register(width);
            width.saturating_mul(registers.register(height))
        }
    }
}

/// Whether a command on the stream is recorded instead of run: such a
/// command is not device work, and nothing may be put beside it.
#[inline(always)]
pub(super) fn is_captured<R: Runtime>(process: &Process, stream: Stream) -> bool {
    process.captures.any() && ask_captured::<R>(process, stream)
}

/// The runtime knows best: a stream joins a capture also by waiting for an
/// event of it.
#[cold]
fn ask_captured<R: Runtime>(process: &Process, stream: Stream) -> bool {
    // The default stream cannot be captured, and asking about it while
    // others are is an error.
    if stream.class.is_default() {
        return false;
    }
    if process.captures.holds(stream.handle) {
        return true;
    }
    let _unseen = sys::Unseen::new();
    let mut status = 0i32;
    let asked = call!(
        R::services().is_capturing,
        fn(u64, *mut i32) -> i32,
        stream.handle,
        &raw mut status
    );
    asked == Some(SUCCESS) && status != 0
}
