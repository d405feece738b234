//! The pages that joined processes share with their agent, read from outside:
//! for who looks on without being the agent.
//!
//! A page is found by the name of its memfd in the process's memory map, which
//! anybody may choose. So the mapped file is named first (O_PATH), opened only
//! if it is on the device that holds all memfds (a file of a stranger's own file
//! system holds up whoever opens it), and believed only if root, or whoever
//! looks, made it and it has the seals that an agent sets: its owner is whoever
//! made it, and what is sealed has one size and no holes, so reading it never
//! waits. It is copied, never mapped. A page that its agent has made for another
//! process is that one's, whoever maps it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::atomic::Ordering::Relaxed;

use rustix::fs::{CWD, MemfdFlags, Mode, SealFlags};
use xsched_common::page::{CONTROL_MAGIC, ControlPage, PageHeader, STATUS_MAGIC, StatusPage};

use crate::foreign;
use crate::process::{self, Mapping, ProcessError};

/// Clients of one process: the agent takes eight.
const MOST: usize = 8;

/// Mappings that are looked at of one process: whoever has more of these names
/// has made them up.
const MOST_NAMED: usize = 64;

/// What an agent seals both pages with, the status page once its client has
/// mapped it.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL)
    .union(SealFlags::FUTURE_WRITE);

/// What a process has of pages.
#[derive(Default)]
pub struct Found {
    /// The process itself first, then its groups; none if it has not joined.
    pub clients: Vec<ClientPages>,
    /// Control pages that are no agent's, or that are too many. Of a process
    /// without clients also those that its agent has made for another number,
    /// unless its parent has that: the agent is in another pid namespace, or an
    /// ancestor that has ended was the client.
    pub left_out: usize,
}

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

/// The device of all memfds.
fn memfd_device() -> io::Result<u64> {
    let own = rustix::fs::memfd_create("xsched-look", MemfdFlags::CLOEXEC)?;
    Ok(File::from(own).metadata()?.dev())
}

/// The file behind a mapping, if it is a page of an agent's.
fn opened<T>(pid: u32, mapping: &Mapping, device: u64) -> io::Result<Option<File>> {
    let range = &mapping.range;
    let path = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
    let named = rustix::fs::openat(CWD, path, foreign::NAMED, Mode::empty())?;
    // Another file may lie there by now.
    if rustix::fs::fstat(&named)?.st_dev != device {
        return Ok(None);
    }
    let file = foreign::reopen(named)?;
    let stat = file.metadata()?;
    let is_ours = [0, rustix::process::geteuid().as_raw()].contains(&stat.uid());
    let is_sealed = rustix::fs::fcntl_get_seals(&file)?.contains(SEALS);
    let is_page = is_ours && is_sealed && stat.len() == size_of::<T>() as u64;
    Ok(is_page.then_some(file))
}

/// The clients that a process is. Needs the right to look at the process, and
/// may wait for it.
///
/// # Errors
/// Its memory map cannot be read.
pub fn of_process(pid: u32) -> Result<Found, ProcessError> {
    let maps = process::maps(pid)?;
    let Ok(device) = memfd_device() else {
        return Ok(Found::default());
    };
    let shown = (rustix::fs::major(device), rustix::fs::minor(device));
    let pages: Vec<(Kind, u64, &Mapping)> = maps
        .iter()
        .filter(|mapping| mapping.device == shown && mapping.shared && mapping.offset == 0)
        .filter_map(|mapping| name(mapping).map(|(kind, id)| (kind, id, mapping)))
        .take(MOST_NAMED)
        .collect();
    let mut found = Found::default();
    let mut of_others = Vec::new();
    for (_, id, control) in pages.iter().filter(|(kind, ..)| *kind == Kind::Control) {
        let control = match opened::<ControlPage>(pid, control, device) {
            Ok(Some(control)) if found.clients.len() < MOST => control,
            Ok(_) => {
                found.left_out += 1;
                continue;
            }
            // Unmapped meanwhile, or not to be seen by whoever looks.
            Err(_) => continue,
        };
        // One without a status page that is sealed has not joined (yet).
        let status = pages
            .iter()
            .filter(|(kind, of, _)| *kind == Kind::Status && of == id)
            .find_map(|(.., status)| opened::<StatusPage>(pid, status, device).ok().flatten());
        let Some(status) = status else { continue };
        let Some(client) = ClientPages::of(*id, [control, status]) else {
            continue;
        };
        match client.made_for() {
            // Older agents do not say.
            0 => found.clients.push(client),
            made_for if made_for == pid => found.clients.push(client),
            made_for => of_others.push(made_for),
        }
    }
    if found.clients.is_empty() && !of_others.is_empty() {
        // A fork's child still has its parent's.
        let parent = process::stat(pid)?.parent;
        found.left_out += of_others.iter().filter(|of| **of != parent).count();
    }
    found.clients.sort_by_key(|client| client.client_id);
    Ok(found)
}

impl ClientPages {
    fn of(client_id: u64, files: [File; 2]) -> Option<ClientPages> {
        let mut client = ClientPages {
            client_id,
            files,
            control: Box::new(ControlPage::new(0, 0)),
            status: Box::new(StatusPage::new()),
        };
        client.refresh().ok()?;
        Some(client)
    }

    /// The agent's number for the process that it has made them for.
    fn made_for(&self) -> u32 {
        self.control.pid.load(Relaxed)
    }

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
    use xsched_common::gate::{GateMode, GateWord};

    /// Maps a memfd with this content here, for good.
    fn map<T>(name: &str, page: &T, seals: SealFlags) -> File {
        use std::os::fd::AsFd as _;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(name, flags).expect("a memfd");
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
        rustix::fs::fcntl_add_seals(&file, seals).expect("seals");
        file
    }

    /// Both pages of a client, of this process or another.
    fn pages(id: u64, seals: SealFlags, pid: u32) -> [File; 2] {
        let control = ControlPage::new(1, id);
        control.pid.store(pid, Relaxed);
        let closed = GateWord::new(GateMode::Closed, 0);
        control.devices[0].word.store(closed.0, Relaxed);
        let status = StatusPage::new();
        status.devices[0].in_flight.store(3, Relaxed);
        [
            map(&format!("xsched-status-{id}"), &status, SEALS),
            map(&format!("xsched-control-{id}"), &control, seals),
        ]
    }

    /// In one test: they are all of this process.
    #[test]
    fn only_an_agent_s_pages_are_believed() {
        use std::os::unix::process::parent_id;
        let me = std::process::id();
        let _of_its_parent = pages(3, SEALS, parent_id());
        // The number that its agent knows it by, in another pid namespace.
        let _elsewhere = pages(2, SEALS, me + 1);
        let found = of_process(me).expect("this process");
        assert_eq!((found.clients.len(), found.left_out), (0, 1));
        // Who has pages of its own, too, has the others of a fork.
        let _group = pages(9, SEALS, me);
        let _own = pages(7, SEALS, me);
        let _of_an_older_agent = pages(11, SEALS, 0);
        let _alone = map("xsched-control-8", &ControlPage::new(1, 8), SEALS);
        let _short = map("xsched-control-6", &1_u64, SEALS);
        let _writable = pages(5, SealFlags::SHRINK | SealFlags::GROW, me);
        let mut left_out = 2;
        let forged = pages(4, SEALS, me);
        if rustix::process::geteuid().is_root() {
            left_out += 1;
            for file in &forged {
                std::os::unix::fs::fchown(file, Some(1000), None).expect("root may");
            }
        } else {
            eprintln!("LEFT OUT: only root can give a page away");
        }
        let mut found = of_process(me).expect("this process");
        let clients = &mut found.clients;
        let ids = clients.iter().map(|client| client.client_id);
        let ids: Vec<u64> = ids.filter(|id| *id != 4).collect();
        assert_eq!(ids, [7, 9, 11]);
        assert_eq!(found.left_out, left_out);
        let own = clients.iter_mut().find(|client| client.client_id == 7);
        let own = own.expect("found");
        let word = GateWord(own.control().devices[0].word.load(Relaxed));
        assert_eq!(word.mode(), GateMode::Closed);
        assert_eq!(own.status().devices[0].in_flight.load(Relaxed), 3);
        own.refresh().expect("still there");
    }

    /// What a mapping was a moment ago is not what lies there now.
    #[test]
    fn a_file_of_another_file_system_is_not_opened() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("LEFT OUT: only root may open what is mapped");
            return;
        }
        let me = std::process::id();
        let exe = std::fs::read_link("/proc/self/exe").expect("mine");
        let maps = process::maps(me).expect("mine");
        let mapping = maps.iter().find(|m| m.path == exe.to_string_lossy());
        let device = memfd_device().expect("a memfd");
        let opened = opened::<ControlPage>(me, mapping.expect("mapped"), device);
        assert!(matches!(opened, Ok(None)));
    }
}
