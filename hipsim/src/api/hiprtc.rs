//! The compiler for device code, which the runtimes up to 6.x export beside their own functions. There is none here: the calls
//! go on to a real libhiprtc where there is one, and else fail with a code of their own kind.
//!
//! The `.so.7` copy has none of these exports, as the real runtime (`install`).

use std::ffi::{CStr, CString, c_char, c_int};
use std::sync::OnceLock;

use crate::major::major_version;

/// `HIPRTC_SUCCESS`, `HIPRTC_ERROR_INVALID_INPUT`, `HIPRTC_ERROR_INTERNAL_ERROR`.
const SUCCESS: i32 = 0;
const INVALID_INPUT: i32 = 3;
const INTERNAL_ERROR: i32 = 11;

/// The compiler's library, by the names that the runtime of this version installs it under.
fn library() -> usize {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    *LIBRARY.get_or_init(|| {
        let names = [
            format!("libhiprtc.so.{}", major_version()),
            "libhiprtc.so".to_owned(),
        ];
        let opened = names.iter().filter_map(|name| {
            let name = CString::new(name.as_str()).ok()?;
            // SAFETY: a C string; the library's constructors run as they would for the program itself.
            let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
            (!handle.is_null()).then_some(handle as usize)
        });
        opened.into_iter().next().unwrap_or(0)
    })
}

/// The real function, unless a look-up leads back here (a library that has the name from this one).
fn real(name: &CStr) -> Option<*mut std::ffi::c_void> {
    let library = library();
    if library == 0 {
        return None;
    }
    // SAFETY: a handle of dlopen and a C string.
    let found = unsafe { libc::dlsym(library as *mut std::ffi::c_void, name.as_ptr()) };
    let own = name.to_str().ok().and_then(crate::abi::exports::address);
    (!found.is_null() && Some(found as usize) != own).then_some(found)
}

/// Functions that go on with all their arguments, which are integers and pointers, or return the given answer.
macro_rules! forwarded {
    ($($body:ident($($argument:ident),+) $name:literal else $answer:expr;)+) => {
        $(pub unsafe extern "C" fn $body($($argument: usize),+) -> i32 {
            type Real = unsafe extern "C" fn($(forwarded!(@word $argument)),+) -> i32;
            match real($name) {
                // SAFETY: the real function has as many arguments, each of which is passed as a word.
                Some(real) => unsafe { std::mem::transmute::<*mut std::ffi::c_void, Real>(real)($($argument),+) },
                None => $answer,
            }
        })+
    };
    (@word $argument:ident) => { usize };
}

forwarded! {
    add_name_expression(program, name) c"hiprtcAddNameExpression" else INTERNAL_ERROR;
    compile_program(program, count, options) c"hiprtcCompileProgram" else INTERNAL_ERROR;
    create_program(program, source, name, count, headers, includes) c"hiprtcCreateProgram" else INTERNAL_ERROR;
    destroy_program(program) c"hiprtcDestroyProgram" else INTERNAL_ERROR;
    get_bitcode(program, to) c"hiprtcGetBitcode" else INTERNAL_ERROR;
    get_bitcode_size(program, size) c"hiprtcGetBitcodeSize" else INTERNAL_ERROR;
    get_code(program, to) c"hiprtcGetCode" else INTERNAL_ERROR;
    get_code_size(program, size) c"hiprtcGetCodeSize" else INTERNAL_ERROR;
    get_lowered_name(program, name, lowered) c"hiprtcGetLoweredName" else INTERNAL_ERROR;
    get_program_log(program, to) c"hiprtcGetProgramLog" else INTERNAL_ERROR;
    get_program_log_size(program, size) c"hiprtcGetProgramLogSize" else INTERNAL_ERROR;
    link_add_data(state, kind, image, size, name, count, options, values) c"hiprtcLinkAddData" else INTERNAL_ERROR;
    link_add_file(state, kind, path, count, options, values) c"hiprtcLinkAddFile" else INTERNAL_ERROR;
    link_complete(state, binary, size) c"hiprtcLinkComplete" else INTERNAL_ERROR;
    link_create(count, options, values, state) c"hiprtcLinkCreate" else INTERNAL_ERROR;
    link_destroy(state) c"hiprtcLinkDestroy" else INTERNAL_ERROR;
}

/// Without a real one: 9.0, which the real ones say whatever their version (ROCm/clr, hiprtc.cpp).
pub unsafe extern "C" fn version(major: *mut c_int, minor: *mut c_int) -> i32 {
    type Real = unsafe extern "C" fn(*mut c_int, *mut c_int) -> i32;
    if let Some(real) = real(c"hiprtcVersion") {
        // SAFETY: the function's prototype.
        return unsafe { std::mem::transmute::<*mut std::ffi::c_void, Real>(real)(major, minor) };
    }
    if major.is_null() || minor.is_null() {
        return INVALID_INPUT;
    }
    // SAFETY: the program's pointers for the results.
    unsafe { (major.write(9), minor.write(0)) };
    SUCCESS
}

/// Texts of `hiprtcResult` in order, and of the one outside it.
const ERRORS: [&CStr; 12] = [
    c"HIPRTC_SUCCESS",
    c"HIPRTC_ERROR_OUT_OF_MEMORY",
    c"HIPRTC_ERROR_PROGRAM_CREATION_FAILURE",
    c"HIPRTC_ERROR_INVALID_INPUT",
    c"HIPRTC_ERROR_INVALID_PROGRAM",
    c"HIPRTC_ERROR_INVALID_OPTION",
    c"HIPRTC_ERROR_COMPILATION",
    c"HIPRTC_ERROR_BUILTIN_OPERATION_FAILURE",
    c"HIPRTC_ERROR_NO_NAME_EXPRESSIONS_AFTER_COMPILATION",
    c"HIPRTC_ERROR_NO_LOWERED_NAMES_BEFORE_COMPILATION",
    c"HIPRTC_ERROR_NAME_EXPRESSION_NOT_VALID",
    c"HIPRTC_ERROR_INTERNAL_ERROR",
];
const LINKING: i32 = 100;

/// These texts are the same everywhere, so no real one is asked.
pub unsafe extern "C" fn error_string(code: c_int) -> *const c_char {
    let known = usize::try_from(code).ok().and_then(|code| ERRORS.get(code));
    match known {
        Some(text) => text.as_ptr(),
        None if code == LINKING => c"HIPRTC_ERROR_LINKING".as_ptr(),
        None => c"Invalid HIPRTC error code".as_ptr(),
    }
}
