//! Reads what the BPF programs count.

use std::collections::HashMap;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};

use aya::Ebpf;
use aya::maps::{MapData, MapError, PerCpuArray, PerCpuHashMap, RingBuf};
use xsched_common::bpf::{CallKey, Drop, FirstSeen};

#[derive(Clone, Copy)]
#[repr(transparent)]
struct RawKey(CallKey);

// SAFETY: `CallKey` is `repr(C)` of integers without padding; every bit
// pattern is one.
unsafe impl aya::Pod for RawKey {}

/// Events that could not be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    by_reason: [u64; Drop::COUNT as usize],
}

impl Drops {
    /// For one reason.
    pub fn of(&self, reason: Drop) -> u64 {
        self.by_reason[reason as usize]
    }

    /// Calls that are missing in the counts. A lost notice is not one.
    pub fn calls(&self) -> u64 {
        self.of(Drop::CountsFull) + self.of(Drop::StackUnreadable)
    }
}

/// The maps of the loaded programs.
pub struct Maps {
    calls: PerCpuHashMap<MapData, RawKey, u64>,
    first_seen: RingBuf<MapData>,
    events: PerCpuArray<MapData, u64>,
    drops: PerCpuArray<MapData, u64>,
}

impl Maps {
    pub(super) fn take(bpf: &mut Ebpf) -> Result<Maps, MapError> {
        let mut take = |name: &str| {
            bpf.take_map(name).ok_or_else(|| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        Ok(Maps {
            calls: take("CALLS")?.try_into()?,
            first_seen: take("FIRST_SEEN")?.try_into()?,
            events: take("EVENTS")?.try_into()?,
            drops: take("DROPS")?.try_into()?,
        })
    }

    /// Total per key since the key was first seen.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn calls(&self) -> Result<HashMap<CallKey, u64>, CountsError> {
        self.calls
            .iter()
            .map(|entry| {
                let (RawKey(key), per_cpu) = entry?;
                Ok((key, per_cpu.iter().sum()))
            })
            .collect()
    }

    /// Makes room: forgets a key.
    pub fn forget(&mut self, key: CallKey) {
        // It may be gone already: nobody counts on the result.
        let _ = self.calls.remove(&RawKey(key));
    }

    /// Probe hits since the programs were loaded, counted or dropped.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn events(&self) -> Result<u64, CountsError> {
        Ok(self.events.get(&0, 0)?.iter().sum())
    }

    /// What could not be counted since the programs were loaded.
    ///
    /// # Errors
    /// The kernel refuses to read the map.
    pub fn drops(&self) -> Result<Drops, CountsError> {
        let mut drops = Drops::default();
        for reason in Drop::ALL {
            let index = reason as u32;
            drops.by_reason[reason as usize] = self.drops.get(&index, 0)?.iter().sum();
        }
        Ok(drops)
    }

    /// Hands every pending notice of a new key to `each`.
    pub fn drain_first_seen(&mut self, mut each: impl FnMut(FirstSeen)) {
        while let Some(record) = self.first_seen.next() {
            if record.len() >= mem::size_of::<FirstSeen>() {
                // SAFETY: the length was checked; `FirstSeen` is integers
                // only, and an unaligned read needs no alignment.
                each(unsafe { record.as_ptr().cast::<FirstSeen>().read_unaligned() });
            }
        }
    }

    /// Readable when a notice is pending.
    pub fn first_seen_fd(&self) -> BorrowedFd<'_> {
        self.first_seen.as_fd()
    }
}

/// The counts cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the BPF maps: {0}")]
pub struct CountsError(String);

impl From<MapError> for CountsError {
    fn from(error: MapError) -> CountsError {
        CountsError(match error {
            MapError::SyscallError(e) => format!("{e}: {}", e.io_error),
            e => e.to_string(),
        })
    }
}
