//! Lines on standard error, without std's locks and buffers: the program may
//! hold them, or be in the middle of a fork.

use core::fmt::{self, Write};

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::options::{Options, Verbosity};
use crate::sys::{self, Call};

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
    let _ = write!(line, "xsched-shim[{}]: {message}", sys::pid());
    if let Some(end) = line.bytes.get_mut(line.len) {
        *end = b'\n';
    }
    if let Some(bytes) = line.bytes.get(..=line.len) {
        say(bytes);
    }
}

/// Device and inode of what descriptor 2 was at the start; zero: it was
/// closed, which no open file's inode is.
static STANDARD_ERROR: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Remembers what standard error is. A program may close it later, as daemons
/// do, and open a data file or a socket that gets its number: a line of ours
/// would end in there. So only what it was at the start is written to. A
/// terminal, a pipe or a device would not be safe by their kind either, since
/// a program may talk to another one through them.
pub fn know_standard_error() {
    for (to, from) in STANDARD_ERROR.iter().zip(standard_error()) {
        to.store(from, Relaxed);
    }
}

fn standard_error() -> [u64; 2] {
    sys::fstat(libc::STDERR_FILENO).map_or([0; 2], |stat| [stat.st_dev, stat.st_ino])
}

fn is_standard_error() -> bool {
    let now = standard_error();
    now != [0; 2] && now == STANDARD_ERROR.each_ref().map(|known| known.load(Relaxed))
}

/// A set of signals, as the kernel has it.
type Signals = u64;

const fn only(signal: i32) -> Signals {
    1 << (signal - 1)
}

/// Writes to standard error without risk for the program: not when that
/// would wait (a full pipe that nobody reads), and without the signals that a
/// closed pipe, a file at its size limit or, to a program in the background,
/// the terminal (`stty tostop`) raise.
fn say(bytes: &[u8]) {
    let mut poll = libc::pollfd {
        fd: libc::STDERR_FILENO,
        events: libc::POLLOUT,
        revents: 0,
    };
    let mut at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let arguments = [&raw mut poll as usize, 1, &raw mut at_once as usize, 0];
    // SAFETY: one pollfd, no waiting, no signal mask.
    let ready = unsafe { sys::call(Call::Ppoll, arguments) };
    if ready != Ok(1) || poll.revents != libc::POLLOUT || !is_standard_error() {
        return;
    }
    // A signal that our write raises is for this thread, and taken back; one
    // that was pending before is left to the program.
    let mut pending: Signals = 0;
    let pending_at = &raw mut pending as usize;
    // SAFETY: a set of the size given.
    let _ = unsafe { sys::call(Call::RtSigPending, [pending_at, size_of::<Signals>()]) };
    let fatal = (only(libc::SIGPIPE) | only(libc::SIGXFSZ)) & !pending;
    // Blocked, this one is not even raised (Linux, drivers/tty/tty_jobctrl.c),
    // so it is none of those to take back.
    let before = set_mask(libc::SIG_BLOCK, fatal | only(libc::SIGTTOU));
    let arguments = [
        libc::STDERR_FILENO as usize,
        bytes.as_ptr() as usize,
        bytes.len(),
    ];
    // SAFETY: readable bytes.
    let _ = unsafe { sys::call(Call::Write, arguments) };
    let arguments = [
        &raw const fatal as usize,
        0,
        &raw const at_once as usize,
        size_of::<Signals>(),
    ];
    // SAFETY: a set of the size given; no information is asked for; no waiting.
    let _ = unsafe { sys::call(Call::RtSigTimedWait, arguments) };
    if let Some(before) = before {
        set_mask(libc::SIG_SETMASK, before);
    }
}

/// Changes the thread's blocked signals; those before.
fn set_mask(how: i32, signals: Signals) -> Option<Signals> {
    let mut before: Signals = 0;
    let arguments = [
        how as usize,
        &raw const signals as usize,
        &raw mut before as usize,
        size_of::<Signals>(),
    ];
    // SAFETY: sets of the size given.
    let changed = unsafe { sys::call(Call::RtSigProcMask, arguments) };
    changed.is_ok().then_some(before)
}

/// Writes one line if `XSCHED_VERBOSE` asks for it.
pub fn verbose(message: fmt::Arguments<'_>) {
    if Options::get().verbosity == Verbosity::Verbose {
        line(message);
    }
}
