//! Which work the gate is for: by library and by function, in the control
//! page.
//!
//! Since ABI 1.2, in space that older agents leave zero (everything is gated
//! but what [`super::PassthroughList`] names) and older shims do not read: an
//! agent must not turn a list round for those.

use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// Functions that a page can name.
pub const MAX_SCOPE_APIS: usize = 62;

/// How a list of names is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u32)]
pub enum ListMeaning {
    /// What it names passes the gate.
    #[default]
    Passes = 0,
    /// What it names is gated, all else passes.
    OnlyGated = 1,
}

/// Where something stands in a list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// In it.
    Named,
    /// Not in it.
    NotNamed,
    /// The list names nothing.
    NoList,
}

impl ListMeaning {
    /// Whether what is listed so passes the gate. Without a list nothing
    /// does, whatever it is meant as.
    pub const fn passes(self, listed: Listed) -> bool {
        matches!(
            (self, listed),
            (ListMeaning::Passes, Listed::Named) | (ListMeaning::OnlyGated, Listed::NotNamed)
        )
    }

    const fn from_raw(raw: u32) -> ListMeaning {
        match raw {
            1 => ListMeaning::OnlyGated,
            _ => ListMeaning::Passes,
        }
    }
}

/// Agent-written, at any time; read by the shim when it evaluates a library
/// anew, and by threads at a gate that is not open.
#[repr(C)]
pub struct GateScope {
    /// How [`super::PassthroughList`] is meant.
    libraries: AtomicU32,
    /// How `apis` is meant.
    api_meaning: AtomicU32,
    /// [`api_hash`] of functions, up to the first zero.
    apis: [AtomicU32; MAX_SCOPE_APIS],
}

const _: () = assert!(size_of::<GateScope>() == 256);

/// More functions than a page can name. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyApis;

impl core::fmt::Display for TooManyApis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "more than {MAX_SCOPE_APIS} functions: turn the list round, or name fewer"
        )
    }
}

impl core::error::Error for TooManyApis {}

/// FNV-1a of a function's name, never zero. No two entry points share one
/// (tested); a name from another version that does is treated as its twin.
pub const fn api_hash(symbol: &str) -> u32 {
    let bytes = symbol.as_bytes();
    let (mut hash, mut at) = (0x811c_9dc5_u32, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    if hash == 0 { 1 } else { hash }
}

impl GateScope {
    /// Everything is gated; all bytes zero.
    pub const fn new() -> GateScope {
        GateScope {
            libraries: AtomicU32::new(0),
            api_meaning: AtomicU32::new(0),
            apis: [const { AtomicU32::new(0) }; MAX_SCOPE_APIS],
        }
    }

    /// How the list of libraries is meant from its next write on. Only the
    /// agent calls this, before it writes the list.
    pub fn set_libraries(&self, meaning: ListMeaning) {
        self.libraries.store(meaning as u32, Release);
    }

    /// How the list of libraries is meant.
    pub fn libraries(&self) -> ListMeaning {
        ListMeaning::from_raw(self.libraries.load(Acquire))
    }

    /// Replaces the list of functions. Only the agent calls this, from one
    /// thread; a reader that meets it may see parts of both lists once.
    pub fn set_apis<N: AsRef<str>>(
        &self,
        meaning: ListMeaning,
        names: &[N],
    ) -> Result<(), TooManyApis> {
        if names.len() > MAX_SCOPE_APIS {
            return Err(TooManyApis);
        }
        let hashes = names.iter().map(|name| api_hash(name.as_ref()));
        self.api_meaning.store(meaning as u32, Relaxed);
        for (to, hash) in self.apis.iter().zip(hashes.chain(core::iter::repeat(0))) {
            to.store(hash, Relaxed);
        }
        Ok(())
    }

    /// Whether calls of `symbol` pass the gate. Reads any bytes without harm.
    pub fn passes_api(&self, symbol: &str) -> bool {
        let hash = api_hash(symbol);
        let mut apis = self.apis.iter().map(|api| api.load(Relaxed));
        let listed = match apis.next() {
            None | Some(0) => Listed::NoList,
            Some(first) if first == hash => Listed::Named,
            Some(_) if apis.take_while(|api| *api != 0).any(|api| api == hash) => Listed::Named,
            Some(_) => Listed::NotNamed,
        };
        ListMeaning::from_raw(self.api_meaning.load(Relaxed)).passes(listed)
    }
}

impl Default for GateScope {
    fn default() -> GateScope {
        GateScope::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::ENTRY_POINTS;
    use std::collections::HashSet;
    use std::vec::Vec;

    #[test]
    fn no_two_entry_points_share_a_hash() {
        let hashes: HashSet<u32> = ENTRY_POINTS.iter().map(|e| api_hash(e.symbol)).collect();
        assert_eq!(hashes.len(), ENTRY_POINTS.len());
        assert!(!hashes.contains(&0));
    }

    #[test]
    fn functions_pass_or_are_the_only_gated_ones() {
        let scope = GateScope::new();
        assert!(!scope.passes_api("hipMemsetAsync"));
        scope
            .set_apis(ListMeaning::Passes, &["hipMemsetAsync"])
            .expect("room");
        assert!(scope.passes_api("hipMemsetAsync") && !scope.passes_api("hipLaunchKernel"));
        scope
            .set_apis(ListMeaning::OnlyGated, &["hipLaunchKernel"])
            .expect("room");
        assert!(scope.passes_api("hipMemsetAsync") && !scope.passes_api("hipLaunchKernel"));
        scope
            .set_apis::<&str>(ListMeaning::OnlyGated, &[])
            .expect("room");
        assert!(
            !scope.passes_api("hipMemsetAsync"),
            "no list: everything is gated"
        );
        let many: Vec<&str> = core::iter::repeat_n("x", MAX_SCOPE_APIS + 1).collect();
        assert_eq!(scope.set_apis(ListMeaning::Passes, &many), Err(TooManyApis));
        assert!(!scope.passes_api("x"));
    }

    #[test]
    fn meanings_are_read_as_written() {
        let scope = GateScope::new();
        assert_eq!(scope.libraries(), ListMeaning::Passes);
        scope.set_libraries(ListMeaning::OnlyGated);
        assert_eq!(scope.libraries(), ListMeaning::OnlyGated);
    }
}
