//! The runtime's own threads. They are needed only for work that has an effect while nobody waits: one for copies and kernels
//! that compute, one for host functions, which may take as long as they like. Started at the first such work, detached, with
//! all signals blocked; they never keep a program from exiting.

use std::ffi::c_void;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::Runtime;
use super::command::Executor;
use super::wait::{futex_wait, futex_wake, precise_timers};
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
        self.started
            .call_once(|| start(std::ptr::from_ref(runtime) as usize, main));
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

type Main = extern "C" fn(*mut c_void) -> *mut c_void;

/// Not through `std::thread`, whose thread-local values take the loader's lock: the thread that starts the engine may hold
/// locks of the runtime, and the one that holds the loader's may be a library's constructor that waits for them.
fn start(runtime: usize, main: Main) {
    let former = set_signals(None);
    // The new thread inherits the full mask: signals stay with the program's threads.
    // SAFETY: the attributes are initialised before use and destroyed after; `main` takes what is passed.
    let error = unsafe {
        let mut detached = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut detached);
        libc::pthread_attr_setdetachstate(&raw mut detached, libc::PTHREAD_CREATE_DETACHED);
        let mut thread = 0;
        let error = libc::pthread_create(
            &raw mut thread,
            &raw const detached,
            main,
            runtime as *mut c_void,
        );
        libc::pthread_attr_destroy(&raw mut detached);
        error
    };
    set_signals(Some(former));
    if error != 0 {
        let error = std::io::Error::from_raw_os_error(error);
        eprintln!(
            "hipsim: no engine thread: {error}; asynchronous copies run when something waits for them"
        );
    }
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

/// Sets this thread's signal mask (all signals when none is given) and returns the former one.
fn set_signals(mask: Option<libc::sigset_t>) -> libc::sigset_t {
    // SAFETY: both sets are initialised before use; the mask of the calling thread is replaced.
    unsafe {
        let mut full = std::mem::zeroed();
        libc::sigfillset(&raw mut full);
        let mask = mask.unwrap_or(full);
        let mut former = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, &raw mut former);
        former
    }
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
