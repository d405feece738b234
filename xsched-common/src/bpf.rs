//! What the BPF programs and the agent share: map keys, values and cookies.
//!
//! `#[repr(C)]` without implicit padding, no `bool`, no `usize`: the verifier
//! reads maps as bytes, and padding would be uninitialised ones.

use crate::platform::{ArgumentAt, ENTRY_POINTS, Register};
use crate::units::StreamClass;

/// A key of the map of launch counts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallKey {
    /// The process (thread group) in the initial pid namespace.
    pub tgid: u32,
    /// Index into [`crate::platform::ENTRY_POINTS`].
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

/// The stack that a shim may use between its entry and the runtime's, bytes:
/// a call from deeper down is not taken for one that came through it. Ours
/// keeps a number per stream there, 4 KiB, and some 2 KiB of other frames
/// without optimisation.
pub const SHIM_FRAMES: u64 = 16 << 10;

/// The caller of a [`CallKey`] that stands for all call sites of a process
/// beyond [`KEYS_PER_PROCESS`]: a return address that no call has.
pub const OTHER_CALLERS: u64 = 0;

/// Keys that one process may have, so that generated code with call sites
/// without end cannot take the map from the others. Its further calls are
/// counted under [`OTHER_CALLERS`].
pub const KEYS_PER_PROCESS: u32 = 1_024;

/// Keys on top of [`KEYS_PER_PROCESS`] for [`OTHER_CALLERS`]: functions times
/// stream classes that one process uses. Past it calls are dropped.
pub const OTHER_KEYS_PER_PROCESS: u32 = 128;

/// Keys that all processes together have room for, unless the agent says
/// otherwise.
pub const MAX_KEYS: u32 = 16_384;

/// Processes that there is room for, likewise.
pub const MAX_PROCESSES: u32 = Room::for_keys(MAX_KEYS).processes;

/// Keys of the map of bursts.
pub const MAX_BURSTS: u32 = 16_384;

/// The sizes of the maps of counts and of processes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Keys.
    pub keys: u32,
    /// Processes.
    pub processes: u32,
}

impl Room {
    /// For so many keys: most processes launch and wait, and have two at
    /// least.
    pub const fn for_keys(keys: u32) -> Room {
        Room {
            keys,
            processes: keys.div_ceil(2),
        }
    }
}

/// A user's share of so much room: half. Call sites beyond it are counted
/// under [`OTHER_CALLERS`].
pub const fn user_share(room: u32) -> u64 {
    room as u64 / 2
}

/// What a user may have at most: its share and an eighth of the room for
/// [`OTHER_CALLERS`]. Past it calls are dropped.
pub const fn user_most(room: u32) -> u64 {
    user_share(room) + room as u64 / 8
}

/// A value of the map of processes: whom a process runs for and how many keys
/// it has, packed (`uid:32 | keys:32`) so that one addition counts a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessKeys {
    /// The real user when it was first counted, in the initial namespace.
    pub uid: u32,
    /// Its keys in the map of counts.
    pub keys: u32,
}

impl ProcessKeys {
    /// As the map holds it.
    pub const fn pack(self) -> u64 {
        (self.uid as u64) << 32 | self.keys as u64
    }

    /// Back from the map.
    pub const fn unpack(raw: u64) -> ProcessKeys {
        ProcessKeys {
            uid: (raw >> 32) as u32,
            keys: raw as u32,
        }
    }
}

/// A value of the map of users: what the processes of one have of the maps.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserUse {
    /// Keys in the map of counts.
    pub keys: u64,
    /// Processes in the map of processes.
    pub processes: u64,
    /// Keys in the map of bursts.
    pub bursts: u64,
}

/// A record of the ring of first-seen keys: a [`CallKey`] was seen for the
/// first time. The agent maps its address to a library while the process
/// still lives.
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

/// A record of the ring of processes, which nothing else writes: a flood of
/// calls cannot drop it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// CLOCK_MONOTONIC, ns.
    pub time_ns: u64,
    /// The process.
    pub tgid: u32,
    /// A [`ProcessChange`].
    pub change: u32,
}

/// What happened to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ProcessChange {
    /// It runs another program from now on. Told of every process.
    Exec = 0,
    /// Its main thread has ended. Told of processes that have been counted.
    Exit = 1,
    /// Its first call was counted.
    FirstCall = 2,
}

impl ProcessChange {
    /// The change with this number, if there is one.
    pub const fn from_raw(raw: u32) -> Option<ProcessChange> {
        match raw {
            0 => Some(ProcessChange::Exec),
            1 => Some(ProcessChange::Exit),
            2 => Some(ProcessChange::FirstCall),
            _ => None,
        }
    }
}

/// A record of the ring of single calls, written while a trace is recorded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallRecord {
    /// CLOCK_MONOTONIC, ns.
    pub time_ns: u64,
    /// The return address; 0 at a [`CallMoment::Return`].
    pub caller: u64,
    /// The stream's handle; 0 at a [`CallMoment::Return`].
    pub stream: u64,
    /// Of a launch: the kernel's handle, or the address that stands for it in
    /// the program; 0 at a [`CallMoment::Return`].
    pub kernel: u64,
    /// Time since the same call entered a shim, ns; 0 without one.
    pub since_shim_ns: u64,
    /// The process.
    pub tgid: u32,
    /// The thread.
    pub tid: u32,
    /// Index into [`crate::platform::ENTRY_POINTS`].
    pub api: u16,
    /// A [`CallMoment`].
    pub moment: u8,
    /// A [`CallRoute`].
    pub route: u8,
    /// Zero.
    pub reserved: u32,
}

/// Bytes of a kernel's name that are told.
pub const KERNEL_NAME_LEN: usize = 128;

/// A record of the ring of kernels that were looked up by name, written while
/// a trace is recorded.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelName {
    /// The handle that the runtime gave.
    pub handle: u64,
    /// The process.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
    /// Up to the first NUL; a longer name is cut.
    pub name: [u8; KERNEL_NAME_LEN],
}

/// Which end of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CallMoment {
    /// It was entered.
    Entry = 0,
    /// It returned.
    Return = 1,
}

impl CallMoment {
    /// The moment with this number, if there is one.
    pub const fn from_raw(raw: u8) -> Option<CallMoment> {
        match raw {
            0 => Some(CallMoment::Entry),
            1 => Some(CallMoment::Return),
            _ => None,
        }
    }
}

/// A key of the map of bursts.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BurstKey {
    /// The process.
    pub tgid: u32,
    /// [`crate::buckets::bucket_of`] of a burst's length.
    pub bucket: u32,
}

/// What a thread is at, for bursts: first launch after idle to the return of
/// a call that [drains](crate::platform::EntryPoint::drains).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadBurst {
    /// The epoch in which this is true. In another one nothing is known of
    /// the thread: probes were away, and it may be in the middle of a burst.
    /// Its first return from a wait ends that.
    pub epoch: u64,
    /// When the burst began, CLOCK_MONOTONIC, ns; 0 while idle.
    pub since_ns: u64,
}

/// Why the kernel could not count an event; an index into the map of drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Drop {
    /// The map of counts was full.
    CountsFull = 0,
    /// The ring of first-seen keys was full: a notice is lost, its count is
    /// not.
    RingFull = 1,
    /// The caller's stack could not be read.
    StackUnreadable = 2,
    /// The process has more keys than its share of the map.
    ProcessQuota = 3,
    /// The ring of processes was full: the next sweep finds out.
    LifecycleFull = 4,
    /// The map of bursts, or the user's share of it, was full: a burst is
    /// missing in the latencies.
    BurstsFull = 5,
    /// The ring of a recording was full: a call is missing in the trace.
    RecordFull = 6,
    /// The processes of one user have more than their share of the maps.
    UserQuota = 7,
}

impl Drop {
    /// How many reasons there are.
    pub const COUNT: u32 = 8;
    /// All reasons, in map order.
    pub const ALL: [Drop; Drop::COUNT as usize] = [
        Drop::CountsFull,
        Drop::RingFull,
        Drop::StackUnreadable,
        Drop::ProcessQuota,
        Drop::LifecycleFull,
        Drop::BurstsFull,
        Drop::RecordFull,
        Drop::UserQuota,
    ];

    /// The name in JSON and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Drop::CountsFull => "counts_full",
            Drop::RingFull => "ring_full",
            Drop::StackUnreadable => "stack_unreadable",
            Drop::ProcessQuota => "process_quota",
            Drop::LifecycleFull => "lifecycle_full",
            Drop::BurstsFull => "bursts_full",
            Drop::RecordFull => "record_full",
            Drop::UserQuota => "user_quota",
        }
    }

    /// Whether a call is missing in the counts. Else something about it is.
    pub const fn loses_call(self) -> bool {
        match self {
            Drop::CountsFull
            | Drop::StackUnreadable
            | Drop::ProcessQuota
            | Drop::RecordFull
            | Drop::UserQuota => true,
            Drop::RingFull | Drop::LifecycleFull | Drop::BurstsFull => false,
        }
    }
}

/// What a call does to bursts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CallRole {
    /// Nothing.
    Other = 0,
    /// It may begin one.
    Launch = 1,
    /// Its return ends one.
    Drain = 2,
}

/// What a probe knows about the function it sits on, packed into the
/// attachment's cookie:
/// `api:16 | where:8 | register:8 | offset:16 | role:8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// Index into [`crate::platform::ENTRY_POINTS`].
    pub api: u16,
    /// What it does to bursts.
    pub role: CallRole,
    /// Where the stream is.
    pub stream_at: ArgumentAt,
}

impl Cookie {
    /// Of the entry point with this index.
    pub fn of(api: u16) -> Cookie {
        let entry = &ENTRY_POINTS[usize::from(api)];
        Cookie {
            api,
            role: if entry.is_launch() {
                CallRole::Launch
            } else if entry.drains() {
                CallRole::Drain
            } else {
                CallRole::Other
            },
            stream_at: entry.stream_at,
        }
    }

    /// As the kernel stores it.
    pub const fn pack(self) -> u64 {
        let (place, register, offset) = match self.stream_at {
            ArgumentAt::Nowhere => (0u64, 0u64, 0u64),
            ArgumentAt::Register(r) => (1, r as u64, 0),
            ArgumentAt::Stack(offset) => (2, 0, offset as u64),
            ArgumentAt::Field(r, offset) => (3, r as u64, offset as u64),
        };
        self.api as u64 | place << 16 | register << 24 | offset << 32 | (self.role as u64) << 48
    }

    /// Back from the kernel.
    pub const fn unpack(raw: u64) -> Cookie {
        let register = Register::from_raw((raw >> 24) as u8);
        let offset = (raw >> 32) as u16;
        Cookie {
            api: raw as u16,
            role: match (raw >> 48) as u8 {
                1 => CallRole::Launch,
                2 => CallRole::Drain,
                _ => CallRole::Other,
            },
            stream_at: match (raw >> 16) as u8 {
                1 => ArgumentAt::Register(register),
                2 => ArgumentAt::Stack(offset),
                3 => ArgumentAt::Field(register, offset),
                _ => ArgumentAt::Nowhere,
            },
        }
    }
}

const _: () = {
    assert!(size_of::<CallKey>() == 16);
    assert!(size_of::<FirstSeen>() == 32);
    assert!(size_of::<ProcessEvent>() == 16);
    assert!(size_of::<CallRecord>() == 56);
    assert!(size_of::<KernelName>() == 144);
    assert!(size_of::<BurstKey>() == 8);
    assert!(size_of::<ThreadBurst>() == 16);
    assert!(size_of::<Room>() == 8);
    assert!(size_of::<UserUse>() == 24);
    assert!(StreamClass::COUNT <= u8::MAX as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_points_cookie_round_trips() {
        for (api, entry) in ENTRY_POINTS.iter().enumerate() {
            let cookie = Cookie::of(api as u16);
            assert_eq!(Cookie::unpack(cookie.pack()), cookie);
            assert_eq!(cookie.stream_at, entry.stream_at);
            assert_eq!(cookie.role == CallRole::Launch, entry.is_launch());
        }
    }

    #[test]
    fn a_process_s_keys_are_counted_by_adding_one() {
        let process = ProcessKeys {
            uid: u32::MAX,
            keys: 6,
        };
        let more = ProcessKeys::unpack(process.pack() + 1);
        assert_eq!(more, ProcessKeys { keys: 7, ..process });
    }

    #[test]
    fn one_user_leaves_room_for_others() {
        let room = Room::for_keys(MAX_KEYS);
        assert_eq!(room.processes, 8_192);
        for room in [room.keys, room.processes, MAX_BURSTS] {
            assert!(user_most(room) < u64::from(room));
            assert!(user_share(room) + u64::from(OTHER_KEYS_PER_PROCESS) < user_most(room));
        }
    }

    #[test]
    fn reasons_are_indices_into_the_map() {
        for (index, reason) in Drop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
