//! Occupancy questions. The answers are those of a kernel that uses few registers and no shared memory.

use std::ffi::{c_int, c_void};

use super::device::COMPUTE_UNITS;
use super::launch::MAX_BLOCK;
use super::support::{api, put};
use crate::abi::error::{HipError, Result};
use crate::abi::properties::THREADS_PER_UNIT;

fn blocks(block: c_int) -> Result<c_int> {
    if block <= 0 || block as u32 > MAX_BLOCK {
        return Err(HipError::InvalidValue);
    }
    // Blocks occupy whole waves of 64 threads.
    Ok(THREADS_PER_UNIT / (block as u32).next_multiple_of(64) as c_int)
}

api! {
    fn active_blocks(at: *mut c_int, _kernel: *const c_void, block: c_int, _shared: usize) {
        put(at, blocks(block)?)
    }

    fn best_block(grid: *mut c_int, block: *mut c_int, _kernel: *const c_void, _shared: usize, limit: c_int) {
        let size = if limit > 0 {
            limit.min(MAX_BLOCK as c_int)
        } else {
            MAX_BLOCK as c_int
        };
        put(grid, blocks(size)? * COMPUTE_UNITS).and_then(|()| put(block, size))
    }
}
