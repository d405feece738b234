//! What hipcc's host code calls before `main`: its fat binary, kernels and variables. None of it touches a device.

use std::ffi::{CStr, c_char, c_int, c_void};

use crate::abi::types::{FAT_BINARY_MAGIC, FatBinaryWrapper};
use crate::options;
use crate::runtime::command::Address;
use crate::runtime::kernels::{self, Code};
use crate::runtime::memory::{self, Kind};
use crate::runtime::{self, code_object};

/// Never null: programs keep the handle and pass it back.
pub unsafe extern "C" fn fat_binary(wrapper: *const FatBinaryWrapper) -> *mut c_void {
    // SAFETY: null or the program's wrapper.
    let wrapper = unsafe { wrapper.as_ref() };
    if wrapper.is_none_or(|wrapper| wrapper.magic != FAT_BINARY_MAGIC) {
        eprintln!(
            "hipsim: __hipRegisterFatBinary: not a fat binary; its kernels will still be launched by name"
        );
    }
    let image = wrapper.map_or(std::ptr::null(), |wrapper| wrapper.binary.cast());
    // SAFETY: the program's fat binary, if it is one.
    let fits = unsafe { code_object::fits_in_memory(image, options::architecture()) };
    kernels::add_module(
        Some(Vec::new()),
        if fits { Code::Runs } else { Code::Other },
    )
}

pub unsafe extern "C" fn unregister_fat_binary(module: *mut c_void) {
    if !runtime::forked() {
        kernels::remove_module(module);
    }
}

unsafe fn text(name: *const c_char) -> Option<String> {
    if name.is_null() {
        return None;
    }
    // SAFETY: a C string of the program.
    Some(
        unsafe { CStr::from_ptr(name) }
            .to_string_lossy()
            .into_owned(),
    )
}

pub unsafe extern "C" fn function(
    module: *mut c_void,
    stub: *const c_void,
    _host_name: *mut c_char,
    name: *const c_char,
    _thread_limit: c_int,
    _thread_id: *mut c_void,
    _block_id: *mut c_void,
    _block: *mut c_void,
    _grid: *mut c_void,
    _warp_size: *mut c_int,
) {
    // SAFETY: the name is null or a C string of the program.
    if let Some(name) = unsafe { text(name) } {
        kernels::register_function(module, stub, &name);
    }
}

/// Device variables start as zeros: their initial values, inside the code object, are read only by device code.
pub unsafe extern "C" fn variable(
    module: *mut c_void,
    host: *const c_void,
    _host_name: *mut c_char,
    _name: *mut c_char,
    _external: c_int,
    size: usize,
    _constant: c_int,
    _global: c_int,
) {
    if let Ok(device) = memory::allocate(size.max(1), Kind::Managed, 0) {
        // SAFETY: a fresh allocation of that size.
        unsafe { device.pointer::<u8>().write_bytes(0, size.max(1)) };
        kernels::register_variable(module, Address::from(host), device, size);
    }
}

pub unsafe extern "C" fn managed_variable(
    module: *mut c_void,
    pointer: *mut *mut c_void,
    initial: *const c_void,
    _name: *const c_char,
    size: usize,
    _alignment: u32,
) {
    if pointer.is_null() {
        return;
    }
    if let Ok(device) = memory::allocate(size.max(1), Kind::Managed, 0) {
        // SAFETY: a fresh allocation of that size; the program's initial value and pointer.
        unsafe {
            device.pointer::<u8>().write_bytes(0, size.max(1));
            if !initial.is_null() {
                std::ptr::copy_nonoverlapping(initial.cast(), device.pointer::<u8>(), size);
            }
            pointer.write(device.pointer());
        }
        kernels::register_variable(module, Address::from(pointer), device, size);
    }
}

/// Textures and surfaces are not simulated; registering one must not stop a program that never uses it.
pub unsafe extern "C" fn ignored() {}
