//! The exported symbols: the rows of the table of entry points that have an
//! action. The driver's names have no version nodes, and neither have ours.

use std::sync::atomic::AtomicUsize;

use xsched_common::platform::{ENTRY_POINTS, EntryPoint, Platform};

/// Every function that is exported, sorted by symbol; a trampoline's index is
/// its place here.
pub static EXPORTS: [EntryPoint; COUNT] = exports();

/// What the trampolines lead to, zero while unknown: the driver's functions
/// behind [`EXPORTS`].
pub static REAL: [AtomicUsize; COUNT] = [const { AtomicUsize::new(0) }; COUNT];

/// How many those are.
pub const COUNT: usize = {
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
    matches!(entry.platform, Platform::Cuda) && entry.action.is_some()
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

#[cfg(not(test))]
mod trampolines {
    use super::{COUNT, EXPORTS};
    use crate::cuda::Cuda;
    use xsched_shim_core::calls::trampoline::{command, forward, hook};

    /// Defines a trampoline for each line: index, name, where it leads.
    ///
    /// Each starts with a 5-byte NOP, which Linux 6.18 and later patch into a
    /// call for a uprobe, at a multiple of 32 because a NOP that straddles a
    /// page is not patched: they stand in a section of their own and fill up
    /// their place. Behind it is a jump to the next instruction, where our own
    /// probes sit.
    macro_rules! exports {
        ($($index:literal $symbol:ident $body:ident;)*) => {
            $(
                /// See the table of entry points.
                ///
                /// # Safety
                /// As the driver's.
                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                #[unsafe(link_section = ".text.xsched_exports")]
                pub unsafe extern "C-unwind" fn $symbol() {
                    std::arch::naked_asm!(
                        ".cfi_startproc",
                        ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
                        ".byte 0xeb, 0x00",
                        "mov r11d, {index}",
                        "jmp {body}",
                        ".p2align 5, 0xcc",
                        ".cfi_endproc",
                        index = const $index,
                        body = sym $body::<Cuda>,
                    )
                }
            )*

            static ADDRESSES: [unsafe extern "C-unwind" fn(); COUNT] = [$($symbol),*];
            const _: () = {
                // Both lists come from one table.
                $(assert!(is_same(EXPORTS[$index].symbol, stringify!($symbol)));)*
            };
        };
    }

    const fn is_same(one: &str, other: &str) -> bool {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let mut at = 0;
        while at < one.len() && at < other.len() && one[at] == other[at] {
            at += 1;
        }
        at == one.len() && at == other.len()
    }

    include!(concat!(env!("OUT_DIR"), "/exports.rs"));

    /// The address of our own definition of an export.
    pub fn own_address(index: usize) -> Option<usize> {
        ADDRESSES.get(index).map(|&export| export as usize)
    }
}

#[cfg(test)]
mod trampolines {
    /// Unit tests run without trampolines.
    pub fn own_address(_index: usize) -> Option<usize> {
        None
    }
}

pub use trampolines::own_address;

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_shim_core::calls::{find, variants};

    #[test]
    fn a_name_has_its_versions_and_twins_behind_it() {
        assert!(find(&EXPORTS, b"cuLaunchKernel").is_some());
        assert_eq!(find(&EXPORTS, b"cuMemAlloc_v2"), None);
        let of = |name: &[u8]| -> Vec<&str> {
            variants(&EXPORTS, name)
                .map(|i| EXPORTS[i].symbol)
                .collect()
        };
        assert_eq!(
            of(b"cuGraphLaunch"),
            ["cuGraphLaunch", "cuGraphLaunch_ptsz"]
        );
        assert_eq!(
            of(b"cuGetProcAddress"),
            ["cuGetProcAddress", "cuGetProcAddress_v2"]
        );
        assert_eq!(
            of(b"cuMemcpyHtoDAsync"),
            [
                "cuMemcpyHtoDAsync",
                "cuMemcpyHtoDAsync_v2",
                "cuMemcpyHtoDAsync_v2_ptsz"
            ]
        );
    }
}
