//! What the BPF programs and the agent share: map keys, values and cookies.
//!
//! `#[repr(C)]` without implicit padding, no `bool`, no `usize`: the verifier
//! reads maps as bytes, and padding would be uninitialised ones.

use crate::hip::StreamAt;
use crate::units::StreamClass;

/// A key of the map of launch counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The process (thread group) in the initial pid namespace.
    pub tgid: u32,
    /// Index into [`crate::hip::ENTRY_POINTS`].
    pub api: u16,
    /// A [`StreamClass`].
    pub stream: u8,
    /// A [`CallRoute`].
    pub route: u8,
    /// The return address at the function's entry: in the library that
    /// called.
    pub caller: u64,
}

/// Which function a probe sits on, or whether a call of the runtime's passed
/// through a shim's before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CallRoute {
    /// The runtime's function, called without passing through the shim's.
    Direct = 0,
    /// The runtime's function, entered from the shim's.
    Shim = 1,
}

impl CallRoute {
    /// The route with this number, if there is one.
    pub const fn from_raw(raw: u8) -> Option<CallRoute> {
        match raw {
            0 => Some(CallRoute::Direct),
            1 => Some(CallRoute::Shim),
            _ => None,
        }
    }
}

/// A record of the ring buffer: a [`CallKey`] was seen for the first time.
/// The agent maps its address to a library while the process still lives.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstSeen {
    /// The key.
    pub key: CallKey,
    /// The thread.
    pub tid: u32,
    /// Zero.
    pub reserved: u32,
    /// CLOCK_MONOTONIC, ns.
    pub time_ns: u64,
}

/// Why the kernel could not count an event; an index into the map of drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Drop {
    /// The map of counts was full.
    CountsFull = 0,
    /// The ring buffer was full: a first-seen notice is lost, its count is not.
    RingFull = 1,
    /// The caller's stack could not be read.
    StackUnreadable = 2,
}

impl Drop {
    /// How many reasons there are.
    pub const COUNT: u32 = 3;
    /// All reasons, in map order.
    pub const ALL: [Drop; Drop::COUNT as usize] =
        [Drop::CountsFull, Drop::RingFull, Drop::StackUnreadable];

    /// The name in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Drop::CountsFull => "counts_full",
            Drop::RingFull => "ring_full",
            Drop::StackUnreadable => "stack_unreadable",
        }
    }
}

/// What a probe knows about the function it sits on, packed into the
/// attachment's cookie:
/// `api:16 | where:8 | register:8 | offset:16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Index into [`crate::hip::ENTRY_POINTS`].
    pub api: u16,
    /// Where the stream is.
    pub stream_at: StreamAt,
}

impl Cookie {
    /// As the kernel stores it.
    pub const fn pack(self) -> u64 {
        let (place, register, offset) = match self.stream_at {
            StreamAt::Unknown => (0u64, 0u64, 0u64),
            StreamAt::Register(r) => (1, r as u64, 0),
            StreamAt::Stack(offset) => (2, 0, offset as u64),
            StreamAt::Field(r, offset) => (3, r as u64, offset as u64),
        };
        self.api as u64 | place << 16 | register << 24 | offset << 32
    }

    /// Back from the kernel.
    pub const fn unpack(raw: u64) -> Cookie {
        let register = crate::hip::Register::from_raw((raw >> 24) as u8);
        let offset = (raw >> 32) as u16;
        Cookie {
            api: raw as u16,
            stream_at: match (raw >> 16) as u8 {
                1 => StreamAt::Register(register),
                2 => StreamAt::Stack(offset),
                3 => StreamAt::Field(register, offset),
                _ => StreamAt::Unknown,
            },
        }
    }
}

const _: () = {
    assert!(size_of::<CallKey>() == 16);
    assert!(size_of::<FirstSeen>() == 32);
    assert!(StreamClass::COUNT <= u8::MAX as usize);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hip::ENTRY_POINTS;

    #[test]
    fn every_entry_points_cookie_round_trips() {
        for (api, entry) in ENTRY_POINTS.iter().enumerate() {
            let cookie = Cookie {
                api: api as u16,
                stream_at: entry.stream_at,
            };
            assert_eq!(Cookie::unpack(cookie.pack()), cookie);
        }
    }
}
