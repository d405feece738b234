//! The exported symbols and what the shim does at each: the rows of the table
//! of entry points that have an action.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use xsched_common::platform::{ENTRY_POINTS, EntryPoint};

/// Every function that is exported, sorted by symbol; a trampoline's index is
/// its place here.
pub static EXPORTS: [EntryPoint; COUNT] = exports();

const COUNT: usize = {
    let (mut at, mut count) = (0, 0);
    while at < ENTRY_POINTS.len() {
        if ENTRY_POINTS[at].action.is_some() {
            count += 1;
        }
        at += 1;
    }
    count
};

const fn exports() -> [EntryPoint; COUNT] {
    let mut exports = [ENTRY_POINTS[0]; COUNT];
    let (mut at, mut count) = (0, 0);
    while at < ENTRY_POINTS.len() {
        if ENTRY_POINTS[at].action.is_some() {
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

/// The export whose trampoline passed `index`.
#[inline(always)]
pub fn of_trampoline(index: usize) -> Option<&'static EntryPoint> {
    EXPORTS.get(if index < TABLED {
        index
    } else {
        index - TABLED
    })
}

/// The export called `symbol`.
pub fn find(symbol: &[u8]) -> Option<usize> {
    EXPORTS
        .binary_search_by(|export| export.symbol.as_bytes().cmp(symbol))
        .ok()
}

/// The exports whose names begin with `symbol`, itself first: a runtime may
/// answer for a name with a variant of it.
pub fn variants(symbol: &[u8]) -> impl Iterator<Item = usize> {
    let first = EXPORTS.partition_point(|export| export.symbol.as_bytes() < symbol);
    (first..EXPORTS.len()).take_while(move |&index| {
        let export = EXPORTS.get(index);
        export.is_some_and(|export| export.symbol.as_bytes().starts_with(symbol))
    })
}

/// Forgets the runtime's functions: it may have been unmapped.
pub fn forget_real() {
    for real in &REAL {
        real.store(0, Relaxed);
    }
}

/// Where the trampolines lie.
pub fn code() -> std::ops::Range<usize> {
    // No trampoline is longer than its alignment.
    let all = || (0..EXPORTS.len()).filter_map(own_address);
    all().min().unwrap_or(0)..all().max().map_or(0, |last| last + 32)
}

#[cfg(not(test))]
mod addresses {
    use super::EXPORTS;

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

    #[test]
    fn the_table_is_sorted_and_searchable() {
        for (i, export) in EXPORTS.iter().enumerate() {
            assert_eq!(find(export.symbol.as_bytes()), Some(i));
        }
        assert_eq!(find(b"hipMalloc"), None);
        let variants: Vec<&str> = variants(b"hipGraphLaunch")
            .map(|i| EXPORTS[i].symbol)
            .collect();
        assert_eq!(variants, ["hipGraphLaunch", "hipGraphLaunch_spt"]);
        assert_eq!(
            super::variants(b"hipMalloc").count(),
            2,
            "no hipMalloc itself"
        );
    }
}
