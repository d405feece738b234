//! How the agent is told to end, and how it ends if it cannot in good order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::error;
use xsched_agent::control::Ending;

use super::log::Log;

/// What the agent is told from outside.
pub(super) struct Signals {
    pub terminate: Signal,
    pub interrupt: Signal,
    pub hangup: Signal,
    /// Set by the first two, whatever the threads do.
    pub stop_asked: Arc<AtomicBool>,
}

impl Signals {
    pub fn listen() -> anyhow::Result<Signals> {
        let stop_asked = Arc::new(AtomicBool::new(false));
        for number in [libc::SIGTERM, libc::SIGINT] {
            let asked = stop_asked.clone();
            let note = move || asked.store(true, Relaxed);
            // SAFETY: a store is all that happens in the handler.
            unsafe { signal_hook_registry::register(number, note) }.context("signals")?;
        }
        Ok(Signals {
            stop_asked,
            terminate: signal(SignalKind::terminate()).context("SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("SIGHUP")?,
        })
    }
}

/// Ends the process as it is, once its last words are written.
pub(super) fn end_at_once(log: Log) -> Box<dyn FnOnce(Ending) + Send> {
    Box::new(move |ending| {
        error!("{ending}");
        log.finish();
        // SAFETY: no preconditions. Neither exit handlers nor other threads
        // are waited for: one of them hangs.
        unsafe { libc::_exit(1) }
    })
}
