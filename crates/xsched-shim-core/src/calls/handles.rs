//! Look-ups that hand out the runtime's own addresses (`...GetProcAddress`).
//! Who asks for a function that we export gets ours.

use std::ffi::{CStr, c_char};

use super::{Runtime, services, variants};

/// Replaces `*out`, which a successful `...GetProcAddress(name, out, ...)`
/// has written. The address decides and not the name alone: with the
/// per-thread flag the runtime answers with a variant.
pub fn substitute<R: Runtime>(name: u64, out: u64) {
    if name == 0 || out == 0 {
        return;
    }
    let out = out as *mut usize;
    // SAFETY: the runtime has read the name and written the address in the
    // call that has just succeeded.
    let (name, found) = unsafe { (CStr::from_ptr(name as *const c_char), out.read_unaligned()) };
    if let Some(ours) = replacement::<R>(name.to_bytes(), found) {
        // SAFETY: as above.
        unsafe { out.write_unaligned(ours) };
    }
}

/// Our function in the place of the runtime's at `found`.
pub fn replacement<R: Runtime>(name: &[u8], found: usize) -> Option<usize> {
    variants(R::rows(), name)
        .find(|&index| services::real::<R>(index) == Some(found))
        .and_then(R::own_address)
}
