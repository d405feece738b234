//! This process's side of the device: streams, events, memory, kernels and the queues that order their work.

pub mod capture;
pub mod code_object;
pub mod command;
pub mod core;
pub mod devices;
pub mod engine;
pub mod events;
pub mod graph;
pub mod kernels;
pub mod memory;
pub mod shared_event;
pub mod streams;
pub mod wait;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use self::command::Executor;
use self::core::Core;
use self::devices::{DeviceIndex, MAX_DEVICES};
use self::engine::Engine;
use crate::abi::error::{HipError, Result};
use crate::device::clock::Clock;
use crate::options;

/// The process's side of one device, created by the first call that needs it.
pub struct Runtime {
    pub device: DeviceIndex,
    /// Other devices that the program may access from this one, as a bit each.
    pub peers: AtomicU32,
    core: Mutex<Core>,
    /// Bumped whenever an external item finishes; waiters sleep on it.
    progress: AtomicU32,
    waiters: AtomicU32,
    engine: Engine,
    host: Engine,
}

static RUNTIMES: [OnceLock<Option<Runtime>>; MAX_DEVICES] =
    [const { OnceLock::new() }; MAX_DEVICES];
/// Set in a child forked after the parent used the device. As on a real device, such a child has none.
static FORKED: AtomicBool = AtomicBool::new(false);

extern "C" fn after_fork_in_child() {
    FORKED.store(true, Ordering::Relaxed);
}

/// Whether this is a child forked after initialisation: locks may be held by threads it does not have.
pub fn forked() -> bool {
    FORKED.load(Ordering::Relaxed)
}

/// The calling thread's current device.
///
/// # Errors
/// As [`on`].
pub fn get() -> Result<&'static Runtime> {
    on(DeviceIndex::current())
}

/// A device.
///
/// # Errors
/// `NoDevice` when the device file cannot be used, `ContextIsDestroyed` in a child forked after initialisation.
pub fn on(device: DeviceIndex) -> Result<&'static Runtime> {
    if forked() {
        return Err(HipError::ContextIsDestroyed);
    }
    RUNTIMES[device.number() % MAX_DEVICES]
        .get_or_init(|| Runtime::start(device))
        .as_ref()
        .ok_or(HipError::NoDevice)
}

/// Does something while no work of this process uses memory, on any device. Not for code that waits for such work.
pub fn quietly<T>(then: impl FnOnce() -> T) -> T {
    loop {
        let started = || {
            RUNTIMES
                .iter()
                .filter_map(|runtime| runtime.get()?.as_ref())
        };
        // Always in the same order; nothing else holds two.
        let cores: Vec<_> = started().map(Runtime::lock).collect();
        if cores.iter().all(|core| core.is_quiet()) {
            return then();
        }
        drop(cores);
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
}

impl Runtime {
    fn start(device: DeviceIndex) -> Option<Self> {
        if devices::count() == 0 {
            return None;
        }
        let options = options::get();
        let clock = Clock::attach(&device.path(), options.discipline)
            .inspect_err(|error| eprintln!("hipsim: {error}"))
            .ok()?;
        // SAFETY: the handler only stores to an atomic; once per device does no harm.
        unsafe { libc::pthread_atfork(None, None, Some(after_fork_in_child)) };
        Some(Self {
            device,
            peers: AtomicU32::new(0),
            core: Mutex::new(Core::new(device, clock)),
            progress: AtomicU32::new(0),
            waiters: AtomicU32::new(0),
            engine: Engine::new(Executor::Engine),
            host: Engine::new(Executor::Host),
        })
    }

    /// The state under its lock. A panic of another thread does not make it unusable: every update is complete by itself.
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
