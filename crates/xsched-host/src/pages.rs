//! The pages that joined processes share with their agent, read from outside:
//! for who looks on without being the agent.
//!
//! A page is found by the name of its memfd in the process's memory map, and
//! believed to be one only on the device that holds all memfds: a file of a
//! stranger's own file system may have any name, and hold up whoever opens it.
//! It is copied, never mapped: whoever has it may still change its size.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rustix::fs::MemfdFlags;
use xsched_common::page::{CONTROL_MAGIC, ControlPage, PageHeader, STATUS_MAGIC, StatusPage};

use crate::process::{self, Mapping, ProcessError};

/// Pages that are looked at of one process: a group has two, and there are few.
const MOST: usize = 16;

/// The pages of one client.
pub struct ClientPages {
    /// Its number with its agent: groups of a process have higher ones than the
    /// process itself.
    pub client_id: u64,
    files: [File; 2],
    control: Box<ControlPage>,
    status: Box<StatusPage>,
}

/// What a page is, by its memfd's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Control,
    Status,
}

fn name(mapping: &Mapping) -> Option<(Kind, u64)> {
    let name = mapping.path.strip_prefix("/memfd:xsched-")?;
    let (kind, id) = name.split_once('-')?;
    let kind = match kind {
        "control" => Kind::Control,
        "status" => Kind::Status,
        _ => return None,
    };
    Some((kind, id.parse().ok()?))
}

/// The device of all memfds, as /proc/PID/maps has it.
fn memfd_device() -> io::Result<(u32, u32)> {
    let own = rustix::fs::memfd_create("xsched-look", MemfdFlags::CLOEXEC)?;
    let device = File::from(own).metadata()?.dev();
    Ok((rustix::fs::major(device), rustix::fs::minor(device)))
}

/// The clients that a process is: none if it has not joined, the process itself
/// first, then its groups. Needs the right to look at the process.
///
/// # Errors
/// Its memory map cannot be read.
pub fn of_process(pid: u32) -> Result<Vec<ClientPages>, ProcessError> {
    let maps = process::maps(pid)?;
    let Ok(device) = memfd_device() else {
        return Ok(Vec::new());
    };
    let pages: Vec<(Kind, u64, &Mapping)> = maps
        .iter()
        .filter(|mapping| mapping.device == device && mapping.shared && mapping.offset == 0)
        .filter_map(|mapping| name(mapping).map(|(kind, id)| (kind, id, mapping)))
        .take(MOST)
        .collect();
    let mut clients = Vec::new();
    for (_, id, control) in pages.iter().filter(|(kind, ..)| *kind == Kind::Control) {
        let status = pages
            .iter()
            .find(|(kind, of, _)| *kind == Kind::Status && of == id);
        let Some((.., status)) = status else { continue };
        let open = |mapping: &Mapping| {
            let range = &mapping.range;
            File::open(format!(
                "/proc/{pid}/map_files/{:x}-{:x}",
                range.start, range.end
            ))
        };
        if let (Ok(control), Ok(status)) = (open(control), open(status)) {
            let mut client = ClientPages {
                client_id: *id,
                files: [control, status],
                control: Box::new(ControlPage::new(0, 0)),
                status: Box::new(StatusPage::new()),
            };
            if client.refresh().is_ok() {
                clients.push(client);
            }
        }
    }
    clients.sort_by_key(|client| client.client_id);
    Ok(clients)
}

impl ClientPages {
    /// Reads both pages anew.
    ///
    /// # Errors
    /// They are no pages of this ABI, or cannot be read.
    pub fn refresh(&mut self) -> io::Result<()> {
        let [control, status] = &self.files;
        // SAFETY: both pages are integers and atomics of them without padding,
        // so any bytes are such a page, and nobody else has these.
        unsafe {
            copy(control, &mut *self.control)?;
            copy(status, &mut *self.status)?;
        }
        let check = |header: PageHeader, magic, size| {
            let checked = header.check(magic, size);
            checked.map_err(|e| io::Error::other(e.to_string()))
        };
        check(self.control.header, CONTROL_MAGIC, size_of::<ControlPage>())?;
        check(self.status.header, STATUS_MAGIC, size_of::<StatusPage>())
    }

    /// What the agent tells the client, as last read.
    pub fn control(&self) -> &ControlPage {
        &self.control
    }

    /// What the client tells of itself, as last read.
    pub fn status(&self) -> &StatusPage {
        &self.status
    }
}

/// Reads a file's beginning into `page`.
///
/// # Safety
/// Any bytes are a `T`.
unsafe fn copy<T>(file: &File, page: &mut T) -> io::Result<()> {
    let at = std::ptr::from_mut(page).cast::<u8>();
    // SAFETY: exactly the page's own bytes, which any bytes may replace.
    let bytes = unsafe { std::slice::from_raw_parts_mut(at, size_of::<T>()) };
    file.read_exact_at(bytes, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;
    use xsched_common::gate::{GateMode, GateWord};

    /// Maps a memfd with this content here, for good.
    fn map<T>(name: &str, page: &T) -> File {
        use std::os::fd::AsFd as _;
        let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC).expect("a memfd");
        let at = std::ptr::from_ref(page).cast::<u8>();
        // SAFETY: the page's own bytes.
        let bytes = unsafe { std::slice::from_raw_parts(at, size_of::<T>()) };
        let file = File::from(fd);
        file.write_all_at(bytes, 0).expect("writable");
        let flags = rustix::mm::MapFlags::SHARED;
        let read = rustix::mm::ProtFlags::READ;
        let none = std::ptr::null_mut();
        // SAFETY: nothing is mapped where the kernel puts it.
        unsafe { rustix::mm::mmap(none, size_of::<T>(), read, flags, file.as_fd(), 0) }
            .expect("maps");
        file
    }

    #[test]
    fn pages_are_paired_by_name_and_strangers_are_left_alone() {
        let control = |id| {
            let page = ControlPage::new(1, id);
            let closed = GateWord::new(GateMode::Closed, 0);
            page.devices[0].word.store(closed.0, Relaxed);
            page
        };
        let status = StatusPage::new();
        status.devices[0].in_flight.store(3, Relaxed);
        let _group = (
            map("xsched-status-9", &status),
            map("xsched-control-9", &control(9)),
        );
        let _own = (
            map("xsched-control-7", &control(7)),
            map("xsched-status-7", &status),
        );
        let _alone = map("xsched-control-8", &control(8));
        let _short = (
            map("xsched-control-6", &1_u64),
            map("xsched-status-6", &1_u64),
        );
        let mut clients = of_process(std::process::id()).expect("this process");
        let ids: Vec<u64> = clients.iter().map(|client| client.client_id).collect();
        assert_eq!(ids, [7, 9]);
        let word = GateWord(clients[0].control().devices[0].word.load(Relaxed));
        assert_eq!(word.mode(), GateMode::Closed);
        assert_eq!(clients[0].status().devices[0].in_flight.load(Relaxed), 3);
        clients[0].refresh().expect("still there");
    }
}
