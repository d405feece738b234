//! Finds the images of the runtime, and of shims, that processes have mapped.
//!
//! An image is a file, not a path: containers show the same path for
//! different files and different paths for the same file. Files are opened
//! through the process that maps them, so they are found in any mount
//! namespace and even when deleted.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::time::Instant;

use super::same_file;
use crate::process::{self, Mapping};

/// What the runtime's file names begin with: the SONAME without its version.
const RUNTIME_PREFIX: &str = "libamdhip64.so";

/// File names of the shims that are known: ours, and XSched's.
pub const KNOWN_SHIMS: [&str; 2] = ["libxsched_shim.so", "libshimhip.so"];

/// What an image is to the observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageKind {
    /// The HIP runtime.
    Runtime,
    /// A library that interposes the runtime's functions.
    Shim,
}

/// Which file names are images.
#[derive(Clone, Debug)]
pub struct Names {
    shims: Vec<String>,
}

impl Names {
    /// The known shims and these.
    pub fn with_shims(more: &[String]) -> Names {
        Names {
            shims: KNOWN_SHIMS
                .iter()
                .map(ToString::to_string)
                .chain(more.iter().cloned())
                .collect(),
        }
    }

    /// What a file of this name is.
    pub fn kind_of(&self, basename: &str) -> Option<ImageKind> {
        if basename.starts_with(RUNTIME_PREFIX) {
            Some(ImageKind::Runtime)
        } else if self.shims.iter().any(|shim| shim == basename) {
            Some(ImageKind::Shim)
        } else {
            None
        }
    }
}

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

/// An image and who uses it.
#[derive(Debug)]
pub struct Image {
    /// Which file.
    pub id: FileId,
    /// What it is.
    pub kind: ImageKind,
    /// Its path in the first process that was seen with it.
    pub path: String,
    /// The processes that map it.
    pub pids: Vec<u32>,
    /// The file, opened through one of them.
    pub file: Arc<File>,
}

/// What a look at the processes found.
#[derive(Debug, Default)]
pub struct Sweep {
    /// Every image in use.
    pub images: Vec<Image>,
    /// Processes that could not be read: other users', when this is not root.
    pub unreadable: usize,
    /// Processes left for the next sweep because the time was up.
    pub postponed: usize,
}

/// A file that somebody holds an [`Image`] of.
#[derive(Debug)]
struct KnownFile {
    /// The first is the one that its images have.
    ids: Vec<FileId>,
    on_overlayfs: bool,
    file: Arc<File>,
}

/// Looks through /proc for images.
#[derive(Debug)]
pub struct Finder {
    names: Names,
    known: Vec<KnownFile>,
    /// The last process of a sweep that ran out of time: the next one begins
    /// behind it, so that every process has its turn.
    resume_after: u32,
}

impl Finder {
    /// A finder for files of these names.
    pub fn new(names: Names) -> Finder {
        Finder {
            names,
            known: Vec::new(),
            resume_after: 0,
        }
    }

    /// Which file names it looks for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Looks at all processes, or as many as fit before `deadline`.
    ///
    /// # Errors
    /// /proc cannot be listed.
    pub fn sweep(&mut self, deadline: Instant) -> io::Result<Sweep> {
        self.forget_unheld();
        let mut pids = process::all_pids()?;
        pids.sort_unstable();
        let start = pids.partition_point(|&pid| pid <= self.resume_after);
        pids.rotate_left(start);
        self.resume_after = 0;

        let mut sweep = Sweep::default();
        let mut seen = HashMap::new();
        for (done, &pid) in pids.iter().enumerate() {
            if done > 0 && Instant::now() >= deadline {
                self.resume_after = pids[done - 1];
                sweep.postponed = pids.len() - done;
                break;
            }
            self.look_at(pid, &mut seen, &mut sweep);
        }
        Ok(sweep)
    }

    /// Looks at one process only.
    pub fn sweep_one(&mut self, pid: u32) -> Sweep {
        self.forget_unheld();
        let mut sweep = Sweep::default();
        self.look_at(pid, &mut HashMap::new(), &mut sweep);
        sweep
    }

    /// `seen` maps a file as /proc/PID/maps writes it to its place in the
    /// sweep. The path belongs to the key because the numbers alone are not
    /// unique on every file system (btrfs subvolumes).
    fn look_at(
        &mut self,
        pid: u32,
        seen: &mut HashMap<((u32, u32), u64, String), usize>,
        sweep: &mut Sweep,
    ) {
        let maps = match process::maps(pid) {
            Ok(maps) => maps,
            Err(process::ProcessError::Gone(_)) => return,
            Err(_) => {
                sweep.unreadable += 1;
                return;
            }
        };
        for mapping in maps.iter().filter(|mapping| mapping.executable) {
            let Some(kind) = self.names.kind_of(mapping.basename()) else {
                continue;
            };
            let key = (mapping.device, mapping.inode, mapping.path.clone());
            if let Some(&index) = seen.get(&key) {
                add_pid(&mut sweep.images[index].pids, pid);
                continue;
            }
            let opened = open(pid, mapping).and_then(|file| self.identify(file));
            let Ok((id, file)) = opened else {
                sweep.unreadable += 1;
                continue;
            };
            let index = match sweep.images.iter().position(|image| image.id == id) {
                Some(index) => {
                    add_pid(&mut sweep.images[index].pids, pid);
                    index
                }
                None => {
                    sweep.images.push(Image {
                        id,
                        kind,
                        path: mapping.path.clone(),
                        pids: vec![pid],
                        file,
                    });
                    sweep.images.len() - 1
                }
            };
            seen.insert(key, index);
        }
    }

    /// The identity under which a file goes here, and the file as it was
    /// opened first.
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
        let file = Arc::new(file);
        self.known.push(KnownFile {
            ids: vec![id],
            on_overlayfs,
            file: Arc::clone(&file),
        });
        Ok((id, file))
    }

    /// Closes files that nobody else holds: an open file keeps a container's
    /// file system busy.
    fn forget_unheld(&mut self) {
        self.known
            .retain(|known| Arc::strong_count(&known.file) > 1);
    }
}

/// A file is mapped in several pieces, one after the other.
fn add_pid(pids: &mut Vec<u32>, pid: u32) {
    if pids.last() != Some(&pid) {
        pids.push(pid);
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
    use std::time::Duration;

    #[test]
    fn names_of_images() {
        let names = Names::with_shims(&["libother.so".to_owned()]);
        for runtime in [
            "libamdhip64.so",
            "libamdhip64.so.6",
            "libamdhip64.so.6.4.60403",
        ] {
            assert_eq!(names.kind_of(runtime), Some(ImageKind::Runtime));
        }
        for shim in ["libxsched_shim.so", "libshimhip.so", "libother.so"] {
            assert_eq!(names.kind_of(shim), Some(ImageKind::Shim));
        }
        for other in ["", "libamdhip64.a", "xlibamdhip64.so", "libc.so.6"] {
            assert_eq!(names.kind_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_sweep_ends_in_time_and_the_next_one_goes_on() {
        let mut finder = Finder::new(Names::with_shims(&[]));
        let all = process::all_pids().expect("/proc").len();
        let first = finder.sweep(Instant::now()).expect("sweep");
        // One process is always examined, so that sweeps make progress.
        assert!(first.postponed > 0 && first.postponed < all + 8);
        assert_ne!(finder.resume_after, 0);
        let later = Instant::now() + Duration::from_secs(60);
        assert_eq!(finder.sweep(later).expect("sweep").postponed, 0);
        assert_eq!(finder.resume_after, 0);
    }
}
