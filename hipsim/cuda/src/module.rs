//! Modules and libraries of kernels, which are the same here, and questions about functions.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::code::{Code, Result};
use crate::image::{self, Contents};
use crate::support::{api, offer, put};
use crate::{context, hip};

type Handle = *mut c_void;

/// An image of hipsim's whose functions are found by any name.
const ANY: &CStr = c"hipsim module";

#[derive(Default)]
struct Tables {
    /// What each module has.
    modules: HashMap<usize, Contents>,
    /// Names of functions. They are never taken back: programs may hold them.
    functions: HashMap<usize, &'static CStr>,
}

static TABLES: Mutex<Option<Tables>> = Mutex::new(None);

fn tables() -> MutexGuard<'static, Option<Tables>> {
    let mut tables = TABLES.lock().unwrap_or_else(PoisonError::into_inner);
    tables.get_or_insert_with(Tables::default);
    tables
}

fn with<T>(then: impl FnOnce(&mut Tables) -> T) -> T {
    then(tables().get_or_insert_with(Tables::default))
}

unsafe fn add(at: *mut Handle, contents: Contents) -> Result {
    let mut module = std::ptr::null_mut();
    // SAFETY: a local for the result, and a C string.
    unsafe { hip::hipModuleLoadData(&raw mut module, ANY.as_ptr().cast()) }?;
    with(|tables| tables.modules.insert(module as usize, contents));
    // SAFETY: the program's pointer for the result.
    unsafe { put(at, module) }
}

unsafe fn load_file(at: *mut Handle, path: *const c_char) -> Result {
    if path.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: a C string of the program.
    let path = unsafe { CStr::from_ptr(path) };
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let image = std::fs::read(path).map_err(|_| Code::FILE_NOT_FOUND)?;
    // SAFETY: the program's pointer for the result.
    unsafe { add(at, image::read(&image)?) }
}

unsafe fn find(at: *mut Handle, module: Handle, name: *const c_char) -> Result {
    if name.is_null() || at.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: a C string of the program.
    let wanted = unsafe { CStr::from_ptr(name) };
    let known = with(|tables| match tables.modules.get(&(module as usize)) {
        None => Err(Code::INVALID_HANDLE),
        Some(Contents::Anything) => Ok(true),
        Some(Contents::Kernels(names)) => Ok(names
            .iter()
            .any(|name| name.as_bytes() == wanted.to_bytes())),
    })?;
    if !known {
        return Err(Code::NOT_FOUND);
    }
    let mut function = std::ptr::null_mut();
    // SAFETY: a local for the result, and the program's string.
    unsafe { hip::hipModuleGetFunction(&raw mut function, module, name) }?;
    with(|tables| {
        let keep = || -> &'static CStr { Box::leak(CString::from(wanted).into_boxed_c_str()) };
        tables
            .functions
            .entry(function as usize)
            .or_insert_with(keep);
    });
    // SAFETY: as above.
    unsafe { put(at, function) }
}

fn checked(function: Handle) -> Result {
    let known = with(|tables| tables.functions.contains_key(&(function as usize)));
    if known {
        Ok(())
    } else {
        Err(Code::INVALID_HANDLE)
    }
}

/// Values of `CUfunction_attribute`.
fn attribute_value(attribute: c_int) -> Result<c_int> {
    Ok(match attribute {
        0 => 1024,
        4 => 32,
        5 | 6 => 90,
        8 => 48 << 10,
        1..=15 => 0,
        _ => return Err(Code::INVALID_VALUE),
    })
}

api! {
    fn load(at: *mut Handle, path: *const c_char) {
        context::required()?;
        load_file(at, path)
    }

    /// Options of the compiler do not matter.
    fn load_data(at: *mut Handle, image: *const u8) {
        context::required()?;
        add(at, image::in_memory(image)?)
    }

    fn library_load(at: *mut Handle, path: *const c_char) { load_file(at, path) }
    fn library_load_data(at: *mut Handle, image: *const u8) { add(at, image::in_memory(image)?) }

    fn unload(module: Handle) {
        let known = with(|tables| tables.modules.remove(&(module as usize)));
        known.ok_or(Code::INVALID_HANDLE)?;
        hip::hipModuleUnload(module)
    }

    fn function(at: *mut Handle, module: Handle, name: *const c_char) {
        context::required()?;
        find(at, module, name)
    }

    fn library_kernel(at: *mut Handle, library: Handle, name: *const c_char) {
        find(at, library, name)
    }

    fn function_count(at: *mut c_uint, module: Handle) {
        let count = with(|tables| match tables.modules.get(&(module as usize)) {
            None => Err(Code::INVALID_HANDLE),
            Some(Contents::Anything) => Ok(0),
            Some(Contents::Kernels(names)) => Ok(names.len() as c_uint),
        })?;
        put(at, count)
    }

    /// Variables of modules are not simulated.
    fn global(_at: *mut u64, _size: *mut usize, _module: Handle, _name: *const c_char) {
        Err(Code::NOT_FOUND)
    }

    fn library_global(_at: *mut u64, _size: *mut usize, _library: Handle, _name: *const c_char) {
        Err(Code::NOT_FOUND)
    }

    /// Lazily.
    fn loading_mode(at: *mut c_int) { put(at, 2) }

    fn library_module(at: *mut Handle, library: Handle) {
        let known = with(|tables| tables.modules.contains_key(&(library as usize)));
        if !known {
            return Err(Code::INVALID_HANDLE);
        }
        put(at, library)
    }

    fn kernel_function(at: *mut Handle, kernel: Handle) {
        checked(kernel)?;
        put(at, kernel)
    }

    fn name(at: *mut *const c_char, function: Handle) {
        let name = with(|tables| tables.functions.get(&(function as usize)).copied());
        put(at, name.ok_or(Code::INVALID_HANDLE)?.as_ptr())
    }

    fn is_loaded(at: *mut c_int, function: Handle) {
        checked(function)?;
        put(at, 1)
    }

    fn ensure_loaded(function: Handle) { checked(function) }

    fn attribute(at: *mut c_int, attribute: c_int, function: Handle) {
        checked(function)?;
        put(at, attribute_value(attribute)?)
    }

    fn kernel_attribute(at: *mut c_int, attribute: c_int, kernel: Handle, _device: c_int) {
        checked(kernel)?;
        put(at, attribute_value(attribute)?)
    }

    fn set_attribute(function: Handle, attribute: c_int, _value: c_int) {
        checked(function)?;
        attribute_value(attribute).map(|_| ())
    }

    fn set_kernel_attribute(attribute: c_int, _value: c_int, kernel: Handle, _device: c_int) {
        checked(kernel)?;
        attribute_value(attribute).map(|_| ())
    }

    fn set_config(function: Handle, _config: c_int) { checked(function) }
    fn set_kernel_config(kernel: Handle, _config: c_int, _device: c_int) { checked(kernel) }

    fn occupancy(at: *mut c_int, function: Handle, block: c_int, _shared: usize) {
        checked(function)?;
        if !(1..=1024).contains(&block) {
            return Err(Code::INVALID_VALUE);
        }
        offer(at, (2048 / block).min(32));
        Ok(())
    }
}
