//! The files behind mappings, each known by one identity.
//!
//! A file is not a path: containers show the same path for different files
//! and different paths for the same file. Files are opened through the
//! process that maps them, so they are found in any mount namespace and even
//! when deleted.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use super::same_file;
use crate::foreign::{self, BehindError};
use crate::process::Mapping;

/// A file's identity, as `fstat` says where it was found first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number.
    pub device: u64,
    /// Inode on it.
    pub inode: u64,
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
    /// The identity that an opened file goes by, and the file as it was opened
    /// first.
    ///
    /// # Errors
    /// Its owner has too many.
    pub fn identify(&mut self, opened: Opened) -> io::Result<(FileId, Arc<File>)> {
        let Opened {
            file,
            id,
            owner,
            on_overlayfs,
        } = opened;
        if let Some(known) = self.known.iter().find(|known| known.ids.contains(&id)) {
            return Ok((known.ids[0], Arc::clone(&known.file)));
        }
        let same = self.known.iter_mut().find(|known| {
            (on_overlayfs || known.on_overlayfs) && same_file::share_pages(&known.file, &file)
        });
        if let Some(known) = same {
            known.ids.push(id);
            return Ok((known.ids[0], Arc::clone(&known.file)));
        }
        let of_owner = self.known.iter().filter(|known| known.owner == owner);
        if of_owner.count() >= MAX_OF_OWNER {
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

/// A file with what its file system says of it.
#[derive(Debug)]
pub struct Opened {
    file: File,
    id: FileId,
    owner: u32,
    on_overlayfs: bool,
}

impl Opened {
    /// Opens the file behind a mapping ([`foreign::behind`]).
    ///
    /// # Errors
    /// It cannot be opened or is no regular file.
    pub fn behind(pid: u32, mapping: &Mapping) -> Result<Opened, BehindError> {
        Ok(Opened::of(foreign::behind(pid, mapping)?)?)
    }

    fn of(file: File) -> io::Result<Opened> {
        let stat = file.metadata()?;
        Ok(Opened {
            id: FileId {
                device: stat.dev(),
                inode: stat.ino(),
            },
            owner: stat.uid(),
            on_overlayfs: foreign::on_overlayfs(&file),
            file,
        })
    }
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
            let opened = Opened::of(file).expect("a file");
            held.push(files.identify(opened).expect("known"));
        }
        let one_more = || {
            let file = File::create(dir.path().join("one more")).expect("file");
            Opened::of(file).expect("a file")
        };
        assert!(files.identify(one_more()).is_err());
        held.pop();
        files.forget_unheld();
        assert!(files.identify(one_more()).is_ok());
    }
}
