//! Lines on standard error, without std's locks and buffers: the program may
//! hold them, or be in the middle of a fork.

use core::fmt::{self, Write};

use crate::options::{Options, Verbosity};

struct Line {
    bytes: [u8; 512],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // The last byte stays free for the newline; longer lines are cut.
        let room = self.bytes.len() - 1 - self.len;
        let n = text.len().min(room);
        if let (Some(to), Some(from)) = (
            self.bytes.get_mut(self.len..self.len + n),
            text.as_bytes().get(..n),
        ) {
            to.copy_from_slice(from);
            self.len += n;
        }
        Ok(())
    }
}

/// Writes one line, whatever the verbosity: for what a user must repair.
pub fn line(message: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 512],
        len: 0,
    };
    let _ = write!(line, "xsched-shim[");
    // SAFETY: no preconditions.
    let _ = write!(line, "{}]: {message}", unsafe { libc::getpid() });
    if let Some(end) = line.bytes.get_mut(line.len) {
        *end = b'\n';
    }
    let unseen = crate::sys::Unseen::new();
    // SAFETY: the buffer has at least this many bytes. A short or failed
    // write of a log line has no remedy.
    unsafe { libc::write(2, line.bytes.as_ptr().cast(), line.len + 1) };
    drop(unseen);
}

/// Writes one line if `XSCHED_VERBOSE` asks for it.
pub fn verbose(message: fmt::Arguments<'_>) {
    if Options::get().verbosity == Verbosity::Verbose {
        line(message);
    }
}
