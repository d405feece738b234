//! Who called: launches per calling library, in the status page.

use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use super::{Label, LabelState, Route};
use crate::units::StreamClass;

/// Libraries a page can tell apart; the last slot collects the others.
pub const CALLER_SLOTS: usize = 64;
/// Bytes of a library's name that are kept: its basename's last ones, since
/// the version at the end is what tells copies apart.
pub const CALLER_NAME_LEN: usize = 60;

/// One calling library.
#[repr(C, align(64))]
pub struct CallerSlot {
    name: Label<CALLER_NAME_LEN>,
    /// Launches, by [`Route`] and [`StreamClass`].
    pub launches: [[AtomicU64; StreamClass::COUNT]; Route::COUNT],
}

const _: () = assert!(size_of::<CallerSlot>() == 128);

impl CallerSlot {
    /// A free slot.
    pub const fn new() -> CallerSlot {
        CallerSlot {
            name: Label {
                state: AtomicU32::new(LabelState::Free as u32),
                bytes: [const { AtomicU8::new(0) }; CALLER_NAME_LEN],
            },
            launches: [const { [const { AtomicU64::new(0) }; StreamClass::COUNT] }; Route::COUNT],
        }
    }

    /// Takes the slot for the library called `name` if it is free. One
    /// thread wins; the others look again or use another slot.
    pub fn claim(&self, name: &[u8]) -> bool {
        self.name.claim(name)
    }

    /// The library's name, up to the first NUL, if the slot is in use.
    /// Whoever reads another process's page must expect any bytes here.
    pub fn name<'b>(&self, buffer: &'b mut [u8; CALLER_NAME_LEN]) -> Option<&'b [u8]> {
        self.name.read(buffer)
    }
}

impl Default for CallerSlot {
    fn default() -> CallerSlot {
        CallerSlot::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_named_once_and_keeps_the_end_of_long_names() {
        let slot = CallerSlot::new();
        let mut buffer = [0; CALLER_NAME_LEN];
        assert_eq!(slot.name(&mut buffer), None);
        assert!(slot.claim(b"librocblas.so.4"));
        assert!(!slot.claim(b"other"));
        assert_eq!(slot.name(&mut buffer), Some(&b"librocblas.so.4"[..]));

        let long = CallerSlot::new();
        let name = [vec![b'x'; 100], b".so.6".to_vec()].concat();
        assert!(long.claim(&name));
        let got = long.name(&mut buffer).expect("named");
        assert_eq!(got.len(), CALLER_NAME_LEN);
        assert!(got.ends_with(b".so.6"));
    }
}
