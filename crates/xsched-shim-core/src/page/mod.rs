//! The pages of a joined process.

mod connection;

pub use connection::Connection;

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use xsched_common::gate::Limits;
use xsched_common::page::{
    CONTROL_MAGIC, ControlPage, Edges, PageHeader, PageMismatch, STATUS_MAGIC, StatusPage,
};
use xsched_common::units::{Class, Nanos};

use crate::groups::{Group, Marks};
use crate::sys::{self, Call, Errno};

/// One joining, from the agent's acceptance on. Never freed: another thread
/// may be anywhere in its pages, and an agent does not restart often enough
/// for 64 KiB to matter.
pub struct Session {
    control: *const ControlPage,
    status: *const StatusPage,
    /// Rings the agent; its end tells the agent that we are gone.
    pub connection: Connection,
    beat: AtomicU64,
    beat_seen: AtomicU64,
    /// Whose it is.
    pub group: Group,
    /// What the program says of its requests there.
    pub marks: Marks,
}

// SAFETY: both pages stay mapped for ever and hold atomics, besides fields
// that are written before the client maps them.
unsafe impl Sync for Session {}
// SAFETY: as above.
unsafe impl Send for Session {}

/// Why the agent's pages cannot be used.
#[derive(Debug)]
pub enum PageError {
    /// The descriptor could be shrunk under us, which would kill the program
    /// with SIGBUS.
    NotSealed(&'static str),
    /// fstat, fcntl or mmap failed: which, and why.
    System(&'static str, Errno),
    /// Not a page that this version understands.
    Mismatch(&'static str, PageMismatch),
}

impl std::fmt::Display for PageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PageError::NotSealed(page) => {
                write!(f, "{page} page is not sealed against shrinking")
            }
            PageError::System(call, why) => write!(f, "{call}: {why}"),
            PageError::Mismatch(page, why) => write!(f, "{page} page: {why}"),
        }
    }
}

impl Session {
    /// Maps the pages behind the descriptors of an accepting reply. The
    /// page descriptors are closed: the mappings keep the pages.
    pub fn map(
        control: &OwnedFd,
        status: &OwnedFd,
        doorbell: OwnedFd,
        socket: OwnedFd,
        group: Group,
        now: Nanos,
    ) -> Result<Session, PageError> {
        let control = map_page::<ControlPage>("control", control, libc::PROT_READ, CONTROL_MAGIC)?;
        let status = map_page::<StatusPage>(
            "status",
            status,
            libc::PROT_READ | libc::PROT_WRITE,
            STATUS_MAGIC,
        )?;
        let session = Session {
            control,
            status,
            connection: Connection::new(socket, doorbell),
            beat: AtomicU64::new(0),
            beat_seen: AtomicU64::new(now.0),
            group,
            marks: Marks::new(),
        };
        session.beat.store(session.heartbeat(), Relaxed);
        Ok(session)
    }

    /// What the agent says.
    #[inline(always)]
    pub fn control(&self) -> &ControlPage {
        // SAFETY: mapped for ever, see the type.
        unsafe { &*self.control }
    }

    /// What we say.
    #[inline(always)]
    pub fn status(&self) -> &StatusPage {
        // SAFETY: mapped for ever, see the type.
        unsafe { &*self.status }
    }

    /// The class that the agent gives whom the session is for.
    pub fn class(&self) -> Option<Class> {
        Class::from_raw(self.control().class.load(Relaxed) as u8)
    }

    /// Wakes whoever waits at a gate of this session to look around.
    pub fn wake_waiters(&self) {
        use std::sync::atomic::Ordering::SeqCst;
        let devices = self.control().devices.iter().zip(&self.status().devices);
        for (control, status) in devices {
            if status.waiting.load(SeqCst) != 0 {
                sys::futex_wake_all(&control.word);
            }
        }
    }

    /// The agent's heartbeat.
    pub fn heartbeat(&self) -> u64 {
        self.control().heartbeat.load(Acquire)
    }

    /// When the agent's heartbeat was last seen to change, by our clock. A
    /// process that was idle sees a changed heartbeat first, so only a
    /// standing one grows old.
    pub fn beat_seen(&self, now: Nanos) -> Nanos {
        let beat = self.heartbeat();
        // The time before the beat: another thread that finds the beat known
        // must not find the time of the one before.
        if self.beat.load(Acquire) != beat {
            self.beat_seen.store(now.0, Relaxed);
            self.beat.store(beat, Release);
            return now;
        }
        Nanos(self.beat_seen.load(Relaxed))
    }

    /// Whether the agent has shown no sign of life for a lease.
    pub fn lease_expired(&self, now: Nanos) -> bool {
        now.since(self.beat_seen(now)) >= Limits::DEFAULT.lease
    }

    /// Rings the doorbell if the agent wants to hear of `edge` on a device.
    /// The load is ordered after the caller's change of activity, see
    /// [`xsched_common::page::DeviceStatus::activity`].
    pub fn ring_if_wanted(&self, device: usize, edge: Edges) {
        use std::sync::atomic::Ordering::SeqCst;
        let Some(control) = self.control().devices.get(device) else {
            return;
        };
        if Edges(control.wanted_edges.load(SeqCst)).contains(edge) {
            self.connection.ring();
        }
    }
}

fn map_page<T>(
    name: &'static str,
    fd: &OwnedFd,
    protection: i32,
    magic: u32,
) -> Result<*const T, PageError> {
    let raw = fd.as_raw_fd();
    // SAFETY: no memory is passed.
    let seals = unsafe { sys::call(Call::Fcntl, [raw as usize, libc::F_GET_SEALS as usize]) };
    if !seals.is_ok_and(|seals| seals as i32 & libc::F_SEAL_SHRINK != 0) {
        return Err(PageError::NotSealed(name));
    }
    let size = sys::fstat(raw)
        .map_err(|why| PageError::System("fstat", why))?
        .st_size;
    if (size as usize) < size_of::<T>() {
        return Err(PageError::Mismatch(name, PageMismatch::Size(size as u32)));
    }
    let arguments = [
        0,
        size_of::<T>(),
        protection as usize,
        libc::MAP_SHARED as usize,
        raw as usize,
    ];
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { sys::call(Call::Mmap, arguments) };
    let at = at.map_err(|why| PageError::System("mmap", why))? as *const T;
    // SAFETY: the page starts with a header of plain integers.
    let header = unsafe { at.cast::<PageHeader>().read_volatile() };
    if let Err(why) = header.check(magic, size_of::<T>()) {
        // Mapped just now and not handed out.
        sys::unmap(at as usize, size_of::<T>());
        return Err(PageError::Mismatch(name, why));
    }
    Ok(at)
}

/// Whether writing eight bytes to the descriptor can neither wait nor raise a
/// signal, as with an eventfd of `EFD_NONBLOCK`: an anonymous inode, which has
/// no file type, and not a pipe or a socket.
pub fn is_doorbell(fd: BorrowedFd<'_>) -> bool {
    let fd = fd.as_raw_fd();
    // SAFETY: no memory is passed.
    let flags = unsafe { sys::call(Call::Fcntl, [fd as usize, libc::F_GETFL as usize]) };
    flags.is_ok_and(|flags| flags as i32 & libc::O_NONBLOCK != 0)
        && sys::fstat(fd).is_ok_and(|s| s.st_mode & libc::S_IFMT == 0)
}

/// Moves a descriptor out of the range that programs count on: shells and
/// daemons close or reuse the low numbers blindly.
pub fn move_up(fd: BorrowedFd<'_>) -> Option<OwnedFd> {
    use std::os::fd::FromRawFd;
    const OUT_OF_THE_WAY: usize = 400;
    let duplicate = libc::F_DUPFD_CLOEXEC as usize;
    // SAFETY: no memory is passed.
    let moved = unsafe {
        let arguments = [fd.as_raw_fd() as usize, duplicate, OUT_OF_THE_WAY];
        sys::call(Call::Fcntl, arguments)
    };
    // SAFETY: new and owned by nobody else.
    moved
        .ok()
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
