//! The management libraries of simulated devices, behind the ABI of AMD's `librocm_smi64.so` and NVIDIA's
//! `libnvidia-ml.so.1`: one library under both names. All readings are simulated, and the device's name says so.
//!
//! Utilisation is what the device does while it is asked; power, temperature and clock follow from it.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod nvml;
mod readings;
mod rsmi;

use std::ffi::c_char;
use std::path::Path;
use std::{fs, io};

/// The names that the vendors' packages install.
pub const NAMES: [&str; 2] = ["librocm_smi64.so", "libnvidia-ml.so.1"];

/// The model's name, for people.
const NAME: &str = "hipsim (simulated)";

/// The driver's version, for people.
const VERSION: &str = concat!("simulated ", env!("CARGO_PKG_VERSION"));

/// Puts `built` (the cdylib of this crate) into a folder under one of [`NAMES`].
///
/// # Errors
/// It cannot be read, or not be written there.
pub fn install(built: &Path, folder: &Path, name: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::copy(built, folder.join(name)).map(drop)
}

/// Writes a text into a caller's buffer, cut and ended by a NUL; whether there was room for any.
///
/// # Safety
/// `to` has `room` writable bytes.
unsafe fn write_text(text: &str, to: *mut c_char, room: usize) -> bool {
    let Some(most) = room.checked_sub(1).filter(|_| !to.is_null()) else {
        return false;
    };
    let length = text.len().min(most);
    // SAFETY: at most `room` bytes with the NUL; a text does not overlap a caller's buffer.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr().cast(), to, length);
        to.add(length).write(0);
    }
    true
}
