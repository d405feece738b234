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
    if let Some(bytes) = line.bytes.get(..=line.len) {
        say(bytes);
    }
}

/// Writes to standard error without risk for the program: not when that
/// would wait (a full pipe that nobody reads), and without the signals that a
/// closed pipe, a file at its size limit or, to a program in the background,
/// the terminal (`stty tostop`) raise.
fn say(bytes: &[u8]) {
    let _unseen = crate::sys::Unseen::new();
    let mut poll = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd, no waiting.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) } == 1 && poll.revents == libc::POLLOUT;
    if !ready {
        return;
    }
    // A signal that our write raises is for this thread, and taken back; one
    // that was pending before is left to the program.
    //
    // SAFETY: sets and the timeout are plain integers, for which zero is
    // valid, and live as long as the calls; `bytes` is readable; the thread's
    // mask is put back.
    unsafe {
        let mut fatal: libc::sigset_t = std::mem::zeroed();
        let mut before = fatal;
        let mut pending = fatal;
        libc::sigemptyset(&raw mut fatal);
        libc::sigaddset(&raw mut fatal, libc::SIGPIPE);
        libc::sigaddset(&raw mut fatal, libc::SIGXFSZ);
        libc::sigpending(&raw mut pending);
        for signal in [libc::SIGPIPE, libc::SIGXFSZ] {
            if libc::sigismember(&raw const pending, signal) == 1 {
                libc::sigdelset(&raw mut fatal, signal);
            }
        }
        // Blocked, this one is not even raised (Linux, drivers/tty/tty_jobctrl.c),
        // so it is none of those to take back.
        let mut blocked = fatal;
        libc::sigaddset(&raw mut blocked, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len());
        let at_once: libc::timespec = std::mem::zeroed();
        libc::sigtimedwait(&raw const fatal, std::ptr::null_mut(), &raw const at_once);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
    }
}

/// Writes one line if `XSCHED_VERBOSE` asks for it.
pub fn verbose(message: fmt::Arguments<'_>) {
    if Options::get().verbosity == Verbosity::Verbose {
        line(message);
    }
}
