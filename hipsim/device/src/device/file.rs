//! Opening the device file, and the byte-range locks that say which slot belongs to a living process.
//!
//! POSIX locks, not OFD locks: a forked child must not keep its parent's slot alive.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::layout::{Device, MAGIC, Slot};
use crate::model::share::MAX_PROCESSES;
use crate::options::Discipline;

/// Why a device cannot be used.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The file cannot be opened, sized, locked or mapped.
    #[error("device file {path}: {what}: {source}; set HIPSIM_DEVICE to a file you can write")]
    Io {
        /// The file.
        path: PathBuf,
        /// The step that failed.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The file is something else, or of another version.
    #[error("{path} is not a device file of this version; remove it or set HIPSIM_DEVICE")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Every slot has a living owner.
    #[error("{path} already serves {MAX_PROCESSES} processes")]
    Full {
        /// The file.
        path: PathBuf,
    },
}

/// A mapped device file.
pub struct DeviceFile {
    /// Kept open: closing any descriptor of the file would drop this process's locks.
    file: File,
    /// Device and inode number, to notice when the program closed the descriptor and reused its number.
    identity: (u64, u64),
    map: NonNull<Device>,
}

// SAFETY: the mapping lives as long as the process and is only accessed through atomics.
unsafe impl Send for DeviceFile {}
// SAFETY: as above.
unsafe impl Sync for DeviceFile {}

/// Byte whose lock serialises attaching. The kernel releases it when the holder dies.
const ATTACH_BYTE: i64 = 0;
/// Attaching takes some 100 us. Who holds the lock for longer is stopped or frozen and is not waited for: without the lock
/// two first processes could only disagree about the discipline.
const ATTACH_PATIENCE: Duration = Duration::from_secs(1);

fn slot_byte(slot: usize) -> i64 {
    1 + slot as i64
}

impl DeviceFile {
    /// Opens or creates the device, and takes a slot in it.
    ///
    /// # Errors
    /// See [`DeviceError`].
    pub fn attach(path: &Path, wanted: Discipline) -> Result<(Self, usize), DeviceError> {
        let error = |what| {
            move |source| DeviceError::Io {
                path: path.to_owned(),
                what,
                source,
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(error("open"))?;
        let deadline = Instant::now() + ATTACH_PATIENCE;
        while let Err(source) = lock(&file, ATTACH_BYTE) {
            if !matches!(source.raw_os_error(), Some(libc::EACCES | libc::EAGAIN)) {
                return Err(error("lock")(source));
            }
            if Instant::now() >= deadline {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        let size = size_of::<Device>() as u64;
        let metadata = file.metadata().map_err(error("stat"))?;
        let (found, identity) = (metadata.len(), (metadata.dev(), metadata.ino()));
        if found == 0 {
            file.set_len(size).map_err(error("resize"))?;
        } else if found != size {
            return Err(DeviceError::Foreign {
                path: path.to_owned(),
            });
        }
        // SAFETY: a fresh shared mapping of a file that is `size` bytes long.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Device>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(error("map")(io::Error::last_os_error()));
        }
        let map = NonNull::new(map.cast()).ok_or_else(|| DeviceError::Foreign {
            path: path.to_owned(),
        })?;
        let device = Self {
            file,
            identity,
            map,
        };
        let shared = device.shared();
        match shared.magic.load(Acquire) {
            0 => {
                shared.size.store(size as u32, Relaxed);
                shared.magic.store(MAGIC, Release);
            }
            MAGIC if shared.size.load(Relaxed) == size as u32 => {}
            _ => {
                return Err(DeviceError::Foreign {
                    path: path.to_owned(),
                });
            }
        }
        if (0..MAX_PROCESSES).all(|slot| !device.alive(slot)) {
            shared.discipline.store(encode(wanted), Relaxed);
        } else if device.discipline() != wanted {
            eprintln!(
                "hipsim: {}: other processes run discipline {:?}",
                path.display(),
                device.discipline()
            );
        }
        let slot = device.take_slot().ok_or_else(|| DeviceError::Full {
            path: path.to_owned(),
        })?;
        unlock(&device.file, ATTACH_BYTE);
        Ok((device, slot))
    }

    /// The shared structure.
    pub fn shared(&self) -> &Device {
        // SAFETY: the mapping is as large as `Device`, is never unmapped, and every field is an atomic.
        unsafe { self.map.as_ref() }
    }

    /// A slot, by an index taken modulo the number of slots (indices come from other processes).
    pub fn slot(&self, slot: usize) -> &Slot {
        &self.shared().slots[slot % MAX_PROCESSES]
    }

    /// The discipline of this device.
    pub fn discipline(&self) -> Discipline {
        match self.shared().discipline.load(Relaxed) {
            2 => Discipline::Fifo,
            _ => Discipline::Amd,
        }
    }

    /// Whether the descriptor still is the device file: a program that closes what it does not know closes it too, and
    /// with it drops the lock on our slot.
    pub fn intact(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// Whether the slot belongs to a living process (this one included). Without a descriptor to ask, everybody lives.
    pub fn alive(&self, slot: usize) -> bool {
        let owner = self.slot(slot).owner.load(Acquire);
        if owner == 0 || owner == owner_word() {
            // F_GETLK does not report this process's own locks, and a second copy of the simulator in this process
            // shares them: what is ours is known by the owner word.
            return owner != 0;
        }
        if !self.intact() {
            return true;
        }
        let mut query = request(libc::F_WRLCK, slot_byte(slot));
        // SAFETY: `query` is a valid flock structure for F_GETLK.
        let result = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLK, &raw mut query) };
        result != 0 || query.l_type != libc::F_UNLCK as libc::c_short
    }

    /// Takes a slot nobody holds. The attach lock is held.
    fn take_slot(&self) -> Option<usize> {
        let own = owner_word();
        (0..MAX_PROCESSES)
            .filter(|slot| self.slot(*slot).owner.load(Acquire) != own)
            .find(|slot| lock(&self.file, slot_byte(*slot)).is_ok())
    }
}

/// The owner word of this process: the kernel's random bytes for this program image, so that an exec or a reused pid
/// differs, mixed with the pid, so that a forked child differs. Never zero.
pub fn owner_word() -> u64 {
    // SAFETY: AT_RANDOM is the address of 16 bytes that live as long as the process.
    let random = unsafe {
        let bytes = libc::getauxval(libc::AT_RANDOM) as *const u64;
        if bytes.is_null() {
            0
        } else {
            bytes.read_unaligned()
        }
    };
    (random ^ u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1
}

fn encode(discipline: Discipline) -> u32 {
    match discipline {
        Discipline::Amd => 1,
        Discipline::Fifo => 2,
    }
}

fn request(kind: libc::c_int, byte: i64) -> libc::flock {
    // SAFETY: flock is plain data; zero is a valid value of every field.
    let mut request: libc::flock = unsafe { std::mem::zeroed() };
    request.l_type = kind as libc::c_short;
    request.l_whence = libc::SEEK_SET as libc::c_short;
    request.l_start = byte;
    request.l_len = 1;
    request
}

/// Locks a byte, or fails at once when another process has it.
fn lock(file: &File, byte: i64) -> io::Result<()> {
    let request = request(libc::F_WRLCK, byte);
    // SAFETY: a valid descriptor and flock structure.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn unlock(file: &File, byte: i64) {
    let request = request(libc::F_UNLCK, byte);
    // SAFETY: a valid descriptor and flock structure. Unlocking an own lock does not fail.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const request) };
}
