//! What a trampoline hands to its handler: the caller's registers and stack.

use xsched_common::platform::{ArgumentAt, Register};

/// The stack as `trampoline.rs` leaves it; the lowest address first.
#[repr(C)]
pub struct Frame {
    /// Which export was entered.
    pub export: u64,
    /// r9, r8, rcx, rdx, rsi, rdi: the argument registers, last pushed first.
    saved: [u64; 6],
    /// Where the caller goes on.
    pub return_address: u64,
    // The caller's stack arguments follow.
}

/// Bytes from a [`Frame`] to the stack pointer at the function's first
/// instruction, which points at the return address.
const ENTRY_SP: usize = std::mem::offset_of!(Frame, return_address);

impl Frame {
    /// An argument register.
    #[inline(always)]
    pub fn register(&self, register: Register) -> u64 {
        // No table of jumps: every launch comes by here.
        self.saved[Register::R9 as usize - register as usize]
    }

    /// The stream argument; `None` when the function has none or the
    /// structure that holds it is NULL.
    ///
    /// # Safety
    /// `this` must come from a trampoline whose export has its stream at
    /// `place`. It is a pointer because stack arguments lie beyond the frame.
    #[inline(always)]
    pub unsafe fn stream(this: *const Frame, place: ArgumentAt) -> Option<u64> {
        // Not a match, which becomes a table of jumps.
        if let ArgumentAt::Stack(offset) = place {
            // SAFETY: the function's prototype puts a stack argument at this
            // offset from the stack pointer (the table of entry points).
            let argument = unsafe { this.byte_add(ENTRY_SP + usize::from(offset)) };
            // SAFETY: as above.
            return Some(unsafe { argument.cast::<u64>().read() });
        }
        if let ArgumentAt::Register(register) = place {
            // SAFETY: the caller's.
            return Some(unsafe { &*this }.register(register));
        }
        // SAFETY: the caller's.
        unsafe { Frame::field(this, place) }
    }

    /// The same for a stream in a structure.
    ///
    /// # Safety
    /// As above.
    #[inline(never)]
    unsafe fn field(this: *const Frame, place: ArgumentAt) -> Option<u64> {
        let ArgumentAt::Field(register, offset) = place else {
            return None;
        };
        // SAFETY: the caller's.
        let structure = unsafe { &*this }.register(register) as *const u8;
        if structure.is_null() {
            return None;
        }
        // SAFETY: the runtime reads the same field of the same argument in
        // this very call.
        Some(unsafe {
            structure
                .add(usize::from(offset))
                .cast::<u64>()
                .read_unaligned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_found_where_the_convention_puts_them() {
        #[repr(C)]
        struct Call {
            frame: Frame,
            stack: [u64; 2],
        }
        let structure = [7u64, 8, 9];
        let call = Call {
            frame: Frame {
                export: 3,
                saved: [6, 5, 4, 3, 2, structure.as_ptr() as u64],
                return_address: 0x1234,
            },
            stack: [100, 200],
        };
        let frame = std::ptr::from_ref(&call).cast::<Frame>();
        assert_eq!(call.frame.register(Register::Rsi), 2);
        assert_eq!(call.frame.register(Register::R9), 6);
        // SAFETY: the places are those of `call`.
        let stream = |place| unsafe { Frame::stream(frame, place) };
        assert_eq!(stream(ArgumentAt::Stack(8)), Some(call.stack[0]));
        assert_eq!(stream(ArgumentAt::Stack(16)), Some(call.stack[1]));
        assert_eq!(
            stream(ArgumentAt::Field(Register::Rdi, 8)),
            Some(structure[1])
        );
        assert_eq!(stream(ArgumentAt::Nowhere), None);
    }
}
