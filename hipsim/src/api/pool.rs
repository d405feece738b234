//! Stream-ordered allocation. Memory is there at once; a free takes effect at its place in the stream.

use std::ffi::{c_int, c_void};

use super::memory::malloc;
use super::support::{DefaultStream, put, run, stream, submit};
use crate::abi::error::HipError;
use crate::abi::types::StreamHandle;
use crate::runtime;
use crate::runtime::command::{Address, Command, External};
use crate::runtime::devices::DeviceIndex;
use crate::runtime::memory;

/// The one pool's handle: a never mapped address.
const POOL: usize = 0x56 << 40;

pub unsafe extern "C" fn malloc_async(at: *mut *mut c_void, size: usize, of: StreamHandle) -> i32 {
    let known = run(|| {
        let (runtime, id) = stream(of, DefaultStream::Legacy)?;
        runtime
            .lock()
            .streams
            .get(id)
            .map(|_| ())
            .ok_or(HipError::ContextIsDestroyed)
    });
    if known != crate::abi::error::SUCCESS {
        return known;
    }
    // SAFETY: the program's pointer for the result.
    unsafe { malloc(at, size) }
}

pub unsafe extern "C" fn malloc_from_pool_async(
    at: *mut *mut c_void,
    size: usize,
    _pool: *mut c_void,
    of: StreamHandle,
) -> i32 {
    // SAFETY: the same arguments.
    unsafe { malloc_async(at, size, of) }
}

pub unsafe extern "C" fn free_async(pointer: *mut c_void, of: StreamHandle) -> i32 {
    run(|| {
        let start = Address::from(pointer);
        if memory::starting_at(start).is_none() {
            return Err(HipError::InvalidValue);
        }
        submit(
            of,
            DefaultStream::Legacy,
            &Command::External(External::Free(start)),
        )
    })
}

/// Both questions for a device's pool have the same answer.
pub unsafe extern "C" fn of_device(at: *mut *mut c_void, device: c_int) -> i32 {
    run(|| {
        runtime::on(DeviceIndex::new(device)?)?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, POOL as *mut c_void) }
    })
}
