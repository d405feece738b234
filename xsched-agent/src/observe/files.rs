//! The files behind mappings, each known by one identity.
//!
//! A file is not a path: containers show the same path for different files
//! and different paths for the same file. Files are opened through the
//! process that maps them, so they are found in any mount namespace and even
//! when deleted.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::Arc;

use super::same_file;
use crate::process::Mapping;

/// A file's identity, as `fstat` says where it was found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode on it.
    pub inode: u64,
}

impl FileId {
    fn of(file: &File) -> io::Result<FileId> {
        let stat = file.metadata()?;
        Ok(FileId {
            device: stat.dev(),
            inode: stat.ino(),
        })
    }
}

/// Files of one owner that are known at once. Everybody can map any number of
/// files with the runtime's name; this keeps them from taking the descriptors
/// and the time that the files of others need.
const MAX_OF_OWNER: usize = 64;

/// A file that somebody holds.
#[derive(Debug)]
struct KnownFile {
    owner: u32,
    /// The first is the one it goes by.
    ids: Vec<FileId>,
    on_overlayfs: bool,
    file: Arc<File>,
}

/// The files in use.
#[derive(Debug, Default)]
pub struct Files {
    known: Vec<KnownFile>,
}

impl Files {
    /// The file behind a mapping: the identity it goes by, and the file as it
    /// was opened first.
    ///
    /// # Errors
    /// It cannot be opened or is no regular file.
    pub fn behind(&mut self, pid: u32, mapping: &Mapping) -> io::Result<(FileId, Arc<File>)> {
        self.identify(open(pid, mapping)?)
    }

    fn identify(&mut self, file: File) -> io::Result<(FileId, Arc<File>)> {
        let id = FileId::of(&file)?;
        if let Some(known) = self.known.iter().find(|known| known.ids.contains(&id)) {
            return Ok((known.ids[0], Arc::clone(&known.file)));
        }
        let on_overlayfs = same_file::on_overlayfs(&file);
        let same = self.known.iter_mut().find(|known| {
            (on_overlayfs || known.on_overlayfs) && same_file::share_pages(&known.file, &file)
        });
        if let Some(known) = same {
            known.ids.push(id);
            return Ok((known.ids[0], Arc::clone(&known.file)));
        }
        let owner = file.metadata()?.uid();
        if self
            .known
            .iter()
            .filter(|known| known.owner == owner)
            .count()
            >= MAX_OF_OWNER
        {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let file = Arc::new(file);
        self.known.push(KnownFile {
            owner,
            ids: vec![id],
            on_overlayfs,
            file: Arc::clone(&file),
        });
        Ok((id, file))
    }

    /// Closes files that nobody else holds: an open file keeps a container's
    /// file system busy.
    pub fn forget_unheld(&mut self) {
        self.known
            .retain(|known| Arc::strong_count(&known.file) > 1);
    }
}

/// Opens the file behind a mapping: through the mapping itself, which works
/// for deleted files but needs CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE
/// (proc_pid_map_files(5)), else through the process's root. There the process
/// may have put anything under the name: opening never waits, and only a
/// regular file counts.
fn open(pid: u32, mapping: &Mapping) -> io::Result<File> {
    let range = &mapping.range;
    let through_mapping = format!("/proc/{pid}/map_files/{:x}-{:x}", range.start, range.end);
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let file = options
        .open(through_mapping)
        .or_else(|_| options.open(format!("/proc/{pid}/root{}", mapping.path)))?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_have_files_without_end_observed() {
        let dir = tempfile::tempdir().expect("directory");
        let mut files = Files::default();
        let mut held = Vec::new();
        for i in 0..MAX_OF_OWNER {
            let file = File::create(dir.path().join(i.to_string())).expect("file");
            held.push(files.identify(file).expect("known"));
        }
        let one_more = || File::create(dir.path().join("one more")).expect("file");
        assert!(files.identify(one_more()).is_err());
        held.pop();
        files.forget_unheld();
        assert!(files.identify(one_more()).is_ok());
    }
}
