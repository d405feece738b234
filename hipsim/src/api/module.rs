//! The module API and questions about functions.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::launch::{MAX_BLOCK, by_handle, by_stub};
use super::support::{api, put};
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
    match code_object::read(image, options::architecture())? {
        Contents::Kernels(names) => Ok(kernels::add_module(Some(names), Code::Runs)),
        Contents::Anything => Ok(kernels::add_module(None, Code::Runs)),
    }
}

api! {
    fn load(at: *mut ModuleHandle, path: *const c_char) {
        runtime::get()?;
        let image = std::fs::read(name_of(path)?).map_err(|_| HipError::FileNotFound)?;
        put(at, add(&image)?)
    }

    fn load_data(at: *mut ModuleHandle, image: *const u8) {
        runtime::get()?;
        if image.is_null() {
            return Err(HipError::InvalidValue);
        }
        let size = code_object::size_in_memory(image).ok_or(HipError::InvalidImage)?;
        put(at, add(std::slice::from_raw_parts(image, size))?)
    }

    fn unload(module: ModuleHandle) {
        runtime::get()?;
        if !kernels::is_module(module) {
            return Err(HipError::InvalidHandle);
        }
        for device in devices::all() {
            runtime::on(device)?.wait_all();
        }
        kernels::remove_module(module);
        Ok(())
    }

    fn get_function(at: *mut FunctionHandle, module: ModuleHandle, name: *const c_char) {
        runtime::get()?;
        if !kernels::is_module(module) {
            return Err(HipError::InvalidHandle);
        }
        put(
            at,
            kernels::function(module, name_of(name)?).ok_or(HipError::NotFound)?,
        )
    }

    fn function_count(at: *mut c_uint, module: ModuleHandle) {
        let count = kernels::function_count(module).ok_or(HipError::InvalidHandle)?;
        put(at, count as c_uint)
    }

    /// The handle of a kernel of the program itself: its host stub serves as one.
    fn function_by_stub(at: *mut FunctionHandle, stub: *const c_void) {
        by_stub(stub)?;
        put(at, stub.cast_mut())
    }

    fn attributes(at: *mut FuncAttributes, stub: *const c_void) {
        by_stub(stub)?;
        let attributes = FuncAttributes {
            binary_version: options::architecture().number(),
            max_dynamic_shared_size_bytes: 65_536,
            max_threads_per_block: MAX_BLOCK as c_int,
            num_regs: 32,
            ptx_version: 30,
            ..FuncAttributes::default()
        };
        put(at, attributes)
    }

    fn attribute(at: *mut c_int, attribute: c_int, function: FunctionHandle) {
        by_handle(function)?;
        let value = match attribute {
            0 => MAX_BLOCK as c_int,
            1..=3 | 7 | 9 => 0,
            4 => 32,
            5 => 30,
            6 => options::architecture().number(),
            8 => 65_536,
            _ => return Err(HipError::InvalidValue),
        };
        put(at, value)
    }

    fn set_attribute(stub: *const c_void, _attribute: c_int, _value: c_int) { by_stub(stub).map(|_| ()) }
    fn set_config(stub: *const c_void, _config: c_int) { by_stub(stub).map(|_| ()) }
}

pub unsafe extern "C" fn name_by_handle(function: FunctionHandle) -> *const c_char {
    kernels::find(function).map_or(std::ptr::null(), |kernel| kernel.name.as_ptr())
}

pub unsafe extern "C" fn name_by_stub(stub: *const c_void, _stream: *mut c_void) -> *const c_char {
    kernels::find(stub).map_or(std::ptr::null(), |kernel| kernel.name.as_ptr())
}

api! {
    /// The function of a library's kernel is the same handle.
    fn kernel_function(at: *mut FunctionHandle, kernel: FunctionHandle) {
        by_handle(kernel)?;
        put(at, kernel)
    }
}
