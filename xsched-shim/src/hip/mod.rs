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
mod host_functions;
mod runtime;
mod streams;
mod strict;
#[cfg(not(test))]
mod trampoline;

use xsched_shim_core::loader::Object;
use xsched_shim_core::options::Options;
use xsched_shim_core::page::Session;
use xsched_shim_core::platform::{Interposed, Moment, Platform};

/// `hipSuccess`.
const SUCCESS: i32 = 0;
/// `hipErrorNotReady`: work is still in flight.
const NOT_READY: i32 = 600;
/// `hipErrorNotSupported`: what a call returns that no runtime implements.
const NOT_SUPPORTED: i32 = 801;

/// The platform.
pub struct Hip;

impl Platform for Hip {
    fn is_runtime(object: &Object<'_>) -> bool {
        runtime::is_runtime(object)
    }

    fn exports(name: &[u8]) -> bool {
        exports::find(name).is_some()
    }

    fn replacement(name: &[u8], found: usize) -> Option<usize> {
        handles::replacement(name, found)
    }

    fn code() -> std::ops::Range<usize> {
        exports::code()
    }

    fn introduce(session: &Session) {
        devices::introduce(session);
    }

    fn interposed() -> Interposed {
        interposed::functions()
    }

    fn watches_arrivals() -> bool {
        strict::is_wanted(Options::get())
    }

    fn prepare(moment: Moment) {
        strict::install(Options::get(), moment);
    }

    fn unmapped() {
        runtime::recheck();
    }
}

#[cfg(not(test))]
mod interposed {
    xsched_shim_core::interpose_lookups!(super::Hip);
}

#[cfg(test)]
mod interposed {
    /// Unit tests export nothing.
    pub fn functions() -> super::Interposed {
        [(b"dlsym", 0), (b"dlvsym", 0), (b"dlclose", 0)]
    }
}
