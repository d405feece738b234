//! The library's own threads, each started at the first work for it: one for effects that nobody waits for, one that calls
//! the program's handlers of signals and events, as the real library has.

use std::ffi::c_void;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use simdevice::device::clock;
use simdevice::threads::{self, Main, futex_wait, futex_wake, precise_timers};

use super::{Driver, MACHINE, system_events};

/// One of them.
pub struct Thread {
    main: Main,
    started: Once,
    word: AtomicU32,
    asleep: AtomicBool,
}

impl Thread {
    /// One that has not started.
    pub const fn new(main: Main) -> Self {
        Self {
            main,
            started: Once::new(),
            word: AtomicU32::new(0),
            asleep: AtomicBool::new(false),
        }
    }

    /// Makes it look.
    pub fn notify(&self) {
        self.started.call_once(|| {
            if let Err(error) = threads::start(0, self.main) {
                eprintln!(
                    "hsasim: no thread for what the devices do by themselves: {error}; it is done when something waits"
                );
            }
        });
        self.word.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            futex_wake(&self.word);
        }
    }

    fn sleep(&self, seen: u32, until: Option<u64>) {
        self.asleep.store(true, Ordering::SeqCst);
        let timeout = until.map(|at| at.saturating_sub(clock::now()).max(1));
        futex_wait(&self.word, seen, timeout);
        self.asleep.store(false, Ordering::SeqCst);
    }
}

fn name(name: &std::ffi::CStr) {
    // SAFETY: the name is a C string; it changes what debuggers show of this thread.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

pub extern "C" fn engine(_: *mut c_void) -> *mut c_void {
    name(c"hsasim-engine");
    precise_timers();
    let own = &MACHINE.engine;
    loop {
        let seen = own.word.load(Ordering::SeqCst);
        let (mut state, now) = MACHINE.drive(Driver::Engine);
        state.reap(now);
        let next = state.next_effect(now);
        let next = state.wake_up(next, now);
        drop(state);
        own.sleep(seen, next);
    }
}

pub extern "C" fn events(_: *mut c_void) -> *mut c_void {
    name(c"hsasim-events");
    precise_timers();
    let own = &MACHINE.events;
    loop {
        let seen = own.word.load(Ordering::SeqCst);
        let (mut state, now) = MACHINE.drive(Driver::Events);
        let faults = std::mem::take(&mut state.faults);
        if !faults.is_empty() {
            drop(state);
            faults.into_iter().for_each(system_events::tell);
            continue;
        }
        let ready = state.handlers.take_ready();
        if !ready.is_empty() {
            drop(state);
            for handler in ready {
                // SAFETY: the program registered the function with this argument.
                let again = unsafe { handler.call() };
                let mut state = MACHINE.lock();
                state.handlers.was_called(again.then_some(handler));
            }
            continue;
        }
        state.reap(now);
        let signals = state.handlers.signals().into_iter();
        let handlers = signals.map(|signal| state.look_again(signal, now)).min();
        let next = handlers.into_iter().chain(state.next_effect(now)).min();
        let next = state.wake_up(next, now);
        drop(state);
        own.sleep(seen, next);
    }
}
