//! The generated entries. Each exported function is a small assembly entry that jumps through [`DISPATCH`], or in the copies
//! that stand for HIP 6 and later through a dispatch table like the real one ([`super::dispatch`]). Nothing inside the
//! simulator calls an export, so a preloaded library never sees the simulator's own calls.

use std::sync::atomic::AtomicPtr;

use crate::major::major_version;

include!(concat!(env!("OUT_DIR"), "/exports.rs"));

/// Rows of the two dispatch tables as positions in [`DISPATCH`].
pub(super) const ROWS: (&[u16], &[u16]) = (&RUNTIME_ROWS, &COMPILER_ROWS);
/// Their lengths.
pub(super) const ROW_COUNTS: (usize, usize) = (RUNTIME_ROWS.len(), COMPILER_ROWS.len());

unsafe extern "C" {
    /// Addresses of the exported entries, in table order (read-only data made by the generated assembly).
    static hipsim_export_table: [usize; COUNT];
}

/// Whether the copy for this major version has the export called `name`: what the real runtimes have dropped by then it
/// has not.
pub fn has(major: u8, name: &str) -> bool {
    let index = NAMES.iter().position(|known| *known == name);
    index.is_some_and(|index| LAST_MAJORS[index] >= major)
}

/// Address of the exported entry called `name`, as `dlsym` would give it.
pub fn address(name: &str) -> Option<usize> {
    let index = NAMES.iter().position(|known| *known == name)?;
    if LAST_MAJORS[index] < major_version() {
        return None;
    }
    // SAFETY: the assembly defines COUNT words, relocated before any code of this library runs and never written.
    Some(unsafe { hipsim_export_table[index] })
}
