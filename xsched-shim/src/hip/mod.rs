//! The HIP platform: everything that names HIP.

mod dispatch;
mod exports;
mod queues;
mod strict;

use std::sync::atomic::AtomicUsize;

use xsched_common::page::QueuePriority;
use xsched_common::platform::{EntryPoint, Platform as Name, names};
use xsched_shim_core::calls::{self, Runtime, Service, Services};
use xsched_shim_core::loader::{self, Object};
use xsched_shim_core::near;
use xsched_shim_core::options::Options;
use xsched_shim_core::page::Session;
use xsched_shim_core::platform::{Interposed, Moment, Platform};

use exports::{EXPORTS, REAL, TABLED};

/// The platform.
pub struct Hip;

/// Whether an object is a HIP runtime, by its file name.
fn is_runtime(object: &Object<'_>) -> bool {
    names::runtime(object.path) == Some(Name::Hip) && !loader::own_contains(object)
}

impl Platform for Hip {
    fn is_runtime(object: &Object<'_>) -> bool {
        is_runtime(object)
    }

    fn exports(name: &[u8]) -> bool {
        calls::find(&EXPORTS, name).is_some()
    }

    fn replacement(name: &[u8], found: usize) -> Option<usize> {
        calls::handles::replacement::<Hip>(name, found)
    }

    fn code() -> std::ops::Range<usize> {
        calls::code::<Hip>()
    }

    fn introduce(session: &Session) {
        calls::devices::introduce::<Hip>(session);
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
        queues::forget_unmapped();
        if calls::services::is_gone::<Hip>() {
            strict::forget();
            calls::services::forget::<Hip>();
        }
    }

    fn set_queue_priority(priority: QueuePriority) {
        queues::set_priority(priority);
    }
}

/// `hipErrorNotReady` and other numbers are those of [`calls`].
static SERVICES: Services = Services {
    event_create: Service::new::<Hip>("hipEventCreateWithFlags"),
    event_destroy: Service::new::<Hip>("hipEventDestroy"),
    event_record: Service::new::<Hip>("hipEventRecord"),
    event_query: Service::new::<Hip>("hipEventQuery"),
    event_elapsed: Service::new::<Hip>("hipEventElapsedTime"),
    is_capturing: Service::new::<Hip>("hipStreamIsCapturing"),
    peek_error: Service::new::<Hip>("hipPeekAtLastError"),
    take_error: Service::new::<Hip>("hipGetLastError"),
    get_device: Service::new::<Hip>("hipGetDevice"),
    device_count: Service::new::<Hip>("hipGetDeviceCount"),
    pci_bus_id: Service::new::<Hip>("hipDeviceGetPCIBusId"),
    // A part of a device has an address of its own.
    uuids: [const { Service::none::<Hip>() }; 2],
    context_device: Service::none::<Hip>(),
    primary_state: Service::none::<Hip>(),
};

impl Runtime for Hip {
    const PLATFORM: Name = Name::Hip;

    /// `hipEventDisableSystemFence` (ROCm 5.5 and later),
    /// `hipEventReleaseToDevice`. Such an event without timing is one barrier
    /// packet, and asking about it one load of its signal (ROCclr).
    const EVENT_FLAGS: &'static [u32] = &[0x2000_0000, 0x4000_0000, 0];

    #[inline(always)]
    fn rows() -> &'static [EntryPoint] {
        near!(EXPORTS, [EntryPoint; TABLED])
    }

    #[inline(always)]
    fn real() -> &'static [AtomicUsize] {
        near!(REAL, [AtomicUsize; 2 * TABLED])
    }

    fn own_address(index: usize) -> Option<usize> {
        exports::own_address(index)
    }

    fn services() -> &'static Services {
        &SERVICES
    }

    #[inline(always)]
    fn passes_later(index: usize) -> bool {
        strict::passes_later(index)
    }
}

#[cfg(not(test))]
mod interposed {
    xsched_shim_core::interpose_lookups!(super::Hip);
    xsched_shim_core::export_hints!();
}

#[cfg(test)]
mod interposed {
    /// Unit tests export nothing.
    pub fn functions() -> super::Interposed {
        [(b"dlsym", 0), (b"dlvsym", 0), (b"dlclose", 0)]
    }
}
