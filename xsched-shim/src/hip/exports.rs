//! The exported symbols: the rows of the table of entry points that have an
//! action.

use std::sync::atomic::AtomicUsize;

use xsched_common::platform::{ENTRY_POINTS, EntryPoint, Platform};

/// Every function that is exported, sorted by symbol; a trampoline's index is
/// its place here.
pub static EXPORTS: [EntryPoint; COUNT] = exports();

const COUNT: usize = {
    let (mut at, mut count) = (0, 0);
    while at < ENTRY_POINTS.len() {
        if is_exported(&ENTRY_POINTS[at]) {
            count += 1;
        }
        at += 1;
    }
    count
};

const fn is_exported(entry: &EntryPoint) -> bool {
    matches!(entry.platform, Platform::Hip) && entry.action.is_some()
}

const fn exports() -> [EntryPoint; COUNT] {
    let mut exports = [ENTRY_POINTS[0]; COUNT];
    let (mut at, mut count) = (0, 0);
    while at < ENTRY_POINTS.len() {
        if is_exported(&ENTRY_POINTS[at]) {
            exports[count] = ENTRY_POINTS[at];
            count += 1;
        }
        at += 1;
    }
    exports
}

/// Where the indices of the trampolines in the runtime's dispatch table
/// begin, see [`super::strict`].
pub const TABLED: usize = EXPORTS.len();

/// What the trampolines lead to, zero while unknown: the runtime's exports
/// behind [`EXPORTS`], and from [`TABLED`] on what stood in the dispatch table
/// before us.
pub static REAL: [AtomicUsize; 2 * TABLED] = [const { AtomicUsize::new(0) }; 2 * TABLED];

#[cfg(not(test))]
mod addresses {
    use super::EXPORTS;
    use crate::hip::Hip;
    use xsched_shim_core::calls::trampoline;

    std::arch::global_asm!(
        include_str!(concat!(env!("OUT_DIR"), "/trampolines.s")),
        command = sym trampoline::command::<Hip>,
        forward = sym trampoline::forward::<Hip>,
        hook = sym trampoline::hook::<Hip>,
    );

    unsafe extern "C" {
        /// Emitted with the trampolines, in the order of [`EXPORTS`].
        static xsched_export_addresses: [usize; EXPORTS.len()];
        /// Likewise for the dispatch table; zero where there is none.
        static xsched_table_addresses: [usize; EXPORTS.len()];
    }

    /// The address of the trampoline for an export's row in the dispatch
    /// table.
    pub fn table_address(index: usize) -> Option<usize> {
        // SAFETY: as in `own_address`.
        let address = unsafe { xsched_table_addresses.get(index).copied() };
        address.filter(|&address| address != 0)
    }

    /// The address of our own definition of an export.
    pub fn own_address(index: usize) -> Option<usize> {
        // SAFETY: relocated by the dynamic linker before any code of ours
        // runs, and never written again.
        unsafe { xsched_export_addresses.get(index).copied() }
    }
}

#[cfg(test)]
mod addresses {
    /// Unit tests run without trampolines.
    pub fn own_address(_index: usize) -> Option<usize> {
        None
    }

    /// Likewise.
    pub fn table_address(_index: usize) -> Option<usize> {
        None
    }
}

pub use addresses::{own_address, table_address};

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_shim_core::calls::{find, variants};

    #[test]
    fn the_table_is_sorted_and_searchable() {
        for (i, export) in EXPORTS.iter().enumerate() {
            assert_eq!(find(&EXPORTS, export.symbol.as_bytes()), Some(i));
        }
        assert_eq!(find(&EXPORTS, b"hipMalloc"), None);
        let variants: Vec<&str> = variants(&EXPORTS, b"hipGraphLaunch")
            .map(|i| EXPORTS[i].symbol)
            .collect();
        assert_eq!(variants, ["hipGraphLaunch", "hipGraphLaunch_spt"]);
        assert_eq!(count(b"hipMalloc"), 2, "no hipMalloc itself");
    }

    fn count(symbol: &[u8]) -> usize {
        variants(&EXPORTS, symbol).count()
    }
}
