//! Occupancy questions. The answers are those of a kernel that uses few registers and no shared memory.

use std::ffi::{c_int, c_uint, c_void};

use super::device::COMPUTE_UNITS;
use super::launch::MAX_BLOCK;
use super::support::{put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::properties::THREADS_PER_UNIT;

fn blocks(block: c_int) -> Result<c_int> {
    if block <= 0 || block as u32 > MAX_BLOCK {
        return Err(HipError::InvalidValue);
    }
    // Blocks occupy whole waves of 64 threads.
    Ok(THREADS_PER_UNIT / (block as u32).next_multiple_of(64) as c_int)
}

pub unsafe extern "C" fn active_blocks(
    at: *mut c_int,
    _kernel: *const c_void,
    block: c_int,
    _shared: usize,
) -> i32 {
    // SAFETY: the program's pointer for the result.
    run(|| unsafe { put(at, blocks(block)?) })
}

pub unsafe extern "C" fn active_blocks_with_flags(
    at: *mut c_int,
    kernel: *const c_void,
    block: c_int,
    shared: usize,
    _flags: c_uint,
) -> i32 {
    // SAFETY: the same arguments.
    unsafe { active_blocks(at, kernel, block, shared) }
}

pub unsafe extern "C" fn best_block(
    grid: *mut c_int,
    block: *mut c_int,
    _kernel: *const c_void,
    _shared: usize,
    limit: c_int,
) -> i32 {
    run(|| {
        let size = if limit > 0 {
            limit.min(MAX_BLOCK as c_int)
        } else {
            MAX_BLOCK as c_int
        };
        // SAFETY: as above.
        unsafe { put(grid, blocks(size)? * COMPUTE_UNITS).and_then(|()| put(block, size)) }
    })
}
