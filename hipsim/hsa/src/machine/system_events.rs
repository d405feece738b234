//! What the program is told of the whole system: memory faults of its kernels.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use crate::abi::status::Status;
use crate::abi::types::{AgentHandle, SystemEvent, SystemEventCallback};

/// `HSA_AMD_GPU_MEMORY_FAULT_EVENT`.
const MEMORY_FAULT: u32 = 0;
/// `HSA_AMD_MEMORY_FAULT_PAGE_NOT_PRESENT`.
const NOT_PRESENT: u32 = 1;

/// A kernel used an address without memory.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The GPU, by its number in this process.
    pub gpu: usize,
    /// The address.
    pub at: usize,
}

/// Functions of the program with the addresses of their data, the oldest first.
static HANDLERS: Mutex<Vec<(SystemEventCallback, usize)>> = Mutex::new(Vec::new());

/// Has a function called for events.
pub fn handle(callback: SystemEventCallback, data: usize) {
    let mut handlers = HANDLERS.lock().unwrap_or_else(PoisonError::into_inner);
    handlers.push((callback, data));
}

/// Tells of a fault. As with the real library, a process of which no handler takes care of it ends, and the queue's own
/// callback is not asked.
pub fn tell(fault: Fault) {
    let agent = AgentHandle::of_gpu(fault.gpu);
    let event = SystemEvent {
        kind: MEMORY_FAULT,
        agent,
        address: fault.at as u64,
        reasons: NOT_PRESENT,
    };
    // Not locked while they run: one may add another.
    let handlers = HANDLERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut is_handled = false;
    for (callback, data) in handlers {
        // SAFETY: the program gave the function and its argument for this.
        is_handled |= unsafe { callback(&raw const event, data as *mut c_void) } == Status::SUCCESS;
    }
    if !is_handled {
        eprintln!(
            "Memory access fault by GPU node-{} (Agent handle: {:#x}) on address {:#x}. Reason: Page not present or \
             supervisor privilege.",
            fault.gpu + 1,
            agent.0,
            fault.at
        );
        std::process::abort();
    }
}
