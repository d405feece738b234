//! The HIP platform: everything that names HIP.

#[cfg(not(test))]
mod arrivals;
mod commands;
mod devices;
mod dispatch;
mod exports;
mod fence;
mod forward;
mod frame;
mod handles;
mod hidden;
mod hooks;
mod host_functions;
mod runtime;
mod streams;
mod strict;
#[cfg(not(test))]
mod trampoline;

/// Prepares the shim for this platform, once.
pub fn start() {
    crate::lifecycle::start(exports::code);
    #[cfg(not(test))]
    arrivals::watch();
}

/// `hipSuccess`.
const SUCCESS: i32 = 0;
/// `hipErrorNotReady`: work is still in flight.
const NOT_READY: i32 = 600;
/// `hipErrorNotSupported`: what a call returns that no runtime implements.
const NOT_SUPPORTED: i32 = 801;
