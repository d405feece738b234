//! A device seen by who does not use it, as management libraries see one.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Acquire;

use super::layout::{Device, MAGIC, SNAPSHOTS};
use super::time::now;
use crate::model::share::MAX_PROCESSES;

/// A device file that is only read. Processes that died in the middle of work count until a neighbour takes them off.
pub struct Watch {
    map: NonNull<Device>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping that `open` made; nothing refers to it any more.
        unsafe { libc::munmap(self.map.as_ptr().cast(), size_of::<Device>()) };
    }
}

impl Watch {
    /// The device at `path`; none where there is no such device yet.
    pub fn open(path: &Path) -> Option<Watch> {
        let file = File::open(path).ok()?;
        if file.metadata().ok()?.len() != size_of::<Device>() as u64 {
            return None;
        }
        // SAFETY: a fresh shared mapping of a file that is as long as a device.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Device>(),
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return None;
        }
        let watch = Watch {
            map: NonNull::new(map.cast())?,
        };
        (watch.shared().magic.load(Acquire) == MAGIC).then_some(watch)
    }

    fn shared(&self) -> &Device {
        // SAFETY: the mapping is as large as `Device` and lives as long as this; every field is an atomic.
        unsafe { self.map.as_ref() }
    }

    /// Whether some process has work on it now.
    pub fn is_busy(&self) -> bool {
        let shared = self.shared();
        let ahead = now().saturating_add(shared.skipped.load(Acquire));
        if shared.busy_until.load(Acquire) > ahead {
            return true;
        }
        let word = shared.current.load(Acquire);
        let (slot, index) = ((word >> 16) as u16 as usize, word as u16 as usize);
        let latest = &shared.slots[slot % MAX_PROCESSES].snapshots[index % SNAPSHOTS];
        let snapshot = latest.load();
        let end = |slot: usize| shared.slots[slot % MAX_PROCESSES].end.load(Acquire);
        snapshot.advance(now(), end).anybody() != 0
    }

    /// Memory that its processes have, bytes.
    pub fn memory(&self) -> u64 {
        let slots = self.shared().slots.iter();
        let used = slots.filter(|slot| slot.owner.load(Acquire) != 0);
        used.fold(0, |sum, slot| sum.saturating_add(slot.memory.load(Acquire)))
    }
}
