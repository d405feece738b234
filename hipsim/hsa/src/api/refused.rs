//! What is not simulated: each call fails with a status that the real library could give, or says what is missing.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::abi::exports::NAMES;
use crate::abi::status::Status;

/// Body of functions that no known HIP runtime calls. The entry passes its index.
pub unsafe extern "C" fn missing(index: u32) -> Status {
    static SAID: [AtomicBool; NAMES.len()] = [const { AtomicBool::new(false) }; NAMES.len()];
    let index = index as usize % NAMES.len();
    if !SAID[index].swap(true, Relaxed) {
        eprintln!(
            "hsasim: {} is not simulated: no HIP runtime known here (6.4.3, 7.2.4) calls it. It returns HSA_STATUS_ERROR_NOT_SUPPORTED; \
             run this program with one of those runtimes, or on a GPU.",
            NAMES[index]
        );
    }
    Status::NOT_SUPPORTED
}

/// Body of the image functions: the device says that it has no images, as gfx942 does.
pub unsafe extern "C" fn image() -> Status {
    Status::IMAGE_FORMAT_UNSUPPORTED
}

/// Body of functions for neighbours that are not here: graphics, files, other drivers.
pub unsafe extern "C" fn unsupported() -> Status {
    Status::NOT_SUPPORTED
}
