//! Copies of a run of bytes.

use std::ffi::{c_int, c_void};

use super::support::{DefaultStream, run, submit, submit_and_wait};
use crate::abi::error::{HipError, Result};
use crate::abi::types::StreamHandle;
use crate::runtime::command::{Address, Block, Command, External, Place};

/// Whether a copy returns when it is done or when it is queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    Awaited,
    Queued,
}

/// Largest `hipMemcpyKind`: the host-to-host .. default kinds, and device-to-device without compute units (1024).
pub fn check_kind(kind: c_int) -> Result {
    if (0..=4).contains(&kind) || kind == 1024 {
        Ok(())
    } else {
        Err(HipError::InvalidMemcpyDirection)
    }
}

/// Queues an external command as the call demands.
///
/// # Errors
/// No such stream, or it is capturing and the call waits.
pub fn perform(
    work: External,
    of: StreamHandle,
    default: DefaultStream,
    completion: Completion,
) -> Result {
    let command = Command::External(work);
    match completion {
        Completion::Awaited => submit_and_wait(of, default, &command),
        Completion::Queued => submit(of, default, &command),
    }
}

/// Copies `size` bytes.
///
/// # Errors
/// Null pointers, an unknown kind, or as [`perform`].
pub fn linear(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
    of: StreamHandle,
    default: DefaultStream,
    completion: Completion,
) -> Result {
    perform(linear_work(to, from, size, kind)?, of, default, completion)
}

/// The copy of `size` bytes.
///
/// # Errors
/// Null pointers or an unknown kind.
pub fn linear_work(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
) -> Result<External> {
    check_kind(kind)?;
    if size > 0 && (to.is_null() || from.is_null()) {
        return Err(HipError::InvalidValue);
    }
    let place = |start| Place {
        start,
        row_pitch: size,
        plane_pitch: size,
    };
    let block = Block {
        width: size,
        rows: 1,
        planes: 1,
    };
    Ok(External::Copy {
        from: place(Address::from(from)),
        to: place(Address::from(to)),
        block,
    })
}

const NULL: StreamHandle = std::ptr::null_mut();
const DEFAULT_KIND: c_int = 4;

pub unsafe extern "C" fn memcpy(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            kind,
            NULL,
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn memcpy_spt(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            kind,
            NULL,
            DefaultStream::PerThread,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn memcpy_async(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::Legacy,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn memcpy_async_spt(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::PerThread,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn memcpy_with_stream(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: c_int,
    of: StreamHandle,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            kind,
            of,
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

/// The three forms with the direction in their name differ in nothing else here.
pub unsafe extern "C" fn driver_copy(to: *mut c_void, from: *const c_void, size: usize) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            DEFAULT_KIND,
            NULL,
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn driver_copy_async(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    of: StreamHandle,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            DEFAULT_KIND,
            of,
            DefaultStream::Legacy,
            Completion::Queued,
        )
    })
}

pub unsafe extern "C" fn memcpy_peer(
    to: *mut c_void,
    _to_device: c_int,
    from: *const c_void,
    _from_device: c_int,
    size: usize,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            DEFAULT_KIND,
            NULL,
            DefaultStream::Legacy,
            Completion::Awaited,
        )
    })
}

pub unsafe extern "C" fn memcpy_peer_async(
    to: *mut c_void,
    _to_device: c_int,
    from: *const c_void,
    _from_device: c_int,
    size: usize,
    of: StreamHandle,
) -> i32 {
    run(|| {
        linear(
            to,
            from,
            size,
            DEFAULT_KIND,
            of,
            DefaultStream::Legacy,
            Completion::Queued,
        )
    })
}
