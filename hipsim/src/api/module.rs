//! The module API and questions about functions.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::launch::{MAX_BLOCK, by_handle, by_stub};
use super::support::{put, run};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{FuncAttributes, FunctionHandle, ModuleHandle};
use crate::options;
use crate::runtime::code_object::{self, Contents};
use crate::runtime::kernels::{self, Code};
use crate::runtime::{self, devices};

unsafe fn name_of<'a>(name: *const c_char) -> Result<&'a str> {
    if name.is_null() {
        return Err(HipError::InvalidValue);
    }
    // SAFETY: a C string of the program.
    unsafe { CStr::from_ptr(name) }
        .to_str()
        .map_err(|_| HipError::NotFound)
}

fn add(image: &[u8]) -> Result<ModuleHandle> {
    match code_object::read(image, &options::get().architecture)? {
        Contents::Kernels(names) => Ok(kernels::add_module(Some(names), Code::Runs)),
        Contents::Anything => Ok(kernels::add_module(None, Code::Runs)),
    }
}

pub unsafe extern "C" fn load(at: *mut ModuleHandle, path: *const c_char) -> i32 {
    run(|| {
        runtime::get()?;
        // SAFETY: the program's string and pointer for the result.
        unsafe {
            let image = std::fs::read(name_of(path)?).map_err(|_| HipError::FileNotFound)?;
            put(at, add(&image)?)
        }
    })
}

pub unsafe extern "C" fn load_data(at: *mut ModuleHandle, image: *const u8) -> i32 {
    run(|| {
        runtime::get()?;
        if image.is_null() {
            return Err(HipError::InvalidValue);
        }
        // SAFETY: the API takes an image without its size, which its own headers tell.
        unsafe {
            let size = code_object::size_in_memory(image).ok_or(HipError::InvalidImage)?;
            put(at, add(std::slice::from_raw_parts(image, size))?)
        }
    })
}

/// The options are for a compiler that is not there.
pub unsafe extern "C" fn load_data_with_options(
    at: *mut ModuleHandle,
    image: *const u8,
    _count: c_uint,
    _options: *mut c_int,
    _values: *mut *mut c_void,
) -> i32 {
    // SAFETY: the same arguments.
    unsafe { load_data(at, image) }
}

pub unsafe extern "C" fn unload(module: ModuleHandle) -> i32 {
    run(|| {
        runtime::get()?;
        if !kernels::is_module(module) {
            return Err(HipError::InvalidHandle);
        }
        for device in devices::all() {
            runtime::on(device)?.wait_all();
        }
        kernels::remove_module(module);
        Ok(())
    })
}

pub unsafe extern "C" fn get_function(
    at: *mut FunctionHandle,
    module: ModuleHandle,
    name: *const c_char,
) -> i32 {
    run(|| {
        runtime::get()?;
        if !kernels::is_module(module) {
            return Err(HipError::InvalidHandle);
        }
        // SAFETY: the program's string and pointer for the result.
        unsafe {
            put(
                at,
                kernels::function(module, name_of(name)?).ok_or(HipError::NotFound)?,
            )
        }
    })
}

pub unsafe extern "C" fn function_count(at: *mut c_uint, module: ModuleHandle) -> i32 {
    run(|| {
        let count = kernels::function_count(module).ok_or(HipError::InvalidHandle)?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, count as c_uint) }
    })
}

/// The handle of a kernel of the program itself: its host stub serves as one.
pub unsafe extern "C" fn function_by_stub(at: *mut FunctionHandle, stub: *const c_void) -> i32 {
    run(|| {
        by_stub(stub)?;
        // SAFETY: as above.
        unsafe { put(at, stub.cast_mut()) }
    })
}

pub unsafe extern "C" fn attributes(at: *mut FuncAttributes, stub: *const c_void) -> i32 {
    run(|| {
        by_stub(stub)?;
        let attributes = FuncAttributes {
            binary_version: options::get().architecture.number(),
            max_dynamic_shared_size_bytes: 65_536,
            max_threads_per_block: MAX_BLOCK as c_int,
            num_regs: 32,
            ptx_version: 30,
            ..FuncAttributes::default()
        };
        // SAFETY: as above.
        unsafe { put(at, attributes) }
    })
}

pub unsafe extern "C" fn attribute(
    at: *mut c_int,
    attribute: c_int,
    function: FunctionHandle,
) -> i32 {
    run(|| {
        by_handle(function)?;
        let value = match attribute {
            0 => MAX_BLOCK as c_int,
            1..=3 | 7 | 9 => 0,
            4 => 32,
            5 => 30,
            6 => options::get().architecture.number(),
            8 => 65_536,
            _ => return Err(HipError::InvalidValue),
        };
        // SAFETY: as above.
        unsafe { put(at, value) }
    })
}

pub unsafe extern "C" fn set_attribute(
    stub: *const c_void,
    _attribute: c_int,
    _value: c_int,
) -> i32 {
    run(|| by_stub(stub).map(|_| ()))
}

pub unsafe extern "C" fn set_config(stub: *const c_void, _config: c_int) -> i32 {
    run(|| by_stub(stub).map(|_| ()))
}

pub unsafe extern "C" fn name_by_handle(function: FunctionHandle) -> *const c_char {
    kernels::find(function).map_or(std::ptr::null(), |kernel| kernel.name.as_ptr())
}

pub unsafe extern "C" fn name_by_stub(stub: *const c_void, _stream: *mut c_void) -> *const c_char {
    kernels::find(stub).map_or(std::ptr::null(), |kernel| kernel.name.as_ptr())
}

/// A library is a module here, and its kernels are the module's functions. The options are for a compiler that is not there.
pub unsafe extern "C" fn library_load_data(
    at: *mut ModuleHandle,
    image: *const u8,
    _jit_options: *mut c_int,
    _jit_values: *mut *mut c_void,
    _jit_count: c_uint,
    _options: *mut c_int,
    _values: *mut *mut c_void,
    _count: c_uint,
) -> i32 {
    // SAFETY: the same arguments.
    unsafe { load_data(at, image) }
}

pub unsafe extern "C" fn library_load(
    at: *mut ModuleHandle,
    path: *const c_char,
    _jit_options: *mut c_int,
    _jit_values: *mut *mut c_void,
    _jit_count: c_uint,
    _options: *mut c_int,
    _values: *mut *mut c_void,
    _count: c_uint,
) -> i32 {
    // SAFETY: the same arguments.
    unsafe { load(at, path) }
}

/// The function of a library's kernel is the same handle.
pub unsafe extern "C" fn kernel_function(at: *mut FunctionHandle, kernel: FunctionHandle) -> i32 {
    run(|| {
        by_handle(kernel)?;
        // SAFETY: the program's pointer for the result.
        unsafe { put(at, kernel) }
    })
}
