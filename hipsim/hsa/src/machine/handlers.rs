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

/// Those that wait, and how many are being called.
#[derive(Default)]
pub struct Handlers {
    waiting: Vec<Handler>,
    called: usize,
}

impl Handlers {
    /// None.
    pub const fn new() -> Self {
        Self {
            waiting: Vec::new(),
            called: 0,
        }
    }

    /// One more.
    pub fn add(&mut self, handler: Handler) {
        self.waiting.push(handler);
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Takes those whose condition holds, oldest first, to be called.
    pub fn take_ready(&mut self) -> Vec<Handler> {
        let ready: Vec<_> = self
            .waiting
            .extract_if(.., |handler| handler.is_ready())
            .collect();
        self.called += ready.len();
        ready
    }

    /// One of those taken was called; it comes back if it wants to be called again.
    pub fn was_called(&mut self, again: Option<Handler>) {
        self.called -= 1;
        self.waiting.extend(again);
    }

    /// Whether none is being called or could be.
    pub fn is_settled(&self) -> bool {
        self.called == 0 && !self.waiting.iter().any(Handler::is_ready)
    }

    /// What the others wait for.
    pub fn signals(&self) -> Vec<Signal> {
        self.waiting.iter().map(|handler| handler.signal).collect()
    }
}
