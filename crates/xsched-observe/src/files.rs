//! The files behind mappings, each known by one identity.
//!
//! A file is not a path: containers show the same path for different files
//! and different paths for the same file. Files are opened through the
//! process that maps them, so they are found in any mount namespace and even
//! when deleted.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xsched_host::foreign::{self, BehindError, FileSystem};
use xsched_host::process::Mapping;
use xsched_host::readers::Tenant;

use super::read_timeout::ReadTimeout;
use super::{same_file, served};

/// A file's identity, as `fstat` says where it was found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode on it.
    pub inode: u64,
}

/// Files that are known at once through processes of one tenant. Everybody can
/// map any number of files with the runtime's name, whoever owns them; this
/// keeps them from taking the descriptors and the time that the files of
/// others need.
const MAX_OF_TENANT: usize = 64;

/// Of all together, without those that only root's and the agent's own user's
/// processes map.
const MAX_FILES: usize = 1024;

/// A file that somebody holds.
#[derive(Debug)]
struct KnownFile {
    /// Through which process it was opened.
    by: User,
    /// The first is the one it goes by.
    ids: Vec<FileId>,
    len: u64,
    on_overlayfs: bool,
    file: Arc<File>,
}

/// A process that maps a file, and whose it is.
#[derive(Clone, Debug)]
pub(super) struct User {
    pub pid: u32,
    pub tenant: Tenant,
}

/// The files in use.
#[derive(Debug, Default)]
pub struct Files {
    known: Vec<KnownFile>,
    /// Those to be closed.
    closing: Vec<(User, Closing)>,
}

/// Taken out by whoever closes it.
type Closing = Arc<Mutex<Option<Arc<File>>>>;

impl Files {
    /// The identity that a file goes by that was opened through `user`, and the
    /// file as it was opened first.
    ///
    /// # Errors
    /// The tenant has too many, or all together have.
    pub(super) fn identify(
        &mut self,
        opened: Opened,
        user: &User,
        read_timeout: &mut ReadTimeout,
    ) -> io::Result<(FileId, Arc<File>)> {
        let Opened {
            file,
            id,
            len,
            file_system,
        } = opened;
        let on_overlayfs = file_system == FileSystem::Overlay;
        if let Some(known) = self.known.iter().find(|known| known.ids.contains(&id)) {
            return Ok((known.ids[0], Arc::clone(&known.file)));
        }
        let file = Arc::new(file);
        let same = self.known.iter_mut().find(|known| {
            (on_overlayfs || known.on_overlayfs)
                && known.len == len
                && share_pages((&known.by, &known.file), (user, &file), read_timeout)
        });
        if let Some(known) = same {
            known.ids.push(id);
            let found = (known.ids[0], Arc::clone(&known.file));
            self.close(file, user.clone());
            return Ok(found);
        }
        if !self.has_room(&user.tenant) {
            self.close(file, user.clone());
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.known.push(KnownFile {
            by: user.clone(),
            ids: vec![id],
            len,
            on_overlayfs,
            file: Arc::clone(&file),
        });
        Ok((id, file))
    }

    fn has_room(&self, tenant: &Tenant) -> bool {
        let known = || self.known.iter().map(|known| &known.by.tenant);
        let of_tenant = known().filter(|other| *other == tenant).count();
        let of_others = known().filter(|other| !other.is_ours()).count();
        of_tenant < MAX_OF_TENANT && (tenant.is_ours() || of_others < MAX_FILES)
    }

    /// Closes files that nobody else holds: an open file keeps a container's
    /// file system busy.
    pub(super) fn forget_unheld(&mut self, read_timeout: &mut ReadTimeout) {
        let unheld = |known: &mut KnownFile| Arc::strong_count(&known.file) == 1;
        let unheld: Vec<KnownFile> = self.known.extract_if(.., unheld).collect();
        for known in unheld {
            self.close(known.file, known.by);
        }
        // Closing may wait for whoever serves the file system, too.
        self.closing.retain(|(user, closing)| {
            let taken = Arc::clone(closing);
            let close = move || drop(lock(&taken).take());
            // Given up with its thread, or tried again later.
            let _ = read_timeout.read_of(user.pid, &user.tenant, close);
            closing.try_lock().is_ok_and(|file| file.is_some())
        });
    }

    fn close(&mut self, file: Arc<File>, user: User) {
        let closing = Arc::new(Mutex::new(Some(file)));
        self.closing.push((user, closing));
    }
}

fn lock(closing: &Closing) -> MutexGuard<'_, Option<Arc<File>>> {
    closing.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether two files are one to the kernel. Each is only touched by a thread
/// that waits for its own user: either may lie in a file system that nobody
/// serves.
fn share_pages(
    (known_by, known): (&User, &Arc<File>),
    (user, file): (&User, &Arc<File>),
    read_timeout: &mut ReadTimeout,
) -> bool {
    let mut frame = |of: &User, file: &Arc<File>| {
        let file = Arc::clone(file);
        let read = read_timeout.read_of(of.pid, &of.tenant, move || same_file::first_frame(&file));
        read.ok().flatten()
    };
    // Memory compaction may move a page between two looks: look again.
    (0..3).any(|_| match frame(user, file) {
        None => false,
        // Still there after the other was seen, it was no other's meanwhile.
        Some(own) => frame(known_by, known) == Some(own) && frame(user, file) == Some(own),
    })
}

/// A file with what its file system says of it.
#[derive(Debug)]
pub struct Opened {
    file: File,
    id: FileId,
    len: u64,
    file_system: FileSystem,
}

impl Opened {
    /// Opens the file behind a mapping ([`foreign::behind`]).
    ///
    /// # Errors
    /// It cannot be opened or is no regular file.
    pub fn behind(pid: u32, mapping: &Mapping) -> Result<Opened, BehindError> {
        Ok(Opened::of(foreign::behind(pid, mapping)?)?)
    }

    /// Whether somebody may serve it to `pid`, which maps it, as he likes.
    pub(super) fn may_be_served(&self, pid: u32) -> bool {
        served::may_be_served(self.file_system, pid)
    }

    fn of(file: File) -> io::Result<Opened> {
        let stat = file.metadata()?;
        Ok(Opened {
            id: FileId {
                device: stat.dev(),
                inode: stat.ino(),
            },
            len: stat.len(),
            file_system: FileSystem::of(&file)?,
            file,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Scope;
    use super::*;

    fn user(uid: u32) -> User {
        User {
            pid: std::process::id(),
            tenant: Tenant::known_by(uid),
        }
    }

    fn open(dir: &tempfile::TempDir, name: &str) -> Opened {
        let file = File::create(dir.path().join(name)).expect("file");
        Opened::of(file).expect("a file")
    }

    /// Whoever owns them: root's files can be mapped by everybody.
    #[test]
    fn nobody_can_have_files_without_end_observed() {
        let dir = tempfile::tempdir().expect("directory");
        let mut files = Files::default();
        let read_timeout = &mut ReadTimeout::with(Scope::All);
        let mut held = Vec::new();
        for i in 0..MAX_OF_TENANT {
            let opened = open(&dir, &i.to_string());
            held.push(
                files
                    .identify(opened, &user(1000), read_timeout)
                    .expect("known"),
            );
        }
        let genuine = open(&dir, "genuine");
        assert!(files.identify(genuine, &user(1000), read_timeout).is_err());
        let genuine = open(&dir, "genuine");
        let kept = files.identify(genuine, &user(1001), read_timeout);
        let again = files.identify(open(&dir, "genuine"), &user(1000), read_timeout);
        let ids = (kept.expect("another's").0, again.expect("known by now").0);
        assert_eq!(ids.0, ids.1);
        held.pop();
        files.forget_unheld(read_timeout);
        let more = open(&dir, "one more");
        assert!(files.identify(more, &user(1000), read_timeout).is_ok());
    }

    #[test]
    fn with_many_users_root_s_files_are_observed() {
        let dir = tempfile::tempdir().expect("directory");
        let mut files = Files::default();
        let read_timeout = &mut ReadTimeout::with(Scope::All);
        let Opened { file, len, .. } = open(&dir, "held");
        let file = Arc::new(file);
        for n in 0..MAX_FILES as u32 {
            files.known.push(KnownFile {
                by: user(100_000 + n),
                ids: Vec::new(),
                len,
                on_overlayfs: false,
                file: Arc::clone(&file),
            });
        }
        let opened = || open(&dir, "x");
        assert!(files.identify(opened(), &user(99), read_timeout).is_err());
        assert!(files.identify(opened(), &user(0), read_timeout).is_ok());
    }

    #[test]
    fn one_file_opened_twice_is_one_and_its_copy_is_not() {
        let dir = tempfile::tempdir().expect("directory");
        let (original, copy) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&original, [7; 5000]).expect("written");
        std::fs::copy(&original, &copy).expect("copied");
        let open = |path| Arc::new(File::open(path).expect("opened"));
        let read_timeout = &mut ReadTimeout::with(Scope::All);
        let mut same = |a, b| share_pages((&user(0), &open(a)), (&user(1), &open(b)), read_timeout);
        if rustix::process::geteuid().is_root() {
            assert!(same(&original, &original));
        }
        assert!(!same(&original, &copy));
    }
}
