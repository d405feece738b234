//! Functions of the C library that we have hidden from everybody, ourselves
//! included, by exporting their names.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::loader::{self, Version};

/// One of them, looked up when it is needed.
pub struct Hidden {
    name: &'static [u8],
    address: AtomicUsize,
}

impl Hidden {
    /// The function of this name.
    pub const fn new(name: &'static [u8]) -> Hidden {
        Hidden {
            name,
            address: AtomicUsize::new(0),
        }
    }

    /// Its address, or that of a function that does nothing while nobody has
    /// it: before glibc 2.34 the library that does may be opened later.
    pub fn address(&self) -> usize {
        let nobody = nothing as *const () as usize;
        self.known_address().unwrap_or(nobody)
    }

    /// Its address, if it was ever looked up and found.
    pub fn found(&self) -> Option<usize> {
        match self.address.load(Relaxed) {
            0 => None,
            known => Some(known),
        }
    }

    /// Its address, if somebody behind us in load order has it.
    pub fn known_address(&self) -> Option<usize> {
        self.found().or_else(|| {
            let found = self.find()?;
            self.address.store(found, Relaxed);
            Some(found)
        })
    }

    /// The next definition behind ours in load order, which may be another
    /// interposer's. One before ours may lead to us and would go round in
    /// circles; so where the shim was opened behind the C library, that one's.
    fn find(&self) -> Option<usize> {
        let (mut is_behind, mut in_libc) = (false, None);
        loader::visit(|object| {
            if loader::own_contains(object) {
                is_behind = true;
                return ControlFlow::Continue(());
            }
            let is_libc = || loader::has_dlsym(loader::basename(object.path));
            match loader::lookup(object, self.name, Version::Default) {
                Some(address) if is_behind => ControlFlow::Break(address),
                found => {
                    if found.is_some() && is_libc() {
                        in_libc = found;
                    }
                    ControlFlow::Continue(())
                }
            }
        })
        .or(in_libc)
    }
}

extern "C" fn nothing() -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_found_once_and_what_is_not_is_looked_for_again() {
        let known = Hidden::new(b"dlsym");
        let linked = libc::dlsym as *const () as usize;
        assert_eq!((known.address(), known.address()), (linked, linked));
        assert_eq!(known.address.load(Relaxed), linked);
        let missing = Hidden::new(b"xsched_no_such_function");
        assert_eq!(missing.known_address(), None);
        assert_ne!(missing.address(), 0);
        assert_eq!(missing.address.load(Relaxed), 0, "it may come later");
    }
}
