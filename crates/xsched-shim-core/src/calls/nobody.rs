//! A runtime that is never mapped.

use std::sync::atomic::AtomicUsize;

use xsched_common::platform::{EntryPoint, Platform as Name};

use super::{Runtime, Service, Services};
use crate::loader::Object;
use crate::page::Session;
use crate::platform::{Interposed, Moment, Platform};

pub struct Nobody;

impl Platform for Nobody {
    fn is_runtime(_object: &Object<'_>) -> bool {
        false
    }

    fn exports(_name: &[u8]) -> bool {
        false
    }

    fn replacement(_name: &[u8], _found: usize) -> Option<usize> {
        None
    }

    fn code() -> std::ops::Range<usize> {
        0..0
    }

    fn introduce(_session: &Session) {}

    fn interposed() -> Interposed {
        [(b"dlsym", 0), (b"dlvsym", 0), (b"dlclose", 0)]
    }

    fn watches_arrivals() -> bool {
        false
    }

    fn prepare(_moment: Moment) {}

    fn unmapped() {}
}

static SERVICES: Services = Services {
    event_create: Service::none::<Nobody>(),
    event_destroy: Service::none::<Nobody>(),
    event_record: Service::none::<Nobody>(),
    event_query: Service::none::<Nobody>(),
    event_elapsed: Service::none::<Nobody>(),
    is_capturing: Service::none::<Nobody>(),
    peek_error: Service::none::<Nobody>(),
    take_error: Service::none::<Nobody>(),
    get_device: Service::none::<Nobody>(),
    device_count: Service::none::<Nobody>(),
    pci_bus_id: Service::none::<Nobody>(),
    uuids: [const { Service::none::<Nobody>() }; 2],
    context_device: Service::none::<Nobody>(),
    primary_state: Service::none::<Nobody>(),
};

impl Runtime for Nobody {
    const PLATFORM: Name = Name::ALL[0];
    const EVENT_FLAGS: &'static [u32] = &[0];

    fn rows() -> &'static [EntryPoint] {
        &[]
    }

    fn real() -> &'static [AtomicUsize] {
        &[]
    }

    fn own_address(_index: usize) -> Option<usize> {
        None
    }

    fn services() -> &'static Services {
        &SERVICES
    }

    fn passes_later(_index: usize) -> bool {
        false
    }
}
