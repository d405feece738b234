//! The CUDA platform: everything that names CUDA.

mod exports;

use std::sync::atomic::AtomicUsize;

use xsched_common::platform::{EntryPoint, Platform as Name, names};
use xsched_shim_core::calls::{self, Runtime, Service, Services};
use xsched_shim_core::loader::{self, Object};
use xsched_shim_core::near;
use xsched_shim_core::page::Session;
use xsched_shim_core::platform::{Interposed, Moment, Platform};

use exports::{COUNT, EXPORTS, REAL};

/// The platform.
pub struct Cuda;

impl Platform for Cuda {
    fn is_runtime(object: &Object<'_>) -> bool {
        names::runtime(object.path) == Some(Name::Cuda) && !loader::own_contains(object)
    }

    fn exports(name: &[u8]) -> bool {
        calls::find(&EXPORTS, name).is_some()
    }

    fn replacement(name: &[u8], found: usize) -> Option<usize> {
        calls::handles::replacement::<Cuda>(name, found)
    }

    fn code() -> std::ops::Range<usize> {
        calls::code::<Cuda>()
    }

    fn introduce(session: &Session) {
        calls::devices::introduce::<Cuda>(session);
    }

    fn interposed() -> Interposed {
        interposed::functions()
    }

    // The driver has no table behind its exports: there is nothing that
    // reaches further than the dynamic linker and the look-ups.
    fn watches_arrivals() -> bool {
        false
    }

    fn prepare(_moment: Moment) {}

    fn unmapped() {
        if calls::services::is_gone::<Cuda>() {
            calls::services::forget::<Cuda>();
        }
    }
}

static SERVICES: Services = Services {
    event_create: Service::new::<Cuda>("cuEventCreate"),
    event_destroy: Service::new::<Cuda>("cuEventDestroy_v2"),
    event_record: Service::new::<Cuda>("cuEventRecord"),
    event_query: Service::new::<Cuda>("cuEventQuery"),
    event_elapsed: Service::new::<Cuda>("cuEventElapsedTime"),
    is_capturing: Service::new::<Cuda>("cuStreamIsCapturing"),
    // The driver keeps no error for later.
    peek_error: Service::none::<Cuda>(),
    take_error: Service::none::<Cuda>(),
    get_device: Service::new::<Cuda>("cuCtxGetDevice"),
    device_count: Service::new::<Cuda>("cuDeviceGetCount"),
    pci_bus_id: Service::new::<Cuda>("cuDeviceGetPCIBusId"),
    // The second version names the instance that the device is, since 11.4.
    uuids: [
        Service::new::<Cuda>("cuDeviceGetUuid"),
        Service::new::<Cuda>("cuDeviceGetUuid_v2"),
    ],
    context_device: Service::new::<Cuda>("cuCtxGetDevice_v2"),
    primary_state: Service::new::<Cuda>("cuDevicePrimaryCtxGetState"),
};

impl Runtime for Cuda {
    const PLATFORM: Name = Name::Cuda;

    /// An event without timing costs a semaphore's write; no flag makes it
    /// cheaper.
    const EVENT_FLAGS: &'static [u32] = &[0];

    #[inline(always)]
    fn rows() -> &'static [EntryPoint] {
        near!(EXPORTS, [EntryPoint; COUNT])
    }

    #[inline(always)]
    fn real() -> &'static [AtomicUsize] {
        near!(REAL, [AtomicUsize; COUNT])
    }

    fn own_address(index: usize) -> Option<usize> {
        exports::own_address(index)
    }

    fn services() -> &'static Services {
        &SERVICES
    }

    #[inline(always)]
    fn passes_later(_index: usize) -> bool {
        false
    }
}

#[cfg(not(test))]
mod interposed {
    xsched_shim_core::interpose_lookups!(super::Cuda);
    xsched_shim_core::export_hints!();
}

#[cfg(test)]
mod interposed {
    /// Unit tests export nothing.
    pub fn functions() -> super::Interposed {
        [(b"dlsym", 0), (b"dlvsym", 0), (b"dlclose", 0)]
    }
}
