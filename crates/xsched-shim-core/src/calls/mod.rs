//! What the library does when the program calls one of its exports.
//!
//! The vendors' interfaces are alike where it matters here: streams and events
//! are words, the words 0, 1 and 2 name the default streams, errors are numbers
//! with the same meanings. So this is written once, for a [`Runtime`]: the rows
//! of its table of entry points, and what its functions are called.

pub mod commands;
pub mod devices;
mod fence;
pub mod forward;
mod frame;
pub mod handles;
pub mod hooks;
mod host_functions;
pub mod services;
mod streams;
mod told;
#[doc(hidden)]
pub mod trampoline;

use std::sync::atomic::AtomicUsize;

use xsched_common::platform::{EntryPoint, Platform as Name};

use crate::platform::Platform;
pub use services::{Service, Services};

/// Success.
const SUCCESS: i32 = 0;
/// Work is still in flight.
const NOT_READY: i32 = 600;
/// What a call returns that no runtime implements.
const NOT_SUPPORTED: i32 = 801;
/// The flag of an event that keeps no time.
const DISABLE_TIMING: u64 = 2;

/// A platform whose library is made of the table of entry points.
pub trait Runtime: Platform {
    /// Which it is.
    const PLATFORM: Name;

    /// Flags that make the events of fences cheaper, the best first; the last
    /// is zero.
    const EVENT_FLAGS: &'static [u32];

    /// Every function that is exported, sorted by symbol; a trampoline's index
    /// is its place here.
    fn rows() -> &'static [EntryPoint];

    /// What the trampolines lead to, zero while unknown: the runtime's functions
    /// behind the exports, then what other trampolines of the platform lead to.
    fn real() -> &'static [AtomicUsize];

    /// The address of our own definition of an export.
    fn own_address(index: usize) -> Option<usize>;

    /// What the shim itself calls.
    fn services() -> &'static Services;

    /// Whether a call that entered the trampoline `index` passes the gate
    /// later, in another one.
    fn passes_later(index: usize) -> bool;
}

/// The export whose trampoline passed `index`.
#[inline(always)]
fn of_trampoline<R: Runtime>(index: usize) -> Option<&'static EntryPoint> {
    let exports = R::rows();
    exports.get(if index < exports.len() {
        index
    } else {
        index - exports.len()
    })
}

/// The export called `symbol`.
pub fn find(exports: &[EntryPoint], symbol: &[u8]) -> Option<usize> {
    exports
        .binary_search_by(|export| export.symbol.as_bytes().cmp(symbol))
        .ok()
}

/// The exports whose names begin with `symbol`, itself first: a runtime may
/// answer for a name with a variant of it.
pub fn variants(exports: &[EntryPoint], symbol: &[u8]) -> impl Iterator<Item = usize> {
    let first = exports.partition_point(|export| export.symbol.as_bytes() < symbol);
    let rest = exports.iter().enumerate().skip(first);
    rest.take_while(move |(_, export)| export.symbol.as_bytes().starts_with(symbol))
        .map(|(index, _)| index)
}

/// Where the exports' trampolines lie.
pub fn code<R: Runtime>() -> std::ops::Range<usize> {
    // No trampoline is longer than its alignment.
    let all = || (0..R::rows().len()).filter_map(R::own_address);
    all().min().unwrap_or(0)..all().max().map_or(0, |last| last + 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xsched_common::platform::ENTRY_POINTS;

    #[test]
    fn exports_are_found_with_their_variants() {
        for (i, export) in ENTRY_POINTS.iter().enumerate() {
            assert_eq!(find(ENTRY_POINTS, export.symbol.as_bytes()), Some(i));
            assert_eq!(
                variants(ENTRY_POINTS, export.symbol.as_bytes()).next(),
                Some(i)
            );
        }
        assert_eq!(find(ENTRY_POINTS, b"noSuchFunction"), None);
        assert_eq!(variants(ENTRY_POINTS, b"noSuchFunction").count(), 0);
    }
}

/// A runtime that is never there, for unit tests.
#[cfg(test)]
mod nobody;
#[cfg(test)]
pub(crate) use nobody::Nobody as Test;
