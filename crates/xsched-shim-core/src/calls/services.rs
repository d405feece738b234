//! The real runtime: the one that is mapped already.
//!
//! Never a second copy (its contexts would know nothing of the program's),
//! never ourselves. Of several mapped runtimes it is the first in load
//! order, which is the one that the linker binds the program to.

use std::ops::ControlFlow;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use xsched_common::platform::symbol_node;

use super::{NOT_SUPPORTED, Runtime};
use crate::loader::{self, Object, Version};
use crate::platform::{Moment, Platform};

/// The definition of `symbol` in a platform's runtime.
fn find(is_runtime: fn(&Object<'_>) -> bool, symbol: &str, node: Option<&str>) -> Option<usize> {
    if symbol.is_empty() {
        return None;
    }
    loader::visit(|object| {
        if !is_runtime(object) {
            return ControlFlow::Continue(());
        }
        let versioned = node.and_then(|node| {
            loader::lookup(object, symbol.as_bytes(), Version::Node(node.as_bytes()))
        });
        ControlFlow::Break(
            versioned.or_else(|| loader::lookup(object, symbol.as_bytes(), Version::Default)),
        )
    })
    .flatten()
}

/// The runtime's function behind an export, looked up on first use; `None`
/// when no runtime is mapped or the mapped one lacks it.
pub fn real<R: Runtime>(index: usize) -> Option<usize> {
    let slot = R::real().get(index)?;
    match slot.load(Relaxed) {
        0 => {
            let export = R::rows().get(index)?;
            let found = find(R::is_runtime, export.symbol, export.node)?;
            slot.store(found, Relaxed);
            Some(found)
        }
        known => Some(known),
    }
}

/// The same, or what the table led to, or a function that reports that there
/// is none.
#[inline(always)]
pub fn real_or_error<R: Runtime>(index: usize) -> usize {
    match R::real().get(index).map(|slot| slot.load(Relaxed)) {
        Some(known) if known != 0 => known,
        _ => resolve::<R>(index),
    }
}

#[cold]
#[inline(never)]
fn resolve<R: Runtime>(index: usize) -> usize {
    R::prepare(Moment::Use);
    real::<R>(index).unwrap_or(not_supported as *const () as usize)
}

extern "C" fn not_supported() -> i32 {
    NOT_SUPPORTED
}

/// Whether the runtime whose functions are known is not mapped any more, or
/// another one is.
pub fn is_gone<R: Runtime>() -> bool {
    let mut exports = R::real().iter().take(R::rows().len());
    exports
        .find_map(|slot| match slot.load(Relaxed) {
            0 => None,
            known => Some(!loader::object_at(known, R::is_runtime).unwrap_or(false)),
        })
        .unwrap_or(false)
}

/// Forgets all addresses in the runtime.
pub fn forget<R: Runtime>() {
    for slot in R::real() {
        slot.store(0, Relaxed);
    }
    for service in R::services().all() {
        service.address.store(0, Release);
    }
}

/// A function of the runtime that the shim itself uses.
pub struct Service {
    symbol: &'static str,
    is_runtime: fn(&Object<'_>) -> bool,
    address: AtomicUsize,
}

/// Marks a service that the runtime lacks.
const ABSENT: usize = 1;

impl Service {
    /// The function of this name in a platform's runtime.
    pub const fn new<P: Platform>(symbol: &'static str) -> Service {
        Service {
            symbol,
            is_runtime: P::is_runtime,
            address: AtomicUsize::new(0),
        }
    }

    /// What the platform has no function for.
    pub const fn none<P: Platform>() -> Service {
        Service {
            symbol: "",
            is_runtime: P::is_runtime,
            address: AtomicUsize::new(ABSENT),
        }
    }

    /// Its address, if the runtime has it.
    pub fn address(&self) -> Option<usize> {
        match self.address.load(Acquire) {
            0 => {
                let node = symbol_node(self.symbol);
                let found = find(self.is_runtime, self.symbol, node);
                self.address.store(found.unwrap_or(ABSENT), Release);
                found
            }
            ABSENT => None,
            known => Some(known),
        }
    }
}

/// What the shim itself calls, with the prototypes that all runtimes give them.
pub struct Services {
    /// `int (event *, unsigned flags)`
    pub event_create: Service,
    /// `int (event)`
    pub event_destroy: Service,
    /// `int (event, stream)`
    pub event_record: Service,
    /// `int (event)`
    pub event_query: Service,
    /// `int (float *ms, event, event)`
    pub event_elapsed: Service,
    /// `int (stream, int *status)`
    pub is_capturing: Service,
    /// `int (void)`: the error that waits for the program.
    pub peek_error: Service,
    /// `int (void)`: the same, and it waits no more.
    pub take_error: Service,
    /// `int (int *device)`: the thread's.
    pub get_device: Service,
    /// `int (int *count)`
    pub device_count: Service,
    /// `int (char *text, int length, int device)`
    pub pci_bus_id: Service,
    /// `int (char uuid[16], int device)`: of the whole device, and of the part of
    /// it that this one is.
    pub uuids: [Service; 2],
    /// `int (int *device, context)`
    pub context_device: Service,
    /// `int (int device, unsigned *flags, int *active)`: of its primary context.
    pub primary_state: Service,
}

impl Services {
    fn all(&self) -> [&Service; 15] {
        let Services {
            event_create,
            event_destroy,
            event_record,
            event_query,
            event_elapsed,
            is_capturing,
            peek_error,
            take_error,
            get_device,
            device_count,
            pci_bus_id,
            uuids: [whole, part],
            context_device,
            primary_state,
        } = self;
        [
            event_create,
            event_destroy,
            event_record,
            event_query,
            event_elapsed,
            is_capturing,
            peek_error,
            take_error,
            get_device,
            device_count,
            pci_bus_id,
            whole,
            part,
            context_device,
            primary_state,
        ]
    }
}

/// Calls a service with the prototype given, as
/// `call!(SERVICE, fn(A, B) -> R, a, b)`; `None` when the runtime lacks it.
macro_rules! call {
    ($service:expr, fn($($type:ty),*) -> $result:ty $(, $argument:expr)*) => {
        $service.address().map(|address| {
            // SAFETY: the prototype is the one that stands beside the service;
            // pointers passed are valid for the call. The thread may end in
            // there.
            unsafe {
                let function: unsafe extern "C-unwind" fn($($type),*) -> $result =
                    std::mem::transmute(address);
                function($($argument),*)
            }
        })
    };
}
pub(super) use call;

/// Keeps "absent" from outliving a look-up that came before the runtime was
/// mapped.
pub fn forget_absences(services: &Services) {
    for service in services.all() {
        let _ = service
            .address
            .compare_exchange(ABSENT, 0, Release, Relaxed);
    }
}
