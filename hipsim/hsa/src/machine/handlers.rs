//! Handlers that the program wants called when a signal's condition holds.

use super::signal::Signal;
use crate::abi::types::{Condition, SignalCallback};

/// One of them.
pub struct Handler {
    pub signal: Signal,
    pub condition: Condition,
    pub than: i64,
    pub callback: SignalCallback,
    /// Address of the program's own data.
    pub argument: usize,
}

impl Handler {
    fn is_ready(&self) -> bool {
        self.condition.holds(self.signal.value(), self.than)
    }

    /// Calls it; whether it wants to be called again.
    ///
    /// # Safety
    /// The function takes this argument.
    pub unsafe fn call(&self) -> bool {
        // SAFETY: the caller's promise.
        unsafe { (self.callback)(self.signal.value(), self.argument as *mut _) }
    }
}

/// Those that wait.
#[derive(Default)]
pub struct Handlers(Vec<Handler>);

impl Handlers {
    /// None.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// One more.
    pub fn add(&mut self, handler: Handler) {
        self.0.push(handler);
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Takes those whose condition holds, oldest first.
    pub fn take_ready(&mut self) -> Vec<Handler> {
        self.0
            .extract_if(.., |handler| handler.is_ready())
            .collect()
    }

    /// What the others wait for.
    pub fn signals(&self) -> Vec<Signal> {
        self.0.iter().map(|handler| handler.signal).collect()
    }
}
