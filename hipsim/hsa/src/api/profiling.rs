//! When kernels and copies began and ended. Times are kept always; turning that on and off changes nothing.

use crate::abi::call::{api, put};
use crate::abi::status::Status;
use crate::abi::types::{AgentHandle, QueueData, SignalHandle, Times};
use crate::machine::signal::Signal;

api! {
    /// `hsa_amd_profiling_set_profiler_enabled`.
    fn enable(queue: *const QueueData, _enable: i32) {
        if queue.is_null() { Err(Status::INVALID_QUEUE) } else { Ok(()) }
    }

    /// `hsa_amd_profiling_async_copy_enable`.
    fn enable_copies(_enable: bool) {
        Ok(())
    }

    /// `hsa_amd_profiling_get_dispatch_time`.
    fn dispatch_time(_agent: AgentHandle, signal: SignalHandle, times: *mut Times) {
        let (start, end) = Signal::of(signal).ok_or(Status::INVALID_SIGNAL)?.times();
        put(times, Times { start, end })
    }

    /// `hsa_amd_profiling_get_async_copy_time`.
    fn copy_time(signal: SignalHandle, times: *mut Times) {
        let (start, end) = Signal::of(signal).ok_or(Status::INVALID_SIGNAL)?.times();
        put(times, Times { start, end })
    }
}
