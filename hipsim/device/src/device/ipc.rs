//! Memory that processes on one device share by handle: each piece is a file beside the device's.
//!
//! A name, not a descriptor, leads to it, so that it works wherever the device is shared, in other mount, pid and ipc
//! namespaces too. The exporter removes its files when it frees them or ends; whoever takes a killed process off the device
//! removes that one's ([`remove_all_of`]). As with real memory, who has a piece mapped keeps it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::file::owner_word;

/// Granularity of shared memory, in bytes.
pub const PAGE: usize = 4096;

/// Names a piece on its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub struct Name {
    /// The exporter's word, see [`owner_word`].
    pub owner: u64,
    /// Counts its pieces.
    pub number: u64,
}

/// Where a mapping goes.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Where there is room.
    Anywhere,
    /// Over the pages that are there, whose content moves into the piece.
    Over(usize),
}

/// A mapped piece. It stays mapped until [`Piece::unmap`].
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    /// What others open it by.
    pub name: Name,
    /// Where it is mapped.
    pub start: NonNull<u8>,
    /// Bytes, a multiple of [`PAGE`].
    pub size: usize,
}

// SAFETY: an address and a size; what is done with the memory is its user's business.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

/// The files this process has to remove.
static EXPORTS: Mutex<Vec<(Name, PathBuf)>> = Mutex::new(Vec::new());

fn prefix(device: &Path, owner: u64) -> OsString {
    let mut name = device.file_name().unwrap_or_default().to_owned();
    name.push(format!(".ipc-{owner:016x}-"));
    name
}

fn path(device: &Path, name: Name) -> PathBuf {
    let mut file = prefix(device, name.owner);
    file.push(name.number.to_string());
    device.with_file_name(file)
}

impl Piece {
    /// Makes a piece of `size` bytes, rounded up to pages, that the users of `device` can open.
    ///
    /// # Safety
    /// [`Target::Over`] names pages of this process, as many as the size takes, that nobody writes meanwhile.
    ///
    /// # Errors
    /// The file cannot be made, written or mapped.
    pub unsafe fn create(device: &Path, size: usize, target: Target) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let size = size.max(1).next_multiple_of(PAGE);
        let name = Name {
            owner: owner_word(),
            number: NEXT.fetch_add(1, Ordering::Relaxed),
        };
        let path = path(device, name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let made = || {
            // Whoever may use the device may use what is shared on it.
            file.set_permissions(fs::Permissions::from_mode(
                fs::metadata(device)?.mode() & 0o666,
            ))?;
            file.set_len(size as u64)?;
            if let Target::Over(start) = target {
                // SAFETY: the caller's promise.
                write_all(&file, unsafe {
                    std::slice::from_raw_parts(start as *const u8, size)
                })?;
            }
            map(&file, size, target)
        };
        let start = made().inspect_err(|_| drop(fs::remove_file(&path)))?;
        let mut exports = EXPORTS.lock().unwrap_or_else(PoisonError::into_inner);
        exports.push((name, path));
        Ok(Self { name, start, size })
    }

    /// Maps the piece that another process made.
    ///
    /// # Errors
    /// There is none (any more), or it is not as the handle says.
    pub fn open(device: &Path, name: Name, size: usize) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path(device, name))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.len() != size as u64 || size == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let start = map(&file, size, Target::Anywhere)?;
        Ok(Self { name, start, size })
    }

    /// Unmaps it, and removes the file if it is this process's own.
    ///
    /// # Safety
    /// Nobody uses the memory any more.
    pub unsafe fn unmap(self) {
        self.forget();
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.size) };
    }

    /// Removes the file if it is this process's own: nobody can open the piece any more.
    pub fn forget(self) {
        let mut exports = EXPORTS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = exports.iter().position(|(name, _)| *name == self.name) {
            let (_, path) = exports.swap_remove(at);
            // Gone already when the whole folder is.
            let _ = fs::remove_file(path);
        }
    }
}

fn write_all(file: &File, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    file.write_all_at(bytes, 0)
}

fn map(file: &File, size: usize, target: Target) -> io::Result<NonNull<u8>> {
    let (at, fixed) = match target {
        Target::Anywhere => (std::ptr::null_mut(), 0),
        Target::Over(start) => (start as *mut libc::c_void, libc::MAP_FIXED),
    };
    // SAFETY: a shared mapping of a file that is `size` bytes long, at a place of the kernel's choice or over pages that
    // `create`'s caller has given.
    let map = unsafe {
        libc::mmap(
            at,
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | fixed,
            file.as_raw_fd(),
            0,
        )
    };
    if map == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(map.cast()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Removes what a dead process left.
pub fn remove_all_of(device: &Path, owner: u64) {
    let prefix = prefix(device, owner);
    let folder = device
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = fs::read_dir(folder.unwrap_or(Path::new("."))) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name
            .as_encoded_bytes()
            .starts_with(prefix.as_encoded_bytes())
        {
            // Somebody else may be doing the same.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes this process's files when it ends. A forked child has another owner word and leaves its parent's alone.
extern "C" fn at_end() {
    // A thread that still holds the lock is not waited for: whoever comes to the device next does it then.
    if let Ok(exports) = EXPORTS.try_lock() {
        for (name, path) in exports.iter() {
            if name.owner == owner_word() {
                let _ = fs::remove_file(path);
            }
        }
    }
}

#[used]
// SAFETY: an entry of .fini_array is a function pointer the loader calls once; `at_end` takes no arguments.
#[unsafe(link_section = ".fini_array")]
static AT_END: extern "C" fn() = at_end;
