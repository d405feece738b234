//! The HIP platform: everything that names HIP.

mod commands;
mod devices;
mod dispatch;
mod exports;
mod fence;
mod forward;
mod frame;
mod handles;
mod hooks;
mod runtime;
mod streams;
mod strict;
#[cfg(not(test))]
mod trampoline;

/// Prepares the shim for this platform, once.
pub fn start() {
    crate::lifecycle::start(exports::code);
}

/// `hipSuccess`.
const SUCCESS: i32 = 0;
/// `hipErrorNotReady`: work is still in flight.
const NOT_READY: i32 = 600;
/// `hipErrorNotSupported`: what a call returns that no runtime implements.
const NOT_SUPPORTED: i32 = 801;
