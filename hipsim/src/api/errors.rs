//! Last error and error texts.

use std::ffi::c_char;

use super::support::put;
use crate::abi::error::{HipError, SUCCESS, describe, peek_last, take_last, take_last_result};
use crate::major::major_version;

pub unsafe extern "C" fn get_last() -> i32 {
    take_last()
}

/// Before HIP 7 the same as `hipGetLastError`.
pub unsafe extern "C" fn get_last_result() -> i32 {
    if major_version() < 7 {
        take_last()
    } else {
        take_last_result()
    }
}

pub unsafe extern "C" fn peek() -> i32 {
    peek_last()
}

pub unsafe extern "C" fn name(code: i32) -> *const c_char {
    describe(code)
        .map_or(c"hipErrorUnknown", |(name, _)| name)
        .as_ptr()
}

pub unsafe extern "C" fn text(code: i32) -> *const c_char {
    describe(code)
        .map_or(c"unknown error", |(_, text)| text)
        .as_ptr()
}

pub unsafe extern "C" fn driver_name(code: i32, name: *mut *const c_char) -> i32 {
    answer(name, describe(code).map(|(name, _)| name.as_ptr()))
}

pub unsafe extern "C" fn driver_text(code: i32, text: *mut *const c_char) -> i32 {
    answer(text, describe(code).map(|(_, text)| text.as_ptr()))
}

/// These two answer about errors and so do not change the last error.
fn answer(at: *mut *const c_char, text: Option<*const c_char>) -> i32 {
    // SAFETY: `at` is the program's pointer for the result, null or valid.
    let stored = unsafe { put(at, text.unwrap_or(std::ptr::null())) };
    match (stored, text) {
        (Ok(()), Some(_)) => SUCCESS,
        _ => HipError::InvalidValue as i32,
    }
}
