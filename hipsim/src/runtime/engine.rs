//! The runtime's own threads. They are needed only for work that has an effect while nobody waits: one for copies and kernels
//! that compute, one for host functions, which may take as long as they like. Started at the first such work, detached, with
//! all signals blocked; they never keep a program from exiting.

use std::ffi::c_void;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use simdevice::threads::{self, futex_wait, futex_wake, precise_timers};

use super::Runtime;
use super::command::Executor;
use crate::device::clock;

/// See the module's description.
pub struct Engine {
    /// What its thread executes.
    executor: Executor,
    started: Once,
    word: AtomicU32,
    asleep: AtomicBool,
}

impl Engine {
    /// One without a thread yet.
    pub fn new(executor: Executor) -> Self {
        Self {
            executor,
            started: Once::new(),
            word: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
        }
    }

    /// Makes its thread look at the queues.
    fn notify(&self, runtime: &Runtime) {
        // Runtimes are static; the thread gets that reference.
        let main = match self.executor {
            Executor::Host => host_main,
            _ => engine_main,
        };
        self.started.call_once(|| {
            if let Err(error) = threads::start(std::ptr::from_ref(runtime) as usize, main) {
                eprintln!(
                    "hipsim: no engine thread: {error}; asynchronous copies run when something waits for them"
                );
            }
        });
        self.word.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            futex_wake(&self.word);
        }
    }
}

impl Runtime {
    /// Makes the threads that have something to do look at the queues; not the one that asks.
    pub fn notify(&self, work: Queue, asking: Executor) {
        if work.any && asking != Executor::Engine {
            self.engine.notify(self);
        }
        if work.host && asking != Executor::Host {
            self.host.notify(self);
        }
    }
}

/// What is queued for the runtime's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Anything at all.
    pub any: bool,
    /// Host functions.
    pub host: bool,
}

extern "C" fn engine_main(runtime: *mut c_void) -> *mut c_void {
    // SAFETY: the name is a C string; it changes what debuggers show of this thread.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"hipsim-engine".as_ptr()) };
    // SAFETY: `runtime` is the address of the runtime in its static, which is never dropped.
    let runtime = unsafe { &*runtime.cast::<Runtime>() };
    run(runtime, &runtime.engine)
}

extern "C" fn host_main(runtime: *mut c_void) -> *mut c_void {
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"hipsim-host".as_ptr()) };
    // SAFETY: as above.
    let runtime = unsafe { &*runtime.cast::<Runtime>() };
    run(runtime, &runtime.host)
}

fn run(runtime: &Runtime, own: &Engine) -> ! {
    precise_timers();
    loop {
        let seen = own.word.load(Ordering::SeqCst);
        let (mut core, now) = runtime.drive(runtime.lock(), own.executor);
        let next = core
            .next_external(own.executor)
            .map(|at| core.not_yet(at, now));
        core.clock.reap(now);
        drop(core);
        own.asleep.store(true, Ordering::SeqCst);
        futex_wait(
            &own.word,
            seen,
            next.map(|at| at.saturating_sub(clock::now()).max(1)),
        );
        own.asleep.store(false, Ordering::SeqCst);
    }
}
