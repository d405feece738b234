//! The real runtime: the libamdhip64 that is mapped already.
//!
//! Never a second copy (its contexts would know nothing of the program's),
//! never ourselves. Of several mapped runtimes it is the first in load
//! order, which is the one that the linker binds the program to.

use std::ops::ControlFlow;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use xsched_common::platform::{Platform, names, symbol_node};
use xsched_shim_core::Moment;
use xsched_shim_core::loader::{self, Object, Version};
use xsched_shim_core::options::Options;

use super::NOT_SUPPORTED;
use super::exports::{EXPORTS, REAL, TABLED, forget_real};

/// Whether an object is a HIP runtime, by its file name.
pub fn is_runtime(object: &Object<'_>) -> bool {
    names::runtime(object.path) == Some(Platform::Hip) && !loader::own_contains(object)
}

/// The runtime's definition of `symbol`.
fn find(symbol: &str, node: Option<&str>) -> Option<usize> {
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
pub fn real(index: usize) -> Option<usize> {
    let slot = REAL.get(index)?;
    match slot.load(Relaxed) {
        0 => {
            let export = EXPORTS.get(index)?;
            let found = find(export.symbol, export.node)?;
            slot.store(found, Relaxed);
            Some(found)
        }
        known => Some(known),
    }
}

/// The same, or what the table led to, or a function that reports that there
/// is none.
#[inline(always)]
pub fn real_or_error(index: usize) -> usize {
    match REAL.get(index).map(|slot| slot.load(Relaxed)) {
        Some(known) if known != 0 => known,
        _ => resolve(index),
    }
}

#[cold]
#[inline(never)]
fn resolve(index: usize) -> usize {
    super::strict::install(Options::get(), Moment::Use);
    real(index).unwrap_or(not_supported as *const () as usize)
}

extern "C" fn not_supported() -> i32 {
    NOT_SUPPORTED
}

/// A function of the runtime that the shim itself uses.
pub struct Service {
    symbol: &'static str,
    address: AtomicUsize,
}

/// Marks a service that the runtime lacks.
const ABSENT: usize = 1;

impl Service {
    const fn new(symbol: &'static str) -> Service {
        Service {
            symbol,
            address: AtomicUsize::new(0),
        }
    }

    /// Its address, if the runtime has it.
    pub fn address(&self) -> Option<usize> {
        match self.address.load(Acquire) {
            0 => {
                let found = find(self.symbol, symbol_node(self.symbol));
                self.address.store(found.unwrap_or(ABSENT), Release);
                found
            }
            ABSENT => None,
            known => Some(known),
        }
    }
}

/// `hipError_t hipEventCreateWithFlags(hipEvent_t *, unsigned)`
pub static EVENT_CREATE: Service = Service::new("hipEventCreateWithFlags");
/// `hipError_t hipEventDestroy(hipEvent_t)`
pub static EVENT_DESTROY: Service = Service::new("hipEventDestroy");
/// `hipError_t hipEventRecord(hipEvent_t, hipStream_t)`
pub static EVENT_RECORD: Service = Service::new("hipEventRecord");
/// `hipError_t hipEventQuery(hipEvent_t)`
pub static EVENT_QUERY: Service = Service::new("hipEventQuery");
/// `hipError_t hipEventElapsedTime(float *, hipEvent_t, hipEvent_t)`
pub static EVENT_ELAPSED: Service = Service::new("hipEventElapsedTime");
/// `hipError_t hipStreamIsCapturing(hipStream_t, hipStreamCaptureStatus *)`
pub static IS_CAPTURING: Service = Service::new("hipStreamIsCapturing");
/// `hipError_t hipPeekAtLastError()`
pub static PEEK_ERROR: Service = Service::new("hipPeekAtLastError");
/// `hipError_t hipGetLastError()`
pub static TAKE_ERROR: Service = Service::new("hipGetLastError");
/// `hipError_t hipGetDevice(int *)`
pub static GET_DEVICE: Service = Service::new("hipGetDevice");
/// `hipError_t hipGetDeviceCount(int *)`
pub static DEVICE_COUNT: Service = Service::new("hipGetDeviceCount");
/// `hipError_t hipDeviceGetPCIBusId(char *, int, int)`
pub static PCI_BUS_ID: Service = Service::new("hipDeviceGetPCIBusId");

static SERVICES: [&Service; 11] = [
    &EVENT_CREATE,
    &EVENT_DESTROY,
    &EVENT_RECORD,
    &EVENT_QUERY,
    &EVENT_ELAPSED,
    &IS_CAPTURING,
    &PEEK_ERROR,
    &TAKE_ERROR,
    &GET_DEVICE,
    &DEVICE_COUNT,
    &PCI_BUS_ID,
];

/// Calls a service with the prototype given, as
/// `call!(SERVICE, fn(A, B) -> R, a, b)`; `None` when the runtime lacks it.
macro_rules! call {
    ($service:expr, fn($($type:ty),*) -> $result:ty $(, $argument:expr)*) => {
        $service.address().map(|address| {
            // SAFETY: the prototype is the one in HIP's header, which stands
            // beside the service; pointers passed are valid for the call. The
            // thread may end in there.
            unsafe {
                let function: unsafe extern "C-unwind" fn($($type),*) -> $result =
                    std::mem::transmute(address);
                function($($argument),*)
            }
        })
    };
}
pub(super) use call;

/// Forgets all addresses if the runtime is not mapped any more, or another
/// one is.
pub fn recheck() {
    let known = REAL
        .iter()
        .take(TABLED)
        .map(|slot| slot.load(Relaxed))
        .find(|&address| address != 0);
    if let Some(address) = known
        && !loader::object_at(address, is_runtime).unwrap_or(false)
    {
        super::strict::forget();
        forget_real();
        for service in SERVICES {
            service.address.store(0, Release);
        }
    }
}

/// Keeps "absent" from outliving a look-up that came before the runtime was
/// mapped.
pub fn forget_absences() {
    for service in SERVICES {
        let _ = service
            .address
            .compare_exchange(ABSENT, 0, Release, Relaxed);
    }
}
