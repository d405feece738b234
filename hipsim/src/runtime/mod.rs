//! This process's side of the device: streams, events, memory, kernels and the queues that order their work.

pub mod capture;
pub mod code_object;
pub mod command;
pub mod core;
pub mod engine;
pub mod events;
pub mod graph;
pub mod kernels;
pub mod known;
pub mod memory;
pub mod streams;
pub mod wait;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use self::core::Core;
use self::engine::Engine;
use crate::abi::error::{HipError, Result};
use crate::device::clock::Clock;
use crate::options;

/// The process's runtime, created by the first call that needs a device.
pub struct Runtime {
    core: Mutex<Core>,
    /// Bumped whenever an external item finishes; waiters sleep on it.
    progress: AtomicU32,
    waiters: AtomicU32,
    engine: Engine,
}

static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();
/// Set in a child forked after the parent used the device. As on a real device, such a child has none.
static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn after_fork_in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Whether this is a child forked after initialisation: locks may be held by threads it does not have.
pub fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// The runtime of this process.
///
/// # Errors
/// `NoDevice` when the device file cannot be used, `ContextIsDestroyed` in a child forked after initialisation.
pub fn get() -> Result<&'static Runtime> {
    if forked() {
        return Err(HipError::ContextIsDestroyed);
    }
    RUNTIME
        .get_or_init(Runtime::start)
        .as_ref()
        .ok_or(HipError::NoDevice)
}

impl Runtime {
    fn start() -> Option<Self> {
        let options = options::get();
        let clock = Clock::attach(&options.device, options.discipline)
            .inspect_err(|error| eprintln!("hipsim: {error}"))
            .ok()?;
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
        Some(Self {
            core: Mutex::new(Core::new(clock)),
            progress: AtomicU32::new(0),
            waiters: AtomicU32::new(0),
            engine: Engine::default(),
        })
    }

    /// The state under its lock. A panic of another thread does not make it unusable: every update is complete by itself.
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
