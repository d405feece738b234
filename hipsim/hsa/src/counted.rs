//! Counts of what the packet processor and the copy engines took, in the file of `HIPSIM_COUNTS`: the truth with which
//! others' counts of the same programs are compared.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use simdevice::options;

/// What is counted; the number is its place in the file, in words of 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Dispatches of the program's and its libraries' kernels.
    Kernel = 0,
    /// Dispatches of the HIP runtime's own.
    Own = 1,
    /// Barriers.
    Barrier = 2,
    /// Copies of copy engines.
    Copy = 3,
}

/// How many there are of [`Taken`].
const KINDS: usize = 4;

type Counts = [AtomicU64; KINDS];

/// One more. Processes that name one file add to the same counts.
pub fn count(taken: Taken) {
    static COUNTS: OnceLock<Option<&'static Counts>> = OnceLock::new();
    let counts = COUNTS.get_or_init(|| {
        let file = options::get().counts.as_deref()?;
        let counts = map(file);
        if counts.is_none() {
            let error = std::io::Error::last_os_error();
            eprintln!("hsasim: nothing is counted, {}: {error}", file.display());
        }
        counts
    });
    if let Some(counts) = counts {
        counts[taken as usize].fetch_add(1, Ordering::Relaxed);
    }
}

fn map(file: &Path) -> Option<&'static Counts> {
    let size = size_of::<Counts>();
    let path = CString::new(file.as_os_str().as_bytes()).ok()?;
    // SAFETY: the path is a C string; the descriptor is closed once and the mapping is never undone.
    unsafe {
        let file = libc::open(
            path.as_ptr(),
            libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC,
            0o600,
        );
        if file < 0 {
            return None;
        }
        let sized = libc::ftruncate(file, size as libc::off_t) == 0;
        let at = libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file,
            0,
        );
        libc::close(file);
        (sized && at != libc::MAP_FAILED).then(|| &*at.cast::<Counts>())
    }
}
