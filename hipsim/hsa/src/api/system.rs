//! The library as a whole: started, asked about itself, ended.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Once;

use simdevice::device::clock;

use super::executables;
use super::gpu_info::{self, FREQUENCY};
use crate::abi::call::{self, api, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::SystemEventCallback;
use crate::machine::{MACHINE, system_events};
use crate::memory;

/// Version of the interface: 1.15 is 6.4's, 1.18 is 7.2's.
const VERSION: (u16, u16) = (1, 18);
/// What is told of the library's build.
const BUILD: &CStr =
    match CStr::from_bytes_with_nul(concat!("hsasim ", env!("CARGO_PKG_VERSION"), "\0").as_bytes())
    {
        Ok(text) => text,
        Err(_) => c"hsasim",
    };
/// `HSA_EXTENSION_AMD_LOADER`.
const LOADER: u16 = 0x201;
/// Functions in the loader's table, version 1.03.
const LOADER_FUNCTIONS: usize = 8;

/// Called before the destructors of what was loaded before: handlers that are due run first. The real library's thread is
/// told of them at once; here they come when somebody looks, and the HIP runtime's would meet its own destructors.
extern "C" fn at_exit() {
    if !call::forked() {
        MACHINE.settle();
    }
}

extern "C" fn no_loader_function() -> Status {
    Status::NOT_SUPPORTED
}

api! {
    /// `hsa_init`.
    fn init() {
        static ONCE: Once = Once::new();
        call::watch_forks();
        // The function takes no arguments and stays: the library is never unloaded.
        ONCE.call_once(|| { libc::atexit(at_exit); });
        // The real library has no device to offer then, and the HIP runtime knows that answer.
        if memory::places().is_empty() { Err(Status::OUT_OF_RESOURCES) } else { Ok(()) }
    }

    /// `hsa_shut_down`. What is queued goes on until the process ends.
    fn shut_down() {
        Ok(())
    }

    /// `hsa_system_get_info`.
    fn get_info(attribute: u32, value: *mut c_void) {
        match attribute {
            0 | 0x207 => put(value.cast(), VERSION.0),
            1 | 0x208 => put(value.cast(), VERSION.1),
            2 => put(value.cast(), clock::now()),
            3 => put(value.cast(), FREQUENCY),
            4 => put(value.cast(), u64::MAX),
            // Little endian; large machine model.
            5 => put(value.cast(), 0_u32),
            6 => put(value.cast(), 1_u32),
            7 => put(value.cast(), extensions()),
            // A text of the library's own.
            0x200 => put(value.cast(), BUILD.as_ptr()),
            // Shared virtual memory, which all memory here is; faults only where the architecture has them on.
            0x201 => put(value.cast(), true),
            0x202 | 0x206 => put(value.cast(), gpu_info::has_page_faults()),
            0x203 => put(value.cast(), false),
            0x204 => put(value.cast(), false),
            // Virtual memory management.
            0x205 => put(value.cast(), true),
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }

    /// `hsa_system_extension_supported`.
    fn extension_supported(extension: u16, major: u16, _minor: u16, supported: *mut bool) {
        put(supported, extension == LOADER && major == 1)
    }

    /// `hsa_system_get_major_extension_table`: of the loader's functions only the one that finds host addresses does anything.
    fn extension_table(extension: u16, major: u16, size: usize, table: *mut c_void) {
        if extension != LOADER || major != 1 || table.is_null() {
            return Err(Status::ERROR);
        }
        let mut functions = [no_loader_function as *const c_void; LOADER_FUNCTIONS];
        functions[0] = executables::query_host_address as *const c_void;
        let bytes = size.min(size_of_val(&functions));
        std::ptr::copy_nonoverlapping(functions.as_ptr().cast::<u8>(), table.cast(), bytes);
        Ok(())
    }

    /// `hsa_amd_register_system_event_handler`: of memory faults.
    fn register_event_handler(handler: Option<SystemEventCallback>, data: *mut c_void) {
        system_events::handle(handler.ok_or(Status::INVALID_ARGUMENT)?, data as usize);
        Ok(())
    }

    /// `hsa_amd_enable_logging`.
    fn enable_logging(_flags: *mut u8, _file: *mut c_void) {
        Ok(())
    }

    /// `hsa_status_string`.
    fn status_string(status: Status, text: *mut *const c_char) {
        let known: Result<_> = status.text().ok_or(Status::INVALID_ARGUMENT);
        put(text, known?.as_ptr())
    }
}

fn extensions() -> [u8; 128] {
    let mut bits = [0; 128];
    bits[usize::from(LOADER) / 8] = 1 << (LOADER % 8);
    bits
}
