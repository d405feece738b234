//! Launches as before CUDA 4.0: a function has a block shape and a buffer of arguments, set call by call.

use std::collections::HashMap;
use std::ffi::{c_int, c_uint, c_void};
use std::sync::{Mutex, PoisonError};

use crate::code::{Code, Result};
use crate::launch::Launch;
use crate::support::api;

type Handle = *mut c_void;

#[derive(Clone, Default)]
struct State {
    block: [c_uint; 3],
    shared: c_uint,
    arguments: Vec<u8>,
}

static STATES: Mutex<Option<HashMap<usize, State>>> = Mutex::new(None);

/// Most bytes of arguments that a kernel takes.
const MOST: usize = 4096;

fn with<T>(function: Handle, then: impl FnOnce(&mut State) -> T) -> Result<T> {
    if function.is_null() {
        return Err(Code::INVALID_HANDLE);
    }
    let mut states = STATES.lock().unwrap_or_else(PoisonError::into_inner);
    let states = states.get_or_insert_with(HashMap::new);
    Ok(then(states.entry(function as usize).or_default()))
}

fn set(function: Handle, offset: c_int, bytes: &[u8]) -> Result {
    let begin = usize::try_from(offset).map_err(|_| Code::INVALID_VALUE)?;
    let end = begin.saturating_add(bytes.len());
    if end > MOST {
        return Err(Code::INVALID_VALUE);
    }
    with(function, |state| {
        if state.arguments.len() < end {
            state.arguments.resize(end, 0);
        }
        state.arguments[begin..end].copy_from_slice(bytes);
    })
}

/// Tags of the packed buffer of arguments, and of its size.
const BUFFER: usize = 1;
const SIZE: usize = 2;

unsafe fn queue(function: Handle, grid: [c_uint; 3], stream: Handle) -> Result {
    let mut state = with(function, |state| state.clone())?;
    let mut size = state.arguments.len();
    let mut extra = [
        BUFFER as Handle,
        state.arguments.as_mut_ptr().cast(),
        SIZE as Handle,
        (&raw mut size).cast(),
        std::ptr::null_mut(),
    ];
    let launch = Launch {
        function,
        grid,
        block: state.block,
        shared: state.shared,
        stream,
        values: std::ptr::null_mut(),
        extra: extra.as_mut_ptr(),
    };
    // SAFETY: hipsim copies the arguments in the call.
    unsafe { launch.queue() }
}

fn grid(width: c_int, height: c_int) -> Result<[c_uint; 3]> {
    match (c_uint::try_from(width), c_uint::try_from(height)) {
        (Ok(x), Ok(y)) => Ok([x, y, 1]),
        _ => Err(Code::INVALID_VALUE),
    }
}

api! {
    fn block_shape(function: Handle, x: c_int, y: c_int, z: c_int) {
        let [x, y, z] = [x, y, z].map(|n| c_uint::try_from(n).unwrap_or(0));
        with(function, |state| state.block = [x, y, z])
    }

    fn shared_size(function: Handle, bytes: c_uint) { with(function, |state| state.shared = bytes) }

    fn param_size(function: Handle, bytes: c_uint) {
        if bytes as usize > MOST {
            return Err(Code::INVALID_VALUE);
        }
        with(function, |state| state.arguments.resize(bytes as usize, 0))
    }

    fn param_int(function: Handle, offset: c_int, value: c_uint) {
        set(function, offset, &value.to_ne_bytes())
    }

    fn param_float(function: Handle, offset: c_int, value: f32) {
        set(function, offset, &value.to_ne_bytes())
    }

    fn param_bytes(function: Handle, offset: c_int, from: *const u8, count: c_uint) {
        if from.is_null() || count as usize > MOST {
            return Err(Code::INVALID_VALUE);
        }
        set(function, offset, std::slice::from_raw_parts(from, count as usize))
    }

    fn launch(function: Handle) { queue(function, [1, 1, 1], std::ptr::null_mut()) }

    fn launch_grid(function: Handle, width: c_int, height: c_int) {
        queue(function, grid(width, height)?, std::ptr::null_mut())
    }

    fn launch_grid_async(function: Handle, width: c_int, height: c_int, stream: Handle) {
        queue(function, grid(width, height)?, stream)
    }
}
